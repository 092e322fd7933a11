//! The document of an error, which follows its text on standard error.

use serde::Serialize;

use crate::error::CliError;

/// `{"error": {…}}`.
#[derive(Serialize)]
pub struct Document<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    kind: &'a str,
    cause: String,
    hint: &'a str,
    exit: u8,
}

impl<'a> Document<'a> {
    pub fn new(error: &'a CliError, hint: &'a str) -> Self {
        Document {
            error: Fields {
                kind: error.kind(),
                cause: error.to_string(),
                hint,
                exit: error.exit_code(),
            },
        }
    }
}
