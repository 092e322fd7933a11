//! The secrets: as text, or as a file that only the node's user may read, so
//! that they are in no process list and no container's description.

use std::{fs::File, io::Read};

use reelraft_model::Problem;
use reelraft_proto::auth::Secret;

use super::origin::{Picker, bad};
use crate::limits::SECRET_FILE_BYTES_MAX;

/// A secret as flags and the TOML file give it.
pub struct Given {
    pub text: (Option<String>, Option<String>),
    pub path: (Option<String>, Option<String>),
}

/// Takes a secret from its text, else from its file; one that is not set is
/// none.
///
/// # Errors
/// `bad-config` for a file that can't be read, and for characters that can't
/// be sent.
pub fn pick_secret(
    picker: &mut Picker,
    (key, file_key): (&'static str, &'static str),
    given: Given,
) -> Result<Secret, Problem> {
    let text = picker.pick(key, given.text.0, given.text.1, || None)?;
    let path = picker.pick(file_key, given.path.0, given.path.1, || None)?;
    let text = match (text, path) {
        (Some(text), _) => text,
        (None, Some(path)) => read_file(&path)?,
        (None, None) => String::new(),
    };
    Secret::new(&text).ok_or_else(|| {
        bad(
            format!(
                "the {} has characters that no header can carry",
                key.replace('_', " ")
            ),
            "use letters and digits",
        )
    })
}

/// A client's secret: its flag, else REELRAFT_SECRET, else what the file that
/// REELRAFT_SECRET_FILE names has; empty for none.
///
/// # Errors
/// `bad-config` for a file that can't be read.
pub fn client_secret(flag: Option<String>) -> Result<String, Problem> {
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    match flag.or_else(|| set("REELRAFT_SECRET")) {
        Some(text) => Ok(text),
        None => set("REELRAFT_SECRET_FILE").map_or(Ok(String::new()), |path| read_file(&path)),
    }
}

/// The first line of a file: editors end it with a line break.
fn read_file(path: &str) -> Result<String, Problem> {
    let refused = |cause: &str| {
        bad(
            format!("the secret's file {path} {cause}"),
            "name a file that holds the secret and nothing else",
        )
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        file.take(SECRET_FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
    });
    match read {
        Err(error) => return Err(refused(&format!("can't be read: {error}"))),
        Ok(bytes) if bytes as u64 > SECRET_FILE_BYTES_MAX => return Err(refused("is too long")),
        Ok(_) => {}
    }
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(refused("is empty")),
        secret => Ok(secret.to_string()),
    }
}
