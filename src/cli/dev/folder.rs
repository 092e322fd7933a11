//! What `dev` remembers in its data folder: how many nodes it was created for
//! and on which ports; and that only one supervisor uses it at a time. The
//! nodes' own folders in it belong to them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{CliError, os_reason},
    file_lock::try_lock,
    limits::{DEV_BASE_PORT_MAX, DEV_NODES_MAX},
};

const NODES_DEFAULT: u32 = 3;
/// Default port of the first node; clients ask there, too.
pub const BASE_PORT_DEFAULT: u16 = 7401;

/// A folder in use, locked as long as this lives.
pub struct Folder {
    /// How many nodes it was created for.
    pub nodes: u32,
    /// Port of the first node.
    pub base_port: u16,
    path: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    nodes: u32,
    base_port: u16,
}

impl Folder {
    /// Opens or creates a folder. What the caller leaves open is taken from it.
    /// Nothing is written before [`Folder::remember`], so that a start which
    /// fails on its ports leaves the folder as it was.
    ///
    /// # Errors
    /// [`CliError::Local`] if another supervisor has it, it can't be used, or it
    /// was created for another number of nodes.
    pub fn open(path: &Path, nodes: Option<u32>, base_port: Option<u16>) -> Result<Self, CliError> {
        let failed = |error: io::Error| {
            refused(
                path,
                os_reason(&error),
                "choose another folder with --data".into(),
            )
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("dev.lock"))
            .map_err(failed)?;
        if !try_lock(&lock).map_err(failed)? {
            return Err(refused(
                path,
                "another `reelraft dev` is running on it".into(),
                "stop that one, or choose another folder with --data".into(),
            ));
        }
        let marker = match fs::read_to_string(path.join("dev.json")) {
            Ok(text) => check(path, &text, nodes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Marker {
                nodes: nodes.unwrap_or(NODES_DEFAULT),
                base_port: BASE_PORT_DEFAULT,
            },
            Err(error) => return Err(failed(error)),
        };
        Ok(Folder {
            nodes: marker.nodes,
            // A cluster may move: its nodes are given the new addresses.
            base_port: base_port.unwrap_or(marker.base_port),
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Saves nodes and ports for the next start.
    ///
    /// # Errors
    /// [`CliError::Local`] if the folder can't be written.
    pub fn remember(&self) -> Result<(), CliError> {
        let marker = Marker {
            nodes: self.nodes,
            base_port: self.base_port,
        };
        write(&self.path, &marker).map_err(|error| {
            refused(
                &self.path,
                os_reason(&error),
                "choose another folder with --data".into(),
            )
        })
    }
}

fn refused(path: &Path, cause: String, hint: String) -> CliError {
    CliError::Local {
        what: format!("can't use the folder {}", path.display()),
        cause,
        hint,
    }
}

fn check(path: &Path, text: &str, nodes: Option<u32>) -> Result<Marker, CliError> {
    let other = || "choose another folder with --data".to_string();
    let marker: Marker = serde_json::from_str(text)
        .map_err(|_| refused(path, "its dev.json can't be read".into(), other()))?;
    let ports_fit = (1..=DEV_BASE_PORT_MAX).contains(&marker.base_port);
    if !(1..=DEV_NODES_MAX).contains(&marker.nodes) || !ports_fit {
        return Err(refused(path, "its dev.json makes no sense".into(), other()));
    }
    // The nodes have agreed on their number.
    if nodes.is_some_and(|nodes| nodes != marker.nodes) {
        return Err(refused(
            path,
            format!("it was created for {} nodes", marker.nodes),
            format!(
                "omit --nodes to continue with {}, or {}",
                marker.nodes,
                other()
            ),
        ));
    }
    Ok(marker)
}

/// Temporary file, sync, rename: a killed supervisor leaves no half-written marker.
fn write(path: &Path, marker: &Marker) -> io::Result<()> {
    let temp = path.join("dev.json.new");
    let mut file = File::create(&temp)?;
    serde_json::to_writer(&mut file, marker)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&temp, path.join("dev.json"))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_keeps_its_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let open = |nodes, port| Folder::open(&path, nodes, port);
        let first = open(Some(5), None).unwrap();
        assert_eq!((first.nodes, first.base_port), (5, 7401));
        let busy = open(None, None).err().unwrap();
        assert!(
            busy.to_string().contains("another `reelraft dev`"),
            "{busy}"
        );
        drop(first);
        // Nothing was saved: the start may have failed on its ports.
        open(Some(4), Some(9000)).unwrap().remember().unwrap();
        let again = open(None, None).unwrap();
        assert_eq!((again.nodes, again.base_port), (4, 9000));
        drop(again);
        assert_eq!(open(None, Some(9100)).unwrap().base_port, 9100);
        let other = open(Some(3), None).err().unwrap();
        assert!(other.to_string().contains("created for 4 nodes"), "{other}");
        assert!(other.hint().contains("--nodes"));
    }
}
