//! Prints what a `reelraft` makes of many sources and options, a row for each
//! job: the hashes of source, reference command and output, or the kind of the
//! refusal. Two programs whose tables are equal give the same bytes (P1).
//!
//! `cargo run --release -p reelraft-quality --bin output_hashes -- [--media DIR] [--binary PATH]`
//!
//! `--binary` names the program to ask, by default the one built beside this.
//! Real files come from `--media` or `$REELRAFT_MEDIA`; without it there are
//! made clips alone. A job that fails is a row like any other.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use reelraft_harness::{LocalCluster, Options};
use reelraft_quality::{
    cases::{self, Case},
    clips,
    row::{self, Row},
};

/// Jobs at a time: enough that a short one's waits leave no core idle.
const CLIENTS: usize = 3;

fn main() -> ExitCode {
    match print_table() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("error: {cause}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    media: Option<PathBuf>,
    binary: Option<PathBuf>,
}

fn print_table() -> Result<(), String> {
    let arguments = arguments()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let sources = folder.path().join("sources");
    std::fs::create_dir(&sources).map_err(|error| error.to_string())?;
    clips::make(&sources)?;
    let mut cases = cases::made(&sources);
    if let Some(media) = &arguments.media {
        cases.extend(cases::real(media)?);
    }
    let options = Options {
        nodes: 1,
        binary: arguments.binary,
        ..Default::default()
    };
    let cluster = LocalCluster::start(&folder.path().join("cluster"), options);
    println!("{}", row::COLUMNS);
    for row in all_rows(&cluster, &cases, folder.path()) {
        println!("{}", row.line());
    }
    Ok(())
}

/// The rows of all cases, in their order.
fn all_rows(cluster: &LocalCluster, cases: &[Case], folder: &Path) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let client = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else {
                return;
            };
            let row = row::run(cluster, case, number, folder);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((number, row));
            eprintln!("{} of {}", done.len(), cases.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(client);
        }
    });
    let mut rows = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments {
        media: std::env::var_os("REELRAFT_MEDIA").map(PathBuf::from),
        binary: None,
    };
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        let place = match arg.to_str() {
            Some("--media") => &mut found.media,
            Some("--binary") => &mut found.binary,
            _ => return Err(format!("unknown option {}", arg.display())),
        };
        let path = args
            .next()
            .ok_or(format!("{} wants a path", arg.display()))?;
        *place = Some(path.into());
    }
    for path in [&found.media, &found.binary].into_iter().flatten() {
        if !path.exists() {
            return Err(format!("{} does not exist", path.display()));
        }
    }
    Ok(found)
}
