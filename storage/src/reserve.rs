//! Room on the disk that nobody uses, for the day when all else is taken: the Raft log
//! goes on in it, and without the log nothing could be deleted.
//!
//! ```text
//! DATA/RESERVE   allocated, and never written to
//! ```
//! Puts leave more than this free. It is for what they don't see: other programs, and
//! encoders. It is given up in pieces, so that whoever fills the disk does not get all
//! of it at once, and taken back when there is room again.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    blobs::{SpaceProbe, statvfs},
    limits::{
        RESERVE_BYTES_MAX, RESERVE_DISK_PART, RESERVE_LOW_BYTES, RESERVE_PIECES, RESERVE_SPARE_PART,
    },
};

pub(crate) const RESERVE: &str = "RESERVE";

/// What became of a reserve at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveTurn {
    /// It is as it was.
    Same,
    /// A piece of it was given up, and so much is left.
    GivenUp { left_bytes: u64 },
    /// It is whole again.
    Whole { bytes: u64 },
}

/// The reserve of a data folder.
#[derive(Clone)]
pub struct Reserve {
    file: PathBuf,
    folder: PathBuf,
    probe: SpaceProbe,
}

impl std::fmt::Debug for Reserve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserve")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Reserve {
    /// That of a folder, whether there is one yet or not.
    pub fn of(folder: &Path) -> Self {
        Self::with(folder, Arc::new(statvfs))
    }

    /// [`Reserve::of`] with another way to find out the room.
    pub fn with(folder: &Path, probe: SpaceProbe) -> Self {
        Reserve {
            file: folder.join(RESERVE),
            folder: folder.to_path_buf(),
            probe,
        }
    }

    /// Gives a piece up where the disk has hardly any room left. What has no reserve
    /// stays without.
    ///
    /// # Errors
    /// What the disk refuses.
    pub fn give_way(&self) -> io::Result<ReserveTurn> {
        let held = self.held_bytes()?;
        // The folder itself may not be there yet.
        if held == 0 {
            return Ok(ReserveTurn::Same);
        }
        let space = (self.probe)(&self.folder)?;
        if space.free_bytes >= RESERVE_LOW_BYTES {
            return Ok(ReserveTurn::Same);
        }
        let piece = (wanted_bytes(space.total_bytes) / RESERVE_PIECES).max(1);
        let left_bytes = held.saturating_sub(piece);
        let file = File::options().write(true).open(&self.file)?;
        file.set_len(left_bytes)?;
        // Some file systems have the room only then.
        file.sync_all()?;
        Ok(ReserveTurn::GivenUp { left_bytes })
    }

    /// Gives a piece up, or takes all of it back where there is room for more than it.
    ///
    /// # Errors
    /// What the disk refuses, as where it can't allocate without writing.
    pub fn keep(&self) -> io::Result<ReserveTurn> {
        let given = self.give_way()?;
        if given != ReserveTurn::Same {
            return Ok(given);
        }
        let held = self.held_bytes()?;
        let space = (self.probe)(&self.folder)?;
        let bytes = wanted_bytes(space.total_bytes);
        let lacking = bytes.saturating_sub(held);
        // Else it would be given up again at the next look.
        let spare = (space.total_bytes / RESERVE_SPARE_PART).max(2 * RESERVE_LOW_BYTES);
        if lacking == 0 || space.free_bytes < lacking.saturating_add(spare) {
            return Ok(ReserveTurn::Same);
        }
        match allocate(&self.file, bytes) {
            Ok(()) => Ok(ReserveTurn::Whole { bytes }),
            Err(error) => {
                // A part of it may have been allocated, beyond what the file says.
                let file = File::options().write(true).open(&self.file);
                let _ = file.and_then(|file| file.set_len(held));
                Err(error)
            }
        }
    }

    fn held_bytes(&self) -> io::Result<u64> {
        match fs::metadata(&self.file) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// How much is kept of a disk of this size.
fn wanted_bytes(total_bytes: u64) -> u64 {
    RESERVE_BYTES_MAX.min(total_bytes / RESERVE_DISK_PART)
}

fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: a descriptor that `file` owns, and numbers; no memory is touched.
    match unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } {
        0 => file.sync_all(),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        os::unix::fs::MetadataExt,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::blobs::Space;

    const MIB: u64 = 1 << 20;

    /// Whether the file system of temporary files allocates without writing.
    fn allocates() -> bool {
        let dir = tempfile::tempdir().unwrap();
        let allocates = allocate(&dir.path().join(RESERVE), MIB).is_ok();
        if !allocates {
            eprintln!("skipped: this file system allocates nothing");
        }
        allocates
    }

    /// The room that a reserve takes.
    fn taken_bytes(dir: &tempfile::TempDir) -> u64 {
        fs::metadata(dir.path().join(RESERVE)).unwrap().blocks() * 512
    }

    /// A reserve on a disk of which the test says how much is free.
    fn on_disk(total_bytes: u64) -> (tempfile::TempDir, Arc<AtomicU64>, Reserve) {
        let dir = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(total_bytes));
        let asked = free.clone();
        let probe = move |_: &Path| {
            Ok(Space {
                free_bytes: asked.load(Ordering::Relaxed),
                total_bytes,
            })
        };
        let reserve = Reserve::with(dir.path(), Arc::new(probe));
        (dir, free, reserve)
    }

    #[test]
    fn it_is_given_up_in_pieces_and_taken_back_when_there_is_room() {
        if !allocates() {
            return;
        }
        // Of 1 GiB it keeps 32 MiB.
        let (dir, free, reserve) = on_disk(1024 * MIB);
        let taken = reserve.keep().unwrap();
        assert_eq!(taken, ReserveTurn::Whole { bytes: 32 * MIB });
        assert!(taken_bytes(&dir) >= 32 * MIB, "it takes room");
        assert_eq!(reserve.keep().unwrap(), ReserveTurn::Same);
        free.store(RESERVE_LOW_BYTES - 1, Ordering::Relaxed);
        for left in [24, 16, 8, 0] {
            let turn = reserve.keep().unwrap();
            let left_bytes = left * MIB;
            assert_eq!(turn, ReserveTurn::GivenUp { left_bytes });
            // Some file systems have blocks of their own there.
            assert!(taken_bytes(&dir) <= left_bytes + 64 * 1024, "it is free");
        }
        assert_eq!(reserve.keep().unwrap(), ReserveTurn::Same, "all is given");
        free.store((32 + 64) * MIB - 1, Ordering::Relaxed);
        assert_eq!(reserve.keep().unwrap(), ReserveTurn::Same, "too little");
        free.store((32 + 64) * MIB, Ordering::Relaxed);
        let taken = reserve.keep().unwrap();
        assert_eq!(taken, ReserveTurn::Whole { bytes: 32 * MIB });
    }

    #[test]
    fn one_that_was_given_up_in_part_is_filled_up() {
        if !allocates() {
            return;
        }
        let (_dir, free, reserve) = on_disk(1024 * MIB);
        reserve.keep().unwrap();
        free.store(0, Ordering::Relaxed);
        reserve.keep().unwrap();
        free.store(72 * MIB, Ordering::Relaxed);
        let taken = reserve.keep().unwrap();
        assert_eq!(taken, ReserveTurn::Whole { bytes: 32 * MIB });
    }

    #[test]
    fn a_large_disk_gives_no_more_than_is_of_use() {
        if !allocates() {
            return;
        }
        let (dir, _, reserve) = on_disk(100 << 40);
        let taken = reserve.keep().unwrap();
        let bytes = RESERVE_BYTES_MAX;
        assert_eq!(taken, ReserveTurn::Whole { bytes });
        drop(dir);
    }

    #[test]
    fn a_start_makes_none() {
        let (dir, free, reserve) = on_disk(1024 * MIB);
        assert_eq!(reserve.give_way().unwrap(), ReserveTurn::Same);
        free.store(0, Ordering::Relaxed);
        assert_eq!(reserve.give_way().unwrap(), ReserveTurn::Same);
        assert!(!dir.path().join(RESERVE).exists(), "the folder stays empty");
        let nowhere = Reserve::of(&dir.path().join("nowhere"));
        assert_eq!(nowhere.give_way().unwrap(), ReserveTurn::Same);
    }
}
