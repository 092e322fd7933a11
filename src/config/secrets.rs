//! The secrets: as text, or as a file that only the node's user may read, so
//! that they are in no process list and no container's description.

use std::{fs::File, io::Read};

use reelraft_model::{KEY_PREFIX, KeyText, Problem};
use reelraft_proto::auth::Secret;

use super::origin::{Picker, bad, variable};
use crate::limits::SECRET_FILE_BYTES_MAX;

/// A secret as flags and the TOML file give it: its text, and the name of its file.
pub type Given = [(Option<String>, Option<String>); 2];

/// The clients' secret, and the nodes' own, which is the clients' where none
/// is given.
///
/// # Errors
/// As [`pick_secret`].
pub fn pick_secrets(
    picker: &mut Picker,
    clients: Given,
    peers: Given,
) -> Result<(Secret, Secret), Problem> {
    let secret = pick_secret(picker, ("secret", "secret_file"), clients)?;
    let peer_secret = pick_secret(picker, ("peer_secret", "peer_secret_file"), peers)?;
    match peer_secret.is_set() {
        true => Ok((secret, peer_secret)),
        false => Ok((secret.clone(), secret)),
    }
}

/// Takes a secret from its text, else from its file; one that is not set is
/// none.
///
/// # Errors
/// `bad-config` for a file that can't be read, and for characters that can't
/// be sent.
fn pick_secret(
    picker: &mut Picker,
    (key, file_key): (&'static str, &'static str),
    [text, path]: Given,
) -> Result<Secret, Problem> {
    let text = picker.pick(key, text.0, text.1, || None)?;
    let path = picker.pick(file_key, path.0, path.1, || None)?;
    let text = match (text, path) {
        (Some(text), _) => text,
        (None, Some(path)) => read_file(&path)?,
        (None, None) => String::new(),
    };
    if text.starts_with(KEY_PREFIX) {
        return Err(bad(
            format!("the {} is a client's key", key.replace('_', " ")),
            "give a node a secret of its own; clients give a key as REELRAFT_KEY",
        ));
    }
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

/// What a client shows: the first of `--key`, `--secret`, REELRAFT_KEY, the file
/// that REELRAFT_KEY_FILE names, and the same of REELRAFT_SECRET; empty for none.
///
/// # Errors
/// `bad-config` for a variable or a file that can't be read, and for a key that
/// is none.
pub fn client_credential(
    key_flag: Option<String>,
    secret_flag: Option<String>,
) -> Result<String, Problem> {
    let key = match (key_flag, &secret_flag) {
        (Some(key), _) => Some(key),
        (None, Some(_)) => None,
        (None, None) => given("REELRAFT_KEY", "REELRAFT_KEY_FILE")?,
    };
    match (key, secret_flag) {
        (Some(key), _) if KeyText::parse(&key).is_none() => Err(bad(
            "REELRAFT_KEY, or --key, is no key",
            "give it as `reelraft key create` printed it; it begins with rrk_",
        )),
        (Some(text), _) | (None, Some(text)) => Ok(text),
        (None, None) => Ok(given("REELRAFT_SECRET", "REELRAFT_SECRET_FILE")?.unwrap_or_default()),
    }
}

/// A variable's text, else that of the file which another names.
fn given(name: &str, file_name: &str) -> Result<Option<String>, Problem> {
    match (variable(name)?, variable(file_name)?) {
        (Some(text), _) => Ok(Some(text)),
        (None, Some(path)) => read_file(&path).map(Some),
        (None, None) => Ok(None),
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
