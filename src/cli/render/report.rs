//! Errors on standard error: `error: KIND: CAUSE`, then `hint: …`, and the exit
//! code that goes with them.

use super::screen::{eprint, printable};
use crate::{error::CliError, exit};

/// Prints an error; returns its exit code.
pub fn report(error: &CliError) -> u8 {
    if !matches!(error, CliError::OutputClosed) {
        eprint(&rendered(error.kind(), &error.to_string(), &error.hint()));
    }
    error.exit_code()
}

fn rendered(kind: &str, cause: &str, hint: &str) -> String {
    let cause = format!("{kind}: {}", cause.trim_end());
    let mut text = format!("error: {}\n", printable(&cause));
    if !hint.is_empty() {
        text.push_str(&format!("hint: {}\n", printable(hint)));
    }
    text
}

/// Prints what clap answered instead of a command, in the form of all errors;
/// returns the exit code: 0 for help and version, 2 for a wrong command line.
pub fn report_parse(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // A reader that is gone has seen enough.
            let _ = error.print();
            if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            }
        }
        _ => {
            let text = error.to_string();
            // Its first paragraph starts with "error: "; the last points to --help.
            let kept: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("For more information"))
                .collect();
            // clap's usage names options that came from the environment as
            // if they were missing.
            let body = kept
                .join("\n")
                .replace(" --endpoints <HOST:PORT,…>", " [OPTIONS]");
            eprint(&format!(
                "error: usage: {}\nhint: see the options with --help\n",
                body.trim_start_matches("error: ").trim_end()
            ));
            exit::USAGE
        }
    }
}
