//! The data folder: its lock, its format marker, and the node it belongs to.
//!
//! ```text
//! DATA/LOCK       held (flock) while a node runs on the folder
//! DATA/NEWCOMER   the incarnation of a disk that is being let in, until it is
//! DATA/IDENTITY   cluster, node and incarnation, written once
//! DATA/FORMAT     the format's number, written last: it makes the folder ours
//! ```
//! The incarnation is drawn at random when the folder is formatted. It gives away
//! a node that comes back with an empty disk under its old id, and so has
//! forgotten what it acknowledged.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    durable::{MADE_BY_EXT4, make_folder, seal, unseal, write_file},
    error::StorageError,
    limits::FORMAT_NEWEST,
};

pub(crate) const LOCK: &str = "LOCK";
pub(crate) const IDENTITY: &str = "IDENTITY";
const FORMAT: &str = "FORMAT";
const NEWCOMER: &str = "NEWCOMER";
pub(crate) const RESTORING: &str = "RESTORING";
/// Parts of a data folder that may be mount points of other disks.
const PARTS: [&str; 3] = ["log", "table", "snapshots"];
const FORMAT_WORD: &str = "reelraft-data";

/// Whose disk this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: String,
    pub node: u64,
    /// Random, drawn when the folder was formatted.
    pub incarnation: String,
}

/// An open data folder. Dropping it releases the lock.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    formatted: bool,
    _lock: File,
}

impl DataFolder {
    /// Opens and locks a data folder, or starts to format an empty one.
    ///
    /// An older format will be upgraded here once there is one. A new folder is
    /// ours only after [`DataFolder::finish`].
    ///
    /// # Errors
    /// [`StorageError::Locked`], [`StorageError::NotOurs`],
    /// [`StorageError::NewerFormat`], [`StorageError::OtherNode`],
    /// [`StorageError::DamagedIdentity`] and [`StorageError::Io`].
    pub fn open(path: &Path, cluster_id: &str, node: u64) -> Result<Self, StorageError> {
        make_folder(path)?;
        close_to_others(path);
        let lock = lock(path)?;
        refuse_part(path)?;
        let formatted = read_format(path)?;
        if !formatted {
            refuse_foreign(path)?;
        }
        if !formatted && !path.join(IDENTITY).exists() {
            let identity = Identity {
                cluster_id: cluster_id.to_string(),
                node,
                incarnation: new_incarnation(),
            };
            write_file(&path.join(IDENTITY), render(&identity).as_bytes())?;
        }
        let identity = read_identity(&path.join(IDENTITY))?;
        if identity.node != node {
            return Err(StorageError::OtherNode {
                found: identity.node,
                asked: node,
            });
        }
        // That of a restore which was cut off between its last two steps.
        remove_if_there(&path.join(RESTORING))?;
        Ok(DataFolder {
            path: path.to_path_buf(),
            identity,
            formatted,
            _lock: lock,
        })
    }

    /// Whether the folder was ours before it was opened. If not, everything in it
    /// must be created.
    pub fn formatted(&self) -> bool {
        self.formatted
    }

    /// Marks a new folder as ours, once it is complete.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn finish(&mut self) -> Result<(), StorageError> {
        if !self.formatted {
            let marker = format!("{FORMAT_WORD} {FORMAT_NEWEST}\n");
            write_file(&self.path.join(FORMAT), marker.as_bytes())?;
            self.formatted = true;
        }
        Ok(())
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn remove_if_there(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StorageError::io(
            format!("remove {}", path.display()),
        )(error)),
        _ => Ok(()),
    }
}

/// The folder holds the key of the cluster's authority, and everybody's films.
pub(crate) fn close_to_others(path: &Path) {
    let closed = fs::set_permissions(path, Permissions::from_mode(0o700));
    if let Err(error) = closed {
        // Another user's, as a mount point may be.
        tracing::warn!(folder = %path.display(), %error, "others may read the data folder");
    }
}

fn new_incarnation() -> String {
    let random: [u8; 16] = rand::random();
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whose disk a folder is; `None` where it is nobody's yet.
///
/// # Errors
/// [`StorageError::DamagedIdentity`] and [`StorageError::Io`].
pub fn known_identity(folder: &Path) -> Result<Option<Identity>, StorageError> {
    let path = folder.join(IDENTITY);
    match path.exists() {
        true => read_identity(&path).map(Some),
        false => Ok(None),
    }
}

/// The incarnation of a disk that asks to be let in. It stays the same until
/// [`be_let_in`], so that a request that is made again is known for the same.
///
/// # Errors
/// [`StorageError::NotOurs`], [`StorageError::DamagedIdentity`] and
/// [`StorageError::Io`].
pub fn newcomer(folder: &Path) -> Result<String, StorageError> {
    make_folder(folder)?;
    refuse_part(folder)?;
    refuse_foreign(folder)?;
    let path = folder.join(NEWCOMER);
    if !path.exists() {
        write_file(&path, seal(&new_incarnation()).as_bytes())?;
    }
    let bytes = fs::read(&path).map_err(StorageError::io(format!("read {}", path.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let known = unseal(&text).ok_or(StorageError::DamagedIdentity {
        path,
        cause: "its checksum differs".to_string(),
    });
    known.map(str::to_string)
}

/// Makes a newcomer's folder that of a node.
///
/// # Errors
/// [`StorageError::Io`].
pub fn be_let_in(folder: &Path, identity: &Identity) -> Result<(), StorageError> {
    write_file(&folder.join(IDENTITY), render(identity).as_bytes())?;
    let path = folder.join(NEWCOMER);
    fs::remove_file(&path).map_err(StorageError::io(format!("remove {}", path.display())))
}

/// Makes a whole folder that of a node of another cluster. Its identity comes last: what
/// has none is opened by nobody.
///
/// # Errors
/// [`StorageError::Io`].
pub(crate) fn found(folder: &Path, cluster_id: &str, node: u64) -> Result<Identity, StorageError> {
    let identity = Identity {
        cluster_id: cluster_id.to_string(),
        node,
        incarnation: new_incarnation(),
    };
    let marker = format!("{FORMAT_WORD} {FORMAT_NEWEST}\n");
    write_file(&folder.join(FORMAT), marker.as_bytes())?;
    write_file(&folder.join(IDENTITY), render(&identity).as_bytes())?;
    Ok(identity)
}

/// Refuses a folder that a restore has filled in part.
fn refuse_part(folder: &Path) -> Result<(), StorageError> {
    let part = folder.join(RESTORING).exists() && !folder.join(IDENTITY).exists();
    match part {
        true => Err(StorageError::HalfRestored {
            path: folder.to_path_buf(),
        }),
        false => Ok(()),
    }
}

pub(crate) fn lock(folder: &Path) -> Result<File, StorageError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StorageError::io(format!("open {}", path.display())))?;
    // SAFETY: flock on a descriptor that `file` owns touches no memory.
    let refused = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0;
    if !refused {
        return Ok(file);
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::WouldBlock {
        return Err(StorageError::Locked {
            path: folder.to_path_buf(),
        });
    }
    Err(StorageError::io(format!("lock {}", path.display()))(error))
}

/// Whether the folder has a format that this version reads.
fn read_format(folder: &Path) -> Result<bool, StorageError> {
    let path = folder.join(FORMAT);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StorageError::io(format!("read {}", path.display()))(error)),
    };
    let number = text
        .trim_end()
        .strip_prefix(FORMAT_WORD)
        .and_then(|rest| rest.trim_start().parse::<u32>().ok());
    match number {
        Some(found) if found > FORMAT_NEWEST => Err(StorageError::NewerFormat {
            found,
            newest: FORMAT_NEWEST,
        }),
        Some(_) => Ok(true),
        None => Err(StorageError::DamagedIdentity {
            path,
            cause: "no format number".to_string(),
        }),
    }
}

/// Without a marker, a folder may be formatted only if it is empty or its
/// formatting was cut short. Mount points are folders in it already, and must
/// be as empty.
pub(crate) fn refuse_foreign(folder: &Path) -> Result<(), StorageError> {
    let ours = [
        LOCK,
        IDENTITY,
        NEWCOMER,
        "JOINED",
        // The certificate that it was given, which comes before its identity.
        "tls",
        "IDENTITY.tmp",
        "FORMAT.tmp",
        "NEWCOMER.tmp",
        "JOINED.tmp",
    ];
    let started = folder.join(IDENTITY).exists();
    for name in names_in(folder)? {
        let ours = name == MADE_BY_EXT4 || ours.iter().any(|ours| name == *ours);
        let mounted = PARTS.iter().any(|part| name == *part)
            && names_in(&folder.join(&name))?
                .iter()
                .all(|name| name == MADE_BY_EXT4);
        if !started && !ours && !mounted {
            return Err(StorageError::NotOurs {
                path: folder.to_path_buf(),
            });
        }
    }
    Ok(())
}

fn names_in(folder: &Path) -> Result<Vec<OsString>, StorageError> {
    let failed = || StorageError::io(format!("list {}", folder.display()));
    let entries = fs::read_dir(folder).map_err(failed())?;
    entries
        .map(|entry| Ok(entry.map_err(failed())?.file_name()))
        .collect()
}

fn render(identity: &Identity) -> String {
    seal(&format!(
        "cluster={}\nnode={}\nincarnation={}\n",
        identity.cluster_id, identity.node, identity.incarnation
    ))
}

fn read_identity(path: &Path) -> Result<Identity, StorageError> {
    let damaged = |cause: &str| StorageError::DamagedIdentity {
        path: path.to_path_buf(),
        cause: cause.to_string(),
    };
    let bytes = fs::read(path).map_err(StorageError::io(format!("read {}", path.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = unseal(&text).ok_or_else(|| damaged("its checksum differs"))?;
    let field = |name: &str| {
        lines
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_string)
    };
    Ok(Identity {
        cluster_id: field("cluster").ok_or_else(|| damaged("no cluster"))?,
        node: field("node")
            .and_then(|node| node.parse().ok())
            .ok_or_else(|| damaged("no node"))?,
        incarnation: field("incarnation").ok_or_else(|| damaged("no incarnation"))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn open(path: &Path, node: u64) -> Result<DataFolder, StorageError> {
        let mut folder = DataFolder::open(path, "c", node)?;
        folder.finish()?;
        Ok(folder)
    }

    #[test]
    fn a_folder_keeps_its_incarnation() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), 1).unwrap().identity().clone();
        let again = open(dir.path(), 1).unwrap();
        assert_eq!(&first, again.identity());
        assert_eq!(first.incarnation.len(), 32);
    }

    #[test]
    fn the_mark_of_a_restore_that_is_done_goes() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), 1).unwrap());
        fs::write(dir.path().join(RESTORING), "x").unwrap();
        drop(open(dir.path(), 1).unwrap());
        assert!(!dir.path().join(RESTORING).exists());
    }

    #[test]
    fn a_second_opener_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _held = open(dir.path(), 1).unwrap();
        let error = open(dir.path(), 1).unwrap_err();
        assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    }

    #[test]
    fn another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), 1).unwrap());
        let error = open(dir.path(), 2).unwrap_err();
        assert!(
            matches!(error, StorageError::OtherNode { found: 1, asked: 2 }),
            "{error}"
        );
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), 1).unwrap());
        fs::write(dir.path().join(FORMAT), "reelraft-data 99\n").unwrap();
        let error = open(dir.path(), 1).unwrap_err();
        assert!(
            matches!(error, StorageError::NewerFormat { found: 99, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_folder_of_other_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("holiday.mp4"), "x").unwrap();
        let error = open(dir.path(), 1).unwrap_err();
        assert!(matches!(error, StorageError::NotOurs { .. }), "{error}");
    }

    #[test]
    fn parts_on_disks_of_their_own_are_taken_if_they_are_empty() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("log/lost+found")).unwrap();
        fs::create_dir(dir.path().join("table")).unwrap();
        assert!(open(dir.path(), 1).unwrap().formatted());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/syslog"), "x").unwrap();
        let error = open(dir.path(), 1).unwrap_err();
        assert!(matches!(error, StorageError::NotOurs { .. }), "{error}");
    }

    #[test]
    fn formatting_cut_short_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataFolder::open(dir.path(), "c", 1).unwrap();
        let incarnation = first.identity().incarnation.clone();
        fs::create_dir(dir.path().join("log")).unwrap();
        drop(first);
        let again = open(dir.path(), 1).unwrap();
        assert_eq!(incarnation, again.identity().incarnation);
        assert!(again.formatted());
    }

    #[test]
    fn a_newcomer_is_the_same_until_it_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(known_identity(dir.path()).unwrap(), None);
        let incarnation = newcomer(dir.path()).unwrap();
        assert_eq!(newcomer(dir.path()).unwrap(), incarnation);
        let identity = Identity {
            cluster_id: "c".into(),
            node: 4,
            incarnation,
        };
        be_let_in(dir.path(), &identity).unwrap();
        assert_eq!(
            known_identity(dir.path()).unwrap().as_ref(),
            Some(&identity)
        );
        assert_eq!(open(dir.path(), 4).unwrap().identity(), &identity);
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("holiday.mp4"), "x").unwrap();
        assert!(newcomer(other.path()).is_err());
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), 1).unwrap());
        let path = dir.path().join(IDENTITY);
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("node=1", "node=3");
        fs::write(&path, text).unwrap();
        let error = open(dir.path(), 3).unwrap_err();
        assert!(
            matches!(error, StorageError::DamagedIdentity { .. }),
            "{error}"
        );
    }
}
