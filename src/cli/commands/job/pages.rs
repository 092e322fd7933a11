//! Paging: from one page's token to the next.

use crate::error::CliError;

/// The token of the page to ask for after the one asked for with `token`;
/// `None` at the end of the list.
///
/// # Errors
/// [`CliError::Nonsense`] if a page points to itself: it would be asked for
/// forever.
pub fn next_page(token: &str, next: String) -> Result<Option<String>, CliError> {
    if next.is_empty() {
        return Ok(None);
    }
    if next == token {
        return Err(CliError::Nonsense {
            what: "a page that points to itself".into(),
        });
    }
    Ok(Some(next))
}
