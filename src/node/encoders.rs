//! ffmpeg as this node has it.

use reelraft_media::Tools;
use reelraft_model::Problem;
use tracing::{error, info, warn};

/// The programs and what they make.
pub struct Encoders {
    /// The programs, or why there are none.
    pub tools: Result<Tools, Problem>,
    /// The encoder build; empty without ffmpeg.
    pub build: String,
}

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
            Ok((tools, build)) => Encoders {
                tools: Ok(tools),
                build,
            },
            Err(error) => {
                let problem = Problem::new(error.kind(), error.to_string(), error.hint());
                error!(%problem, "this node stores and votes, but encodes nothing");
                Encoders {
                    tools: Err(problem),
                    build: String::new(),
                }
            }
        }
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
