//! Documents that the cluster keeps as JSON, and gives as they are.

use crate::{
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// Prints one; `what` names it, as in "a proof".
///
/// # Errors
/// [`CliError::Nonsense`] for text that is not JSON.
pub fn print_stored(what: &str, text: &str, output: Output) -> Result<(), CliError> {
    let document: serde_json::Value =
        serde_json::from_str(text).map_err(|error| CliError::Nonsense {
            what: format!("{what} that is not JSON ({error})"),
        })?;
    print(&match output {
        Output::Json => json::line(&document),
        Output::Table => table::document(&document),
    })
}
