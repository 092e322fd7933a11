//! Errors on standard error: `error: KIND: CAUSE`, then `hint: …`, and the exit
//! code that goes with them.

use clap::error::{ContextKind, ContextValue};

use super::{
    Output,
    json::{self, ErrorDocument},
    screen::{eprint, printable},
};
use crate::{error::CliError, exit};

/// Prints an error; returns its exit code.
pub fn report(error: &CliError) -> u8 {
    report_in(error, "", Output::Table)
}

/// Prints an error, and for programs as a line of JSON, too. `way_back` is how
/// to return to the job that the command has made or follows, if any.
pub fn report_in(error: &CliError, way_back: &str, output: Output) -> u8 {
    if matches!(error, CliError::OutputClosed) {
        return error.exit_code();
    }
    let mut hint = error.hint();
    let mut text = rendered(error.kind(), &error.to_string(), &hint);
    if !way_back.is_empty() && error.leaves_the_job() {
        text.push_str(&format!("hint: {}\n", printable(way_back)));
        hint = format!("{hint}; {way_back}");
    }
    if output == Output::Json {
        text.push_str(&json::line(&ErrorDocument::new(error, &hint)));
    }
    eprint(&text);
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
            let body = said_by_clap(error);
            let hint = if names_a_file_as_output(error) {
                "the file to write is the argument OUT, as in `reelraft transcode IN OUT`; \
                 -o says how answers are printed"
            } else {
                "see the options with --help"
            };
            eprint(&format!("error: usage: {body}\nhint: {hint}\n"));
            exit::USAGE
        }
    }
}

/// What clap says of a wrong command line, without its own head and end.
pub fn said_by_clap(error: &clap::Error) -> String {
    let text = error.to_string();
    // Its first paragraph starts with "error: "; the last points to --help.
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("For more information"))
        .collect();
    // clap's usage names options that came from the environment as if they were
    // missing.
    let body = kept
        .join("\n")
        .replace(" --endpoints <HOST:PORT,…>", " [OPTIONS]");
    body.trim_start_matches("error: ").trim_end().to_string()
}

/// Whether `-o` was given a file, as other programs take it.
fn names_a_file_as_output(error: &clap::Error) -> bool {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    text(ContextKind::InvalidArg).contains("--output")
        && text(ContextKind::InvalidValue).contains(['.', '/'])
}
