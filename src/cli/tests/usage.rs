//! Command lines that can't be: refused before any node is asked, in the form
//! of all errors.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use clap::Parser;
use reelraft_cli::{ClientCommand, GlobalArgs, exit, report_parse};

#[derive(Parser, Debug)]
struct Tree {
    #[command(flatten)]
    _global: GlobalArgs,
    #[command(subcommand)]
    _command: ClientCommand,
}

/// Where a test finds the command line that it is to parse as a program.
const LINE: &str = "REELRAFT_TEST_LINE";

#[test]
fn as_a_process() {
    let Ok(line) = std::env::var(LINE) else {
        return;
    };
    let code = match Tree::try_parse_from(line.split(' ')) {
        Ok(_) => exit::OK,
        Err(error) => report_parse(&error),
    };
    std::process::exit(code.into());
}

/// Exit code and stderr of a program that is given this line.
fn parsed(line: &str) -> (u8, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "as_a_process", "--nocapture"])
        .env(LINE, line)
        .output()
        .unwrap();
    let code = output.status.code().unwrap().try_into().unwrap();
    (code, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_no_option_takes_is_refused_by_name() {
    for (line, words) in [
        ("transcode a b.mp4 --codec h266", &["h266", "hevc"][..]),
        ("transcode a b.mp4 --width 0", &["--width", "above 0"]),
        ("transcode a b.mp4 --widht 640", &["--widht", "--width"]),
        ("transcode a -o out.mp4", &["out.mp4", "argument OUT"]),
        ("job frobnicate", &["frobnicate"]),
    ] {
        let (code, said) = parsed(&format!("reelraft {line}"));
        assert_eq!(code, exit::USAGE, "{line}: {said}");
        assert!(said.starts_with("error: usage: "), "{line}: {said}");
        assert!(said.contains("\nhint: "), "{line}: {said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
    }
    let (code, said) = parsed("reelraft transcode a b.mp4 --width 640");
    assert_eq!((code, said.as_str()), (exit::OK, ""));
}
