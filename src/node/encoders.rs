//! ffmpeg as this node has it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use reelraft_media::{Build, MediaError, Tools};
use reelraft_model::Problem;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::messages::Lack;

/// The programs and what they make.
pub struct Encoders {
    /// The programs, or why there are none.
    pub tools: Result<Tools, Problem>,
    /// The encoder build; empty without ffmpeg.
    pub build: String,
    /// The versions behind it, for people.
    pub words: String,
    /// What was found of the sandbox that they run in.
    sandbox: String,
    /// What the probe of the build showed to be lacking.
    probed: Vec<reelraft_media::Lack>,
    /// What it can't make, as far as it was tried.
    lacks: Mutex<Vec<reelraft_media::Lack>>,
    /// How fast it encodes, by codec, once it was measured.
    speeds: Mutex<BTreeMap<String, u64>>,
}

/// What was tried: where one of these differs, trials may show something else.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Subject {
    build: String,
    trial: u32,
    sandbox: String,
}

/// What trial jobs showed, kept in the data folder: nothing is tried twice that
/// would show the same.
#[derive(Serialize, Deserialize)]
struct Tried {
    #[serde(flatten)]
    subject: Subject,
    lacks: Vec<reelraft_media::Lack>,
    /// Empty where they were not measured.
    #[serde(default)]
    speeds: BTreeMap<String, u64>,
}

impl Tried {
    /// What was kept, if it was found of `subject`.
    fn read(bytes: &[u8], subject: &Subject) -> Option<Self> {
        let kept = serde_json::from_slice::<Tried>(bytes).ok();
        kept.filter(|kept| kept.subject == *subject)
    }
}

/// Where it is kept.
const TRIED_FILE: &str = "tried-encoders";

impl Encoders {
    /// Finds ffmpeg and tries its encoders, which takes some seconds on a busy
    /// machine. Without them a node stores and votes.
    pub async fn find() -> Self {
        let found = async {
            let tools = Tools::find()?;
            reelraft_media::check_ffmpeg(&tools).await?;
            let sandbox = check_sandbox(&tools).await;
            let build = reelraft_media::probe_build(&tools).await?;
            Ok::<_, MediaError>((tools, sandbox, build))
        };
        match found.await {
            Ok((tools, sandbox, build)) => Encoders::of(tools, sandbox, build),
            Err(error) => {
                let problem = Problem::new(error.kind(), error.to_string(), error.hint());
                error!(%problem, "this node stores and votes, but encodes nothing");
                Encoders {
                    tools: Err(problem),
                    build: String::new(),
                    words: String::new(),
                    sandbox: String::new(),
                    probed: Vec::new(),
                    lacks: Mutex::default(),
                    speeds: Mutex::default(),
                }
            }
        }
    }

    fn of(tools: Tools, sandbox: String, build: Build) -> Self {
        say_lacks(&build.lacks);
        Encoders {
            tools: Ok(tools),
            build: build.hash,
            words: build.words,
            sandbox,
            probed: build.lacks.clone(),
            lacks: Mutex::new(build.lacks),
            speeds: Mutex::default(),
        }
    }

    /// What the build can't make, as far as it was tried.
    pub fn lacks(&self) -> Vec<Lack> {
        let lack = |lack: &reelraft_media::Lack| Lack {
            what: lack.what.clone(),
            why: lack.why.clone(),
        };
        self.held().iter().map(lack).collect()
    }

    /// Frames of a fixed clip in a thousand seconds of one encoder, by codec.
    pub fn speeds(&self) -> BTreeMap<String, u64> {
        self.held_speeds().clone()
    }

    fn held_speeds(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.speeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Vec<reelraft_media::Lack>> {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self) -> Subject {
        Subject {
            build: self.build.clone(),
            trial: reelraft_media::TRIAL,
            sandbox: self.sandbox.clone(),
        }
    }

    /// Takes from `data` how fast this build was when it was last measured.
    pub fn recall(&self, data: &Path) {
        let kept = std::fs::read(data.join(TRIED_FILE)).ok();
        let kept = kept.and_then(|bytes| Tried::read(&bytes, &self.subject()));
        if let Some(kept) = kept {
            *self.held_speeds() = kept.speeds;
        }
    }

    /// Makes a small job of each kind, and measures how fast they go, in `folder`, unless `data` says what came
    /// of it before. What fails is not offered from then on. Returns whether
    /// another trial would show the same.
    pub async fn try_jobs(&self, data: &Path, folder: &Path) -> bool {
        let Ok(tools) = &self.tools else { return true };
        let file = data.join(TRIED_FILE);
        let subject = self.subject();
        let kept = std::fs::read(&file).ok();
        let kept = kept.and_then(|bytes| Tried::read(&bytes, &subject));
        if let Some(kept) = kept.filter(|kept| !kept.speeds.is_empty()) {
            *self.held() = kept.lacks;
            *self.held_speeds() = kept.speeds;
            return true;
        }
        // One that was ended before has left its files.
        let _ = std::fs::remove_dir_all(folder);
        let found = reelraft_media::find_lacks(tools, folder, self.probed.clone()).await;
        say_lacks(&found.lacks);
        *self.held() = found.lacks.clone();
        let speeds = reelraft_media::measure_speeds(tools, folder, &found.lacks).await;
        let _ = std::fs::remove_dir_all(folder);
        info!(?speeds, "measured, in frames a thousand seconds");
        *self.held_speeds() = speeds.clone();
        if found.lasting {
            let tried = Tried {
                subject,
                lacks: found.lacks,
                speeds,
            };
            let bytes = serde_json::to_vec(&tried).expect("plain structs of text");
            // Without it the next start tries again.
            let _ = std::fs::write(&file, bytes);
        }
        found.lasting
    }
}

fn say_lacks(lacks: &[reelraft_media::Lack]) {
    for lack in lacks {
        warn!(why = lack.why, "this node can't make {}", lack.what);
    }
}

/// What is found of the sandbox. A node encodes without one where the kernel has
/// none, but not in silence.
async fn check_sandbox(tools: &Tools) -> String {
    let check = reelraft_media::check_sandbox(tools).await;
    if check.ok {
        info!("encoder sandbox: {}", check.found);
    } else {
        warn!(hint = check.hint, "encoder sandbox: {}", check.found);
    }
    check.found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_tried_is_tried_again_where_something_differs() {
        let subject = |build: &str, trial, sandbox: &str| Subject {
            build: build.into(),
            trial,
            sandbox: sandbox.into(),
        };
        let tried = Tried {
            subject: subject("b", 1, "closed"),
            lacks: Vec::new(),
            speeds: BTreeMap::new(),
        };
        let bytes = serde_json::to_vec(&tried).unwrap();
        let read = |subject| Tried::read(&bytes, &subject).is_some();
        assert!(read(subject("b", 1, "closed")));
        assert!(!read(subject("c", 1, "closed")));
        assert!(!read(subject("b", 2, "closed")));
        assert!(!read(subject("b", 1, "open")));
        // As the former version kept it.
        let former = br#"{"build":"b","lacks":[]}"#;
        assert!(Tried::read(former, &subject("b", 1, "closed")).is_none());
    }
}
