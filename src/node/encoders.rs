//! ffmpeg as this node has it.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use reelraft_media::{Build, Tools};
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
    /// What it can't make.
    lacks: Mutex<Vec<reelraft_media::Lack>>,
}

/// What trial jobs showed, kept in the data folder: a build is tried once.
#[derive(Serialize, Deserialize)]
struct Tried {
    build: String,
    lacks: Vec<reelraft_media::Lack>,
}

/// Where it is kept.
const TRIED_FILE: &str = "tried-encoders";

impl Encoders {
    /// Finds ffmpeg and tries its encoders, which takes some seconds on a busy
    /// machine. Without them a node stores and votes.
    pub async fn find() -> Self {
        let found = match Tools::find() {
            Ok(tools) => {
                say_sandbox(&tools).await;
                reelraft_media::probe_build(&tools)
                    .await
                    .map(|build| (tools, build))
            }
            Err(error) => Err(error),
        };
        match found {
            Ok((tools, build)) => Encoders::of(tools, build),
            Err(error) => {
                let problem = Problem::new(error.kind(), error.to_string(), error.hint());
                error!(%problem, "this node stores and votes, but encodes nothing");
                Encoders {
                    tools: Err(problem),
                    build: String::new(),
                    words: String::new(),
                    lacks: Mutex::default(),
                }
            }
        }
    }

    fn of(tools: Tools, build: Build) -> Self {
        say_lacks(&build.lacks);
        Encoders {
            tools: Ok(tools),
            build: build.hash,
            words: build.words,
            lacks: Mutex::new(build.lacks),
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

    fn held(&self) -> MutexGuard<'_, Vec<reelraft_media::Lack>> {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a small job of each kind in `folder`, unless `data` says what came
    /// of it before. What fails is not offered from then on.
    pub async fn try_jobs(&self, data: &Path, folder: &Path) {
        let Ok(tools) = &self.tools else { return };
        let file = data.join(TRIED_FILE);
        let kept = std::fs::read(&file).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Tried>(&bytes).ok());
        let lacks = match kept.filter(|kept| kept.build == self.build) {
            Some(kept) => kept.lacks,
            None => {
                let known = self.held().clone();
                let found = reelraft_media::find_lacks(tools, folder, known).await;
                let _ = std::fs::remove_dir_all(folder);
                say_lacks(&found.lacks);
                if found.lasting {
                    let tried = Tried {
                        build: self.build.clone(),
                        lacks: found.lacks.clone(),
                    };
                    let bytes = serde_json::to_vec(&tried).expect("plain structs of text");
                    // Without it the next start tries again.
                    let _ = std::fs::write(&file, bytes);
                }
                found.lacks
            }
        };
        *self.held() = lacks;
    }
}

fn say_lacks(lacks: &[reelraft_media::Lack]) {
    for lack in lacks {
        warn!(why = lack.why, "this node can't make {}", lack.what);
    }
}

/// A node encodes without a sandbox where the kernel has none, but not in silence.
async fn say_sandbox(tools: &Tools) {
    let check = reelraft_media::check_sandbox(tools).await;
    if check.ok {
        info!("encoder sandbox: {}", check.found);
    } else {
        warn!(hint = check.hint, "encoder sandbox: {}", check.found);
    }
}
