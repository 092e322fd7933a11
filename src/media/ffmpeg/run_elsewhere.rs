//! Runs ffmpeg on another machine: see `elsewhere.rs`.

use std::{os::unix::process::ExitStatusExt, path::Path, process::ExitStatus, time::Duration};

use crate::{
    error::MediaError,
    ffmpeg::{
        cancel::Cancel,
        elsewhere::{Elsewhere, Said},
        process::{Exit, LineEffect, Listener},
    },
};

/// Runs ffmpeg there, as `process::run` does here. One that says nothing for
/// `stall_max` has stalled.
pub(crate) async fn run_elsewhere(
    machine: &dyn Elsewhere,
    args: &[String],
    output: &Path,
    stall_max: Duration,
    cancel: &Cancel,
    listener: &mut (dyn Listener + Send),
) -> Result<Exit, MediaError> {
    let mut run = machine.begin(args, output.to_path_buf());
    loop {
        let said = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(MediaError::Stopped),
            said = tokio::time::timeout(stall_max, run.next()) => {
                said.map_err(|_| MediaError::Stalled {
                    tool: "ffmpeg".into(),
                    seconds: stall_max.as_secs(),
                })??
            }
        };
        let effect = match said {
            Said::Line(line) => listener.stderr(&line)?,
            Said::Ended(0) => return Ok(Exit::Success),
            // The upper byte of a status is the exit code.
            Said::Ended(code) => {
                return Ok(Exit::Failure(ExitStatus::from_raw((code & 0xff) << 8)));
            }
        };
        if effect == LineEffect::Stop {
            tokio::select! {
                () = cancel.cancelled() => return Err(MediaError::Stopped),
                stopped = tokio::time::timeout(stall_max, run.stop()) => {
                    stopped.map_err(|_| MediaError::Stalled {
                        tool: "ffmpeg".into(),
                        seconds: stall_max.as_secs(),
                    })??;
                }
            }
            return Ok(Exit::StoppedByListener);
        }
    }
}
