//! Answers that are shown whole, as the document that they are.

use serde::Serialize;

use crate::{
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// Prints a document.
///
/// # Errors
/// Why standard output takes nothing.
pub fn print_document(document: &impl Serialize, output: Output) -> Result<(), CliError> {
    print(&match output {
        Output::Json => json::line(document),
        Output::Table => table::document(&json::value(document)),
    })
}

/// Prints one that the cluster keeps as text; `what` names it, as in "a proof".
///
/// # Errors
/// As above, and [`CliError::Nonsense`] for text that is not JSON.
pub fn print_stored(what: &str, text: &str, output: Output) -> Result<(), CliError> {
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|error| CliError::Nonsense {
            what: format!("{what} that is not JSON ({error})"),
        })?;
    print_document(&document, output)
}
