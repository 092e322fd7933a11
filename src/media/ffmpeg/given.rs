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
    /// The file of its folder that it is to write: the last of the arguments.
    pub output: &'a str,
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
    let args = filled_in(given.args, given.output, given.input)?;
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
fn filled_in(args: &[String], output: &str, input: &str) -> Result<Vec<String>, MediaError> {
    let bad = |detail: &str| {
        Err(MediaError::Elsewhere {
            detail: detail.to_string(),
        })
    };
    let plain = !output.is_empty() && !output.starts_with(['-', '.']);
    let plain = plain && !output.contains(['/', ':', '%', '|']);
    if !plain || args.last().map(String::as_str) != Some(output) {
        return bad("the task does not end with the plain name of its file");
    }
    if args.iter().any(|arg| opens_more(arg)) {
        return bad("the task opens more than its input and its file");
    }
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

/// Whether an argument has ffmpeg open a file by another way than as its input or its
/// output. None of ours does.
fn opens_more(arg: &str) -> bool {
    let options = ["-/", "-attach", "-dump_attachment", "-report"];
    options.iter().any(|option| arg.starts_with(option)) || arg.contains("movie=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_opens_its_own_input_and_no_other() {
        let args = |all: &[&str]| -> Vec<String> { all.iter().map(ToString::to_string).collect() };
        let filled = filled_in(
            &args(&["-y", "-i", "{input}", "o.mp4"]),
            "o.mp4",
            "http://127.0.0.1:1/t",
        );
        let filled = filled.unwrap_or_default();
        assert_eq!(filled[2], "http://127.0.0.1:1/t");
        for bad in [
            &["-i", "file:/etc/passwd", "o.mp4"][..],
            &["-i", "{input}", "-i", "file:/etc/passwd", "o.mp4"],
            &["-i", "{input}", "-i", "{input}"],
            &["-y", "o.mp4"],
            &["-i", "{input}", "other.mp4"],
            &["-i", "{input}", "o.mp4", "other.mp4"],
            &["-i", "{input}", "-/filter:v", "/etc/passwd", "o.mp4"],
            &["-i", "{input}", "-vf", "movie=/etc/passwd", "o.mp4"],
            &["-i", "{input}", "-af", "amovie=/etc/passwd", "o.mp4"],
            &["-i", "{input}", "-attach", "/etc/passwd", "o.mp4"],
            &["-dump_attachment:t", "x", "-i", "{input}", "o.mp4"],
            &["-report", "-i", "{input}", "o.mp4"],
        ] {
            assert!(filled_in(&args(bad), "o.mp4", "x").is_err(), "{bad:?}");
        }
        for output in ["", "-", "/o.mp4", "../o.mp4", "tcp:o", "-y"] {
            let given = args(&["-i", "{input}", output]);
            assert!(filled_in(&given, output, "x").is_err(), "{output}");
        }
    }
}
