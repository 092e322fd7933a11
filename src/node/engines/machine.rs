//! An engine in the place of this machine's ffmpeg.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use reelraft_media::{Elsewhere, FromElsewhere, MediaError, RunElsewhere, Said};
use reelraft_model::AttemptKey;
use tokio::{sync::mpsc, time::Instant};

use super::{
    budget::Budget,
    here::EnginesHere,
    run::{Loss, Run, Wanted},
};
use crate::{data::Source, limits::ENGINE_TAKES_WITHIN};

/// An engine as the machine that an attempt's ffmpeg runs on.
pub struct EngineMachine {
    pub here: Arc<EnginesHere>,
    pub engine: u64,
    pub key: AttemptKey,
    pub source: Source,
    pub source_bytes: u64,
    pub budget: Arc<Budget>,
    /// Bytes of the source that it has read.
    pub served: Arc<AtomicU64>,
}

impl std::fmt::Debug for EngineMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EngineMachine({})", self.engine)
    }
}

impl Elsewhere for EngineMachine {
    fn begin(&self, args: &[String], output: PathBuf) -> Box<dyn RunElsewhere> {
        let (run, lines) = Run::new(Wanted {
            engine: self.engine,
            key: &self.key,
            args,
            output,
            input_bytes: self.source_bytes,
            budget: self.budget.clone(),
            source: self.source.clone(),
            served: self.served.clone(),
        });
        if !self.here.offer(run.clone()) {
            run.refuse("the engine is not here");
        }
        Box::new(Waited {
            here: self.here.clone(),
            run,
            lines,
            named_by: Instant::now() + ENGINE_TAKES_WITHIN,
        })
    }

    fn time_max(&self) -> Duration {
        self.budget.time_max()
    }
}

/// A run that an attempt waits for.
struct Waited {
    here: Arc<EnginesHere>,
    run: Arc<Run>,
    lines: mpsc::Receiver<Said>,
    named_by: Instant,
}

impl Waited {
    async fn said(&mut self) -> Result<Said, MediaError> {
        let said = loop {
            if self.run.is_named() {
                break self.lines.recv().await;
            }
            tokio::select! {
                said = self.lines.recv() => break said,
                () = tokio::time::sleep_until(self.named_by) => {
                    if !self.run.is_named() {
                        // Nothing was begun, so nobody is to blame.
                        return Err(MediaError::Stopped);
                    }
                }
            }
        };
        let said = said.ok_or(MediaError::Stopped)?;
        match (self.run.failure(), said) {
            (Some((detail, loss)), Said::Ended(_)) => Err(match loss {
                Loss::Failed => MediaError::Elsewhere { detail },
                Loss::Back => MediaError::Stopped,
                Loss::Unfit => MediaError::NotElsewhere { detail },
            }),
            (_, said) => Ok(said),
        }
    }
}

impl RunElsewhere for Waited {
    fn next(&mut self) -> FromElsewhere<'_, Said> {
        Box::pin(self.said())
    }

    fn moved(&self) -> Arc<AtomicU64> {
        self.run.moved.clone()
    }

    fn stop(&mut self) -> FromElsewhere<'_, ()> {
        self.run.stop();
        self.here.wake(self.run.engine);
        Box::pin(async {
            while let Said::Line(_) = self.said().await? {}
            Ok(())
        })
    }
}

impl Drop for Waited {
    fn drop(&mut self) {
        self.run.end();
        self.here.withdraw(&self.run);
    }
}
