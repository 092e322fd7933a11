//! The document of one of many files.

use reelraft_proto::documents;
use serde::Serialize;

/// What came of a file.
#[derive(Serialize)]
pub struct Document<'a> {
    /// Its path; what is no text in it as `%` and two digits.
    pub file: String,
    /// done, skipped, gone or failed.
    pub end: &'static str,
    pub why: Option<&'a str>,
    pub out: Option<String>,
    pub job: Option<documents::Job<'a>>,
}
