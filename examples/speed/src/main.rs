//! How fast a cluster is, and what it costs, beside ffmpeg alone. Every figure
//! is a ratio taken in one run: the sides take turns, and the median counts, so
//! that whatever else the machine does meets all sides alike.
//!
//! `cargo run --release -p reelraft-speed -- COMMAND [--option VALUE]…`
//!
//! | command | measures |
//! |---|---|
//! | `film` | CPU and wall time of a cluster of three against one ffmpeg pass, and against a script that splits and concatenates |
//! | `long` | the same for a film that is long, small and quickly encoded |
//! | `scaling` | nodes held to a share of a core each, and one that is slower than the rest |
//! | `clips` | one small clip alone, and hundreds at once, against an ffmpeg a clip |
//! | `again` | the same job a second time |
//! | `tls` | CPU of a job and speed of an upload with TLS and without |
//! | `upload` | what is left to do after the last byte of a source that comes as fast as it is encoded |
//! | `first-minute` | when the beginning of a film can be looked at |
//!
//! Options are described where each command reads them.

mod again;
mod clips;
mod cluster;
mod cost;
mod film;
mod films;
mod first_minute;
mod held;
mod options;
mod passes;
mod scaling;
mod tls;
mod upload;
mod wire;

use std::{path::Path, process::ExitCode};

use options::Options;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let run: fn(&Options, &Path) -> Result<(), String> = match command.as_str() {
        "film" => film::film,
        "long" => film::long,
        "scaling" => scaling::run,
        "clips" => clips::run,
        "again" => again::run,
        "tls" => tls::run,
        "upload" => upload::run,
        "first-minute" => first_minute::run,
        "wire" => wire::run,
        _ => {
            eprintln!("one of: film, long, scaling, clips, again, tls, upload, first-minute, wire");
            return ExitCode::from(2);
        }
    };
    let ended = Options::read(args).and_then(|options| {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        run(&options, folder.path())
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}
