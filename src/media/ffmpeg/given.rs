//! Runs an ffmpeg whose arguments another machine has made, in the sandbox of all
//! others: it reads its one input and writes into its folder.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    error::MediaError,
    ffmpeg::{
        cancel::Cancel,
        elsewhere::INPUT_PLACE,
        input::BytesServed,
        process::{Exit, Invocation, LineEffect, Listener, run},
        tools::Tools,
    },
    limits::{NICE, STALL_MAX},
};

/// What another machine wants to be run.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// [`INPUT_PLACE`] stands in them for the input's address.
    pub args: &'a [String],
    /// A loopback server's.
    pub input: &'a str,
    pub served: &'a BytesServed,
    /// An empty folder with an absolute path.
    pub work_dir: &'a Path,
    /// What it may take beside the usual, for its pictures.
    pub address_bytes_extra: u64,
    /// Ends it, once it is set: all that is wanted is written.
    pub stop: &'a AtomicBool,
}

struct Heard<'a> {
    lines: &'a mut (dyn FnMut(&str) + Send),
    stop: &'a AtomicBool,
}

impl Heard<'_> {
    fn effect(&self) -> LineEffect {
        match self.stop.load(Ordering::Relaxed) {
            true => LineEffect::Stop,
            false => LineEffect::Progress,
        }
    }
}

impl Listener for Heard<'_> {
    fn stdout(&mut self, _: &str) -> Result<LineEffect, MediaError> {
        Ok(self.effect())
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        (self.lines)(line);
        Ok(self.effect())
    }
}

/// Runs it; gives its exit code.
pub(crate) async fn run_given(
    tools: &Tools,
    given: Given<'_>,
    cancel: &Cancel,
    lines: &mut (dyn FnMut(&str) + Send),
) -> Result<i32, MediaError> {
    let args = filled_in(given.args, given.input)?;
    let invocation = Invocation {
        program: &tools.ffmpeg,
        args: &args,
        work_dir: Some(given.work_dir),
        address_bytes_extra: given.address_bytes_extra,
        nice: NICE,
        time_max: None,
        stall_max: STALL_MAX,
        served: Some(given.served),
    };
    let stop = given.stop;
    match run(invocation, cancel, &mut Heard { lines, stop }).await? {
        Exit::Success | Exit::StoppedByListener => Ok(0),
        Exit::Failure(status) => Ok(status.code().unwrap_or(1)),
    }
}

/// The arguments with their input, which is the only one: whoever made them must not
/// have another file or address opened.
fn filled_in(args: &[String], input: &str) -> Result<Vec<String>, MediaError> {
    let bad = |detail: &str| {
        Err(MediaError::Elsewhere {
            detail: detail.to_string(),
        })
    };
    let mut inputs = 0;
    for pair in args.windows(2).filter(|pair| pair[0] == "-i") {
        if pair[1] != INPUT_PLACE {
            return bad("the task names another input than its own");
        }
        inputs += 1;
    }
    if inputs != 1 {
        return bad("the task has no input, or several");
    }
    let filled = args.iter().map(|arg| match arg.as_str() {
        INPUT_PLACE => input.to_string(),
        arg => arg.to_string(),
    });
    Ok(filled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_opens_its_own_input_and_no_other() {
        let args = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
        let filled = filled_in(
            &args(&["-y", "-i", "{input}", "o.mp4"]),
            "http://127.0.0.1:1/t",
        );
        let filled = filled.unwrap_or_default();
        assert_eq!(filled[2], "http://127.0.0.1:1/t");
        for bad in [
            &["-i", "file:/etc/passwd", "o.mp4"][..],
            &["-i", "{input}", "-i", "file:/etc/passwd", "o.mp4"],
            &["-i", "{input}", "-i", "{input}"],
            &["-y", "o.mp4"],
        ] {
            assert!(filled_in(&args(bad), "x").is_err(), "{bad:?}");
        }
    }
}
