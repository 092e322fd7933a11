//! What a file looked like at one moment, and the names that follow from it: the
//! key of its line in the ledger, and the request id of its job (P5).

use std::{
    fs::Metadata,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use crate::transfer::local_files::FileId;

/// Which file it was, how large, and when it was last written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    pub id: FileId,
    pub bytes: u64,
    pub modified_ns: i128,
    /// Of its inode: renaming and giving permissions count, too.
    pub changed_ns: i128,
    /// How many names it has.
    pub links: u64,
}

impl Stamp {
    pub fn of(found: &Metadata) -> Self {
        let ns = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Stamp {
            id: FileId::of(found),
            bytes: found.len(),
            modified_ns: ns(found.mtime(), found.mtime_nsec()),
            changed_ns: ns(found.ctime(), found.ctime_nsec()),
            links: found.nlink(),
        }
    }

    /// Of what is no local file.
    pub fn of_nothing() -> Self {
        Stamp {
            id: FileId::of_nothing(),
            bytes: 0,
            modified_ns: 0,
            changed_ns: 0,
            links: 0,
        }
    }

    /// Which file it is and when its inode last changed: what comes back later
    /// under the same name, with the same size and time, is told apart by it.
    pub fn text(&self) -> String {
        format!("{}:{}", self.id.text(), self.changed_ns)
    }

    /// Whether it is the same file with the same content, as far as can be told
    /// without reading it.
    pub fn same_content(&self, other: &Stamp) -> bool {
        (self.id, self.bytes, self.modified_ns) == (other.id, other.bytes, other.modified_ns)
    }
}

/// Which line of a ledger a file has: by its place, size and time, and by what is
/// to be made of it. Nothing of the file is read for it. `root` is none where the
/// ledger lies in it: then both may move.
pub fn ledger_key(root: Option<&Path>, below: &Path, stamp: &Stamp, spec: &[u8]) -> String {
    let parts = [
        b"reelraft ledger 1".as_slice(),
        root.map_or(b"".as_slice(), |root| root.as_os_str().as_bytes()),
        below.as_os_str().as_bytes(),
        &stamp.bytes.to_le_bytes(),
        &stamp.modified_ns.to_le_bytes(),
        spec,
    ];
    digits(&parts)
}

/// The request id of a file's job. It does not depend on where the folder is
/// mounted, so that two machines that look at one folder make one job.
/// `turn` counts the jobs that were deleted, or failed and are to be tried again.
pub fn request_id(
    below: &Path,
    stamp: &Stamp,
    fingerprint: &str,
    spec: &[u8],
    turn: u32,
) -> String {
    let parts = [
        b"reelraft file 1".as_slice(),
        below.as_os_str().as_bytes(),
        &stamp.bytes.to_le_bytes(),
        &stamp.modified_ns.to_le_bytes(),
        fingerprint.as_bytes(),
        spec,
    ];
    let id = format!("f{}", digits(&parts));
    match turn {
        0 => id,
        turn => format!("{id}-{turn}"),
    }
}

/// 128 bits of BLAKE3 over parts, each with its length before it.
fn digits(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut digits = hasher.finalize().to_hex().to_string();
    digits.truncate(32);
    digits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_follow_from_what_decides_the_job() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let stamp = Stamp::of(&std::fs::metadata(&path).unwrap());
        let id = |below: &str, stamp: &Stamp, spec: &[u8], turn| {
            request_id(Path::new(below), stamp, "f00d", spec, turn)
        };
        let first = id("a", &stamp, b"s", 0);
        assert_eq!(first, id("a", &stamp, b"s", 0));
        let later = Stamp {
            modified_ns: stamp.modified_ns + 1,
            ..stamp
        };
        for other in [
            id("b", &stamp, b"s", 0),
            id("a", &later, b"s", 0),
            id("a", &stamp, b"t", 0),
        ] {
            assert!(other.starts_with('f') && other != first);
        }
        assert_eq!(id("a", &stamp, b"s", 2), format!("{first}-2"));
        let key = |root: &'static str, below: &str| {
            ledger_key(Some(Path::new(root)), Path::new(below), &stamp, b"s")
        };
        assert_ne!(key("/a", "b"), key("/ab", ""), "parts are told apart");
    }
}
