//! The tasks that this engine runs. Each keeps its whole log and its file until a member
//! has taken both, so that another member can be given them from the beginning.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use reelraft_media::{BytesServed, Cancel, Given, Tools};
use reelraft_model::Problem;
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};
use tracing::{debug, info, warn};

use super::{
    link::{LinkError, Members, Pauses, Place},
    source::Input,
};
use crate::{
    data::{RangeServer, ServedSource},
    limits::{ENGINE_DIGEST_MAX, ENGINE_LOG_EVERY, ENGINE_LOG_PART, ENGINE_PUT_PART},
    sha256::sha256_of,
};

/// A task that runs, or whose end no member has taken yet.
pub struct Work {
    pub members: Members,
    place: watch::Sender<Place>,
    /// As the member said it, to say it to another one.
    pub attempt: Value,
    pub digest: String,
    args: Vec<String>,
    input_bytes: u64,
    output: String,
    log: Mutex<Vec<u8>>,
    stop: AtomicBool,
    cancel: Cancel,
}

/// What a member wants to be run.
pub struct Asked {
    pub place: Place,
    pub attempt: Value,
    pub digest: String,
    pub args: Vec<String>,
    pub input_bytes: u64,
    pub output: String,
}

impl Asked {
    /// Reads a task of a member's answer; `None` for one that this program can't run.
    pub fn read(member: &str, task: &Value) -> Option<Self> {
        let text = |name: &str| task[name].as_str().map(str::to_string);
        let args = task["args"].as_array()?.iter();
        let args: Option<Vec<String>> = args.map(|arg| arg.as_str().map(str::to_string)).collect();
        let output = text("output")?;
        let plain = Path::new(&output).file_name()?.to_str() == Some(output.as_str());
        (task["program"] == "ffmpeg" && plain).then_some(())?;
        // It is the name of a folder here, which is emptied.
        let digest = text("digest")?;
        let is_name = |name: &str| name.bytes().all(|letter| letter.is_ascii_alphanumeric());
        (!digest.is_empty() && digest.len() <= ENGINE_DIGEST_MAX && is_name(&digest))
            .then_some(())?;
        Some(Asked {
            place: Place {
                member: member.to_string(),
                task: text("task")?,
            },
            attempt: task["attempt"].clone(),
            digest,
            args: args?,
            input_bytes: task["input_bytes"].as_u64()?,
            output,
        })
    }
}

impl Work {
    /// Where the task is known now.
    pub fn place(&self) -> Place {
        self.place.borrow().clone()
    }

    /// Whether nobody waits for it any more.
    pub fn is_over(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn log_len(&self) -> u64 {
        self.log
            .lock()
            .expect("no holder of this lock panics")
            .len() as u64
    }

    fn log_from(&self, at: u64) -> Vec<u8> {
        let log = self.log.lock().expect("no holder of this lock panics");
        let rest = log.get(at as usize..).unwrap_or_default();
        rest[..rest.len().min(ENGINE_LOG_PART)].to_vec()
    }

    /// Sends what is new of the log; whether there is more.
    async fn send_log(&self) -> Result<bool, LinkError> {
        let place = self.place();
        let state = self
            .members
            .tell(&place, Method::GET, "", Body::default())
            .await?;
        let mut at = state["log_bytes"].as_u64().unwrap_or_default();
        self.note(&state);
        loop {
            let part = self.log_from(at);
            if part.is_empty() {
                return Ok(at < self.log_len());
            }
            let path = format!("/log?offset={at}");
            let state = self.members.tell(&place, Method::POST, &path, part).await?;
            at = state["log_bytes"].as_u64().unwrap_or(at);
            self.note(&state);
        }
    }

    fn note(&self, state: &Value) {
        if state["stop"] == true {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Sends the log as it grows, until the task ends.
    async fn follow_log(&self) {
        loop {
            tokio::time::sleep(ENGINE_LOG_EVERY).await;
            if let Err(error) = self.send_log().await {
                debug!(%error, "the log could not be sent yet");
            }
        }
    }

    /// Sends all that is there, and the end of the task, to whichever member waits for it.
    async fn hand_in(&self, exit: i32, file: &Path) {
        let hash = || -> std::io::Result<(u64, String)> {
            Ok((std::fs::metadata(file)?.len(), sha256_of(file)?))
        };
        let (bytes, sha256) = match exit {
            0 => tokio::task::block_in_place(hash).unwrap_or_default(),
            _ => Default::default(),
        };
        let mut pauses = Pauses::default();
        while !self.is_over() {
            match self.hand_in_once(exit, file, bytes, &sha256).await {
                Ok(()) => return,
                Err(error) => {
                    debug!(%error, "the result could not be handed in yet");
                    tokio::select! {
                        () = pauses.pause() => {}
                        () = self.cancel.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn hand_in_once(
        &self,
        exit: i32,
        file: &Path,
        bytes: u64,
        sha256: &str,
    ) -> Result<(), LinkError> {
        let place = self.place();
        while self.send_log().await? {}
        let state = self
            .members
            .tell(&place, Method::GET, "", Body::default())
            .await?;
        let mut at = state["output_bytes"].as_u64().unwrap_or_default();
        while at < bytes {
            let part = part_of(file, at)
                .await
                .map_err(|error| LinkError::Lost(error.to_string()))?;
            let path = format!("/output?offset={at}");
            let state = self.members.tell(&place, Method::PUT, &path, part).await?;
            at = state["output_bytes"].as_u64().unwrap_or(at);
        }
        let end = json!({
            "exit": exit, "bytes": bytes, "sha256": sha256, "log_bytes": self.log_len(),
        });
        let told = self
            .members
            .tell(&place, Method::POST, "/complete", end.to_string());
        told.await.map(drop)
    }
}

async fn part_of(file: &Path, at: u64) -> std::io::Result<Vec<u8>> {
    let mut file = tokio::fs::File::open(file).await?;
    file.seek(std::io::SeekFrom::Start(at)).await?;
    let mut part = Vec::new();
    file.take(ENGINE_PUT_PART).read_to_end(&mut part).await?;
    Ok(part)
}

/// All tasks of this engine.
pub struct Works {
    tools: Tools,
    root: PathBuf,
    inputs: RangeServer,
    /// By their digests.
    running: Mutex<BTreeMap<String, Arc<Work>>>,
}

impl Works {
    /// None yet; each works in a folder below `root`.
    ///
    /// # Errors
    /// Where no port of this machine can be had.
    pub async fn new(tools: Tools, root: PathBuf) -> Result<Self, Problem> {
        let inputs = RangeServer::start()
            .await
            .map_err(|error| error.problem())?;
        Ok(Works {
            tools,
            root,
            inputs,
            running: Mutex::default(),
        })
    }

    /// Those that run.
    pub fn all(&self) -> Vec<Arc<Work>> {
        let running = self.running.lock();
        let running = running.expect("no holder of this lock panics");
        running.values().cloned().collect()
    }

    /// The one that is known as this.
    pub fn find(&self, place: &Place) -> Option<Arc<Work>> {
        self.all().into_iter().find(|work| work.place() == *place)
    }

    /// Takes a task up, or goes on with one of another member.
    pub fn begin(self: &Arc<Self>, members: &Members, asked: Asked) {
        let mut running = self.running.lock().expect("no holder of this lock panics");
        if let Some(work) = running.get(&asked.digest) {
            // Once it is gone, what is not named is asked for again.
            if work.is_over() {
                return;
            }
            if work.place() != asked.place {
                info!(attempt = %work.attempt, "goes on for another member");
            }
            work.place.send_replace(asked.place);
            return;
        }
        let work = Arc::new(Work {
            members: members.clone(),
            place: watch::Sender::new(asked.place),
            attempt: asked.attempt,
            digest: asked.digest,
            args: asked.args,
            input_bytes: asked.input_bytes,
            output: asked.output,
            log: Mutex::default(),
            stop: AtomicBool::new(false),
            cancel: Cancel::new(),
        });
        running.insert(work.digest.clone(), work.clone());
        drop(running);
        let works = self.clone();
        tokio::spawn(async move {
            works.run(&work).await;
            let mut running = works.running.lock().expect("no holder of this lock panics");
            running.remove(&work.digest);
        });
    }

    /// Has a task give what it has.
    pub fn stop(&self, place: &Place) {
        if let Some(work) = self.find(place) {
            work.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Ends a task that nobody waits for.
    pub fn cancel(&self, place: &Place) {
        if let Some(work) = self.find(place) {
            debug!(attempt = %work.attempt, "is not wanted any more");
            work.cancel.cancel();
        }
    }

    /// Ends all tasks.
    pub fn cancel_all(&self) {
        for work in self.all() {
            work.cancel.cancel();
        }
    }

    async fn run(&self, work: &Arc<Work>) {
        info!(attempt = %work.attempt, "started");
        let folder = self.root.join(&work.digest);
        let _ = std::fs::remove_dir_all(&folder);
        let made = std::fs::create_dir_all(&folder);
        let input = Input::new(
            work.members.clone(),
            work.place.subscribe(),
            work.cancel.clone(),
            work.input_bytes,
        );
        let source = self.inputs.serve(input);
        let exit = match made {
            Ok(()) => self.encode(work, &folder, &source).await,
            Err(error) => Err(format!("{}: {error}", folder.display())),
        };
        if !work.is_over() {
            match exit {
                Ok(exit) => work.hand_in(exit, &folder.join(&work.output)).await,
                Err(cause) => {
                    warn!(attempt = %work.attempt, cause, "failed");
                    let said = json!({ "cause": cause }).to_string();
                    let place = work.place();
                    let told = work.members.tell(&place, Method::POST, "/fail", said);
                    if let Err(error) = told.await {
                        debug!(%error, "nobody has heard of the failure");
                    }
                }
            }
        }
        let _ = std::fs::remove_dir_all(&folder);
        info!(attempt = %work.attempt, "ended");
    }

    async fn encode(
        &self,
        work: &Arc<Work>,
        folder: &Path,
        source: &ServedSource,
    ) -> Result<i32, String> {
        let served = BytesServed::new(source.counter());
        let given = Given {
            args: &work.args,
            output: &work.output,
            input: source.url(),
            served: &served,
            work_dir: folder,
            address_bytes_extra: ADDRESS_BYTES,
            stop: &work.stop,
        };
        let logged = work.clone();
        let mut lines = move |line: &str| {
            let mut log = logged.log.lock().expect("no holder of this lock panics");
            log.extend_from_slice(line.as_bytes());
            log.push(b'\n');
        };
        let encoded = reelraft_media::run_given(&self.tools, given, &work.cancel, &mut lines);
        let exit = tokio::select! {
            exit = encoded => exit,
            () = work.follow_log() => return Ok(1),
        };
        exit.map_err(|error| error.to_string())
    }
}

/// Address space for pictures of any size that a job may have.
const ADDRESS_BYTES: u64 = 32 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_names_nothing_outside_its_folder() {
        let task = |digest: &str, output: &str| {
            let task = json!({
                "program": "ffmpeg", "args": [], "output": output, "task": "t",
                "digest": digest, "input_bytes": 1, "attempt": {},
            });
            Asked::read("http://a", &task).is_some()
        };
        assert!(task("0a1b", "shard.mp4"));
        for (digest, output) in [
            ("../../home", "shard.mp4"),
            ("/home", "shard.mp4"),
            ("..", "shard.mp4"),
            ("", "shard.mp4"),
            ("0a1b", "../shard.mp4"),
            ("0a1b", ".."),
        ] {
            assert!(!task(digest, output), "{digest} {output}");
        }
    }
}
