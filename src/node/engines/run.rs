//! One run of ffmpeg on an engine: what it is to do, and what has come of it. Its
//! lines are read as they come, its file is taken in by and by, and it counts as
//! ended once the file is whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use reelraft_media::Said;
use reelraft_model::{AttemptKey, Problem};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt},
    sync::{Mutex as AsyncMutex, MutexGuard as Turn, OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{
    budget::{Budget, NoRoom},
    lines::{digest_of, is_end, lines_of},
};
use crate::{
    data::{DataError, Source},
    limits::{ENGINE_INPUT_BLOCK, ENGINE_LINES, ENGINE_REQUESTS_MAX},
    sha256::sha256_of,
};

/// A run that an engine is asked for.
#[derive(Debug)]
pub struct Run {
    /// Names it, and opens its input and its output. It dies with the run.
    pub token: String,
    pub engine: u64,
    pub key: AttemptKey,
    /// Of its arguments: another member asks for the same run by the same one.
    pub digest: String,
    pub args: Vec<String>,
    /// The file that it is to write, as the arguments name it.
    pub output: String,
    pub output_bytes_max: u64,
    pub input_bytes: u64,
    budget: Arc<Budget>,
    /// Requests of its engine that are answered at once.
    requests: Arc<Semaphore>,
    path: PathBuf,
    source: SourceOf,
    state: Mutex<RunState>,
    file: AsyncMutex<Taken>,
    /// Held by the one request that brings a part of the log.
    log: AsyncMutex<()>,
    /// Grows with new bytes of its input and of its file.
    pub(super) moved: Arc<AtomicU64>,
    said: mpsc::Sender<Said>,
}

/// A source, which says nothing of itself in a log.
struct SourceOf {
    source: Source,
    served: Arc<AtomicU64>,
}

impl std::fmt::Debug for SourceOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceOf")
    }
}

#[derive(Debug, Default)]
struct RunState {
    /// When the engine is to have named it.
    named: bool,
    /// The engine is to end ffmpeg: all that is wanted of it is there.
    stop: bool,
    /// Blocks of its input that it has read.
    read: BTreeSet<u64>,
    /// Bytes of its log that were read.
    log_at: u64,
    /// A line that has not ended.
    line: Vec<u8>,
    /// It ended with this file.
    ended: Option<String>,
    /// Why it ended without, as was said first.
    failed: Option<(String, Loss)>,
    /// Nobody waits for it any more.
    over: bool,
}

/// What a run without a result counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A failure of its engine.
    Failed,
    /// A task that was given back: the next engine may do it.
    Back,
    /// A task that no engine does in its bounds, though none need be at fault.
    Unfit,
}

/// What was taken in of a run's file.
#[derive(Debug, Default)]
struct Taken {
    file: Option<File>,
    at: u64,
    /// Where it ended at most: what was thrown away is nothing new.
    most: u64,
    /// Bytes of it that count as the engine's.
    held: u64,
}

/// How a run ended, as its engine says.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The exit code of ffmpeg; of one that was told to stop, 0.
    pub exit: i32,
    /// Of its file.
    pub bytes: u64,
    pub sha256: String,
    /// Of its log.
    pub log_bytes: u64,
}

fn gone() -> Problem {
    let cause = "this task is over: it was taken back, or given up";
    Problem::new("task-over", cause, "end its ffmpeg, and forget it")
}

fn wrong_offset(have: u64, what: &str) -> Problem {
    let cause = format!("{have} bytes of the {what} are here");
    let hint = "go on from there; ask with GET where that is";
    Problem::new("wrong-offset", cause, hint)
}

/// What a run is asked for with.
pub(super) struct Wanted<'a> {
    pub engine: u64,
    pub key: &'a AttemptKey,
    pub args: &'a [String],
    pub output: PathBuf,
    pub input_bytes: u64,
    pub budget: Arc<Budget>,
    pub source: Source,
    pub served: Arc<AtomicU64>,
}

impl Run {
    /// A run, and what will be said of it.
    pub(super) fn new(wanted: Wanted<'_>) -> (Arc<Self>, mpsc::Receiver<Said>) {
        let (said, lines) = mpsc::channel(ENGINE_LINES);
        let name = wanted.output.file_name().unwrap_or_default();
        let run = Run {
            token: format!("{:032x}", rand::random::<u128>()),
            engine: wanted.engine,
            key: wanted.key.clone(),
            digest: digest_of(wanted.key, wanted.args),
            args: wanted.args.to_vec(),
            output: name.to_string_lossy().into_owned(),
            output_bytes_max: wanted.budget.output_bytes_max,
            input_bytes: wanted.input_bytes,
            budget: wanted.budget,
            requests: Arc::new(Semaphore::new(ENGINE_REQUESTS_MAX)),
            path: wanted.output,
            source: SourceOf {
                source: wanted.source,
                served: wanted.served,
            },
            state: Mutex::default(),
            file: AsyncMutex::default(),
            log: AsyncMutex::default(),
            moved: Arc::default(),
            said,
        };
        (Arc::new(run), lines)
    }

    /// Whether it has not ended in any way.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state();
        state.ended.is_none() && state.failed.is_none() && !state.over
    }

    /// Why it ended without a result, and what that counts as.
    pub(super) fn failure(&self) -> Option<(String, Loss)> {
        self.state().failed.clone()
    }

    /// Has the engine end ffmpeg and give what it has.
    pub(super) fn stop(&self) {
        self.state().stop = true;
    }

    /// Nobody waits for it any more.
    pub(super) fn end(&self) {
        self.state().over = true;
    }

    fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Whether the engine has named it.
    pub fn is_named(&self) -> bool {
        self.state().named
    }

    /// Notes that the engine has named it.
    pub fn name(&self) {
        self.state().named = true;
    }

    /// Whether the engine is to end ffmpeg and give what it has.
    pub fn is_to_stop(&self) -> bool {
        let state = self.state();
        state.stop && state.ended.is_none()
    }

    /// The place of a request of its engine, held until it is answered.
    ///
    /// # Errors
    /// `too-busy`.
    pub fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.requests.clone().try_acquire_owned().map_err(|_| {
            let cause = format!("{ENGINE_REQUESTS_MAX} requests of this task are being answered");
            Problem::new("too-busy", cause, "end some of them, or wait")
        })
    }

    /// Ends it as one that takes more than it may.
    async fn overdraw(&self, cause: &str, loss: Loss) -> Problem {
        self.give_up(cause.to_string(), loss).await;
        Problem::new("too-large", cause, "run the task as it is given")
    }

    /// Refuses one that is over.
    fn check_open(&self) -> Result<(), Problem> {
        let state = self.state();
        match state.over || state.failed.is_some() {
            true => Err(gone()),
            false => Ok(()),
        }
    }

    /// Refuses what comes after its end.
    fn check_unended(&self) -> Result<(), Problem> {
        let state = self.state();
        match state.over || state.ended.is_some() || state.failed.is_some() {
            true => Err(gone()),
            false => Ok(()),
        }
    }

    /// Some bytes of the source from an offset on; none at its end.
    ///
    /// # Errors
    /// `task-over`, `too-large` where it has read more than its shard takes, and what
    /// keeps the homes from giving them.
    pub async fn read(&self, offset: u64) -> Result<Bytes, Problem> {
        self.check_open()?;
        if !self.budget.may_read(offset) {
            // Scenes and containers differ: an honest one may need as much.
            let cause = "it reads more of the source than most shards take";
            return Err(self.overdraw(cause, Loss::Unfit).await);
        }
        let read = self.source.source.read(offset).await;
        let bytes = read.map_err(|error: DataError| error.problem())?;
        let served = &self.source.served;
        served.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if !bytes.is_empty() && self.state().read.insert(offset / ENGINE_INPUT_BLOCK) {
            self.moved.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes)
    }

    /// The turn to bring a part of the log, which nobody else has meanwhile.
    ///
    /// # Errors
    /// `too-busy`.
    pub fn log_turn(&self) -> Result<Turn<'_, ()>, Problem> {
        self.log.try_lock().map_err(|_| {
            let cause = "another part of this log is being read";
            Problem::new("too-busy", cause, "send one part after the other")
        })
    }

    /// Takes more of the log in; gives how much of it is here. Whoever is dropped
    /// meanwhile has brought what was counted, and the rest may be sent again.
    ///
    /// # Errors
    /// `wrong-offset`, `too-large` and `task-over`.
    pub async fn take_log(
        &self,
        _turn: &Turn<'_, ()>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, Problem> {
        self.check_open()?;
        let at = self.log_at();
        let Some(behind) = at.checked_sub(offset) else {
            return Err(wrong_offset(at, "log"));
        };
        // What was sent twice is read once.
        let fresh = usize::try_from(behind).ok().and_then(|at| bytes.get(at..));
        let fresh = fresh.unwrap_or_default();
        if at + fresh.len() as u64 > self.budget.log_bytes_max() {
            let cause = "its log is longer than that of its frames";
            return Err(self.overdraw(cause, Loss::Failed).await);
        }
        for part in fresh.split_inclusive(|byte| is_end(*byte)) {
            let permit = match part.last() {
                Some(last) if is_end(*last) => {
                    // Whoever waited for it has gone.
                    Some(self.said.reserve().await.map_err(|_| gone())?)
                }
                _ => None,
            };
            let mut state = self.state();
            if state.ended.is_some() {
                return Err(gone());
            }
            state.log_at += part.len() as u64;
            let lines = lines_of(&mut state.line, part);
            if let (Some(permit), Some(line)) = (permit, lines.into_iter().next()) {
                permit.send(Said::Line(line));
            }
        }
        Ok(self.log_at())
    }

    /// How much of the log is here.
    pub fn log_at(&self) -> u64 {
        self.state().log_at
    }

    /// How much of the file is here.
    pub async fn output_at(&self) -> u64 {
        self.file.lock().await.at
    }

    /// Writes more of the file; gives how much of it is here.
    ///
    /// # Errors
    /// `wrong-offset`, `too-large`, `too-busy`, `task-over`, and what the disk refuses.
    pub async fn take_output(&self, offset: u64, bytes: &[u8]) -> Result<u64, Problem> {
        let mut taken = self.file.lock().await;
        self.check_unended()?;
        if offset != taken.at {
            return Err(wrong_offset(taken.at, "file"));
        }
        let to = taken.at.saturating_add(bytes.len() as u64);
        match self.budget.grow(to, taken.held) {
            Ok(held) => taken.held = held,
            Err(no_room) => {
                drop(taken);
                return Err(self.refuse_bytes(no_room).await);
            }
        }
        let written = async {
            if taken.file.is_none() {
                let mut options = OpenOptions::new();
                let file = options.create(true).truncate(true).write(true);
                taken.file = Some(file.open(&self.path).await?);
            }
            let Taken {
                file: Some(file),
                at,
                most,
                ..
            } = &mut *taken
            else {
                return Ok(0);
            };
            // What a request that broke off had begun is written again.
            file.seek(std::io::SeekFrom::Start(*at)).await?;
            file.write_all(bytes).await?;
            file.flush().await?;
            *at += bytes.len() as u64;
            self.moved
                .fetch_add(at.saturating_sub(*most), Ordering::Relaxed);
            *most = (*most).max(*at);
            Ok::<u64, std::io::Error>(*at)
        };
        written.await.map_err(|error| {
            let cause = format!("the file could not be written: {error}");
            Problem::new("disk", cause, "try again; the node's disk may be full")
        })
    }

    async fn refuse_bytes(&self, no_room: NoRoom) -> Problem {
        match no_room {
            NoRoom::TooLarge => {
                let cause = "its file is larger than its frames are";
                self.overdraw(cause, Loss::Failed).await
            }
            NoRoom::TooMuch => {
                let cause = "this engine has too many bytes here that are not complete";
                Problem::new("too-busy", cause, "complete other tasks first")
            }
            NoRoom::DiskFull => {
                let cause = "the node's disk is nearly full";
                self.give_up(cause.to_string(), Loss::Back).await;
                Problem::new("disk", cause, "the task is given to others")
            }
        }
    }

    /// Ends the run, if all of it is here. The same end may be said twice.
    ///
    /// # Errors
    /// `wrong-offset` where something is missing, `other-bytes` where the file is
    /// another than is said, and `task-over`.
    pub async fn complete(&self, ending: Ending) -> Result<(), Problem> {
        // Held until the end is noted: nothing is written after it was looked at.
        let mut taken = self.file.lock().await;
        if let Some(ended) = &self.state().ended {
            return match *ended == ending.sha256 {
                true => Ok(()),
                false => Err(gone()),
            };
        }
        self.check_open()?;
        let log_at = self.log_at();
        if log_at != ending.log_bytes {
            return Err(wrong_offset(log_at, "log"));
        }
        if ending.exit == 0 {
            self.check_file(&mut taken, &ending).await?;
        }
        // From here on nothing waits, so that no end is noted and not told.
        let permits = self.said.reserve_many(2).await.map_err(|_| gone())?;
        let last = {
            let mut state = self.state();
            if state.log_at != ending.log_bytes {
                return Err(wrong_offset(state.log_at, "log"));
            }
            state.ended = Some(ending.sha256);
            std::mem::take(&mut state.line)
        };
        let last = (!last.is_empty()).then(|| String::from_utf8_lossy(&last).into_owned());
        let said = last.map(Said::Line).into_iter();
        let said = said.chain([Said::Ended(ending.exit)]);
        permits
            .zip(said)
            .for_each(|(permit, said)| permit.send(said));
        Ok(())
    }

    async fn check_file(&self, taken: &mut Taken, ending: &Ending) -> Result<(), Problem> {
        if taken.at != ending.bytes || taken.file.is_none() {
            return Err(wrong_offset(taken.at, "file"));
        }
        let path = self.path.clone();
        let hashed = tokio::task::spawn_blocking(move || sha256_of(&path)).await;
        let hashed = hashed.ok().and_then(Result::ok).unwrap_or_default();
        if hashed == ending.sha256 {
            return Ok(());
        }
        self.budget.give_back(taken.held);
        *taken = Taken {
            most: taken.most,
            ..Taken::default()
        };
        let cause = format!("the file that came has the hash {hashed}");
        let hint = "it is thrown away: send it again, from its beginning on";
        Err(Problem::new("other-bytes", cause, hint))
    }

    /// Ends the run without a result. What was said first counts: nobody takes a
    /// failure back by giving up as well.
    pub async fn give_up(&self, cause: String, loss: Loss) {
        self.state().failed.get_or_insert((cause, loss));
        let _ = self.said.send(Said::Ended(1)).await;
    }

    /// The same of one that nobody has begun.
    pub(super) fn refuse(&self, cause: &str) {
        self.state().failed = Some((cause.to_string(), Loss::Back));
        // Its queue is empty.
        let _ = self.said.try_send(Said::Ended(1));
    }
}

/// Runs by their tokens.
pub type Runs = BTreeMap<String, Arc<Run>>;

impl Drop for Run {
    fn drop(&mut self) {
        let held = self.file.get_mut().held;
        self.budget.give_back(held);
    }
}
