//! What the runs of one attempt may take of this member, whatever their engine says: of
//! the source, of the log, and of the disk.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::limits::{
    ENGINE_FILES_BYTES_MAX, ENGINE_FRAME_LOG_BYTES, ENGINE_FRAME_TIME, ENGINE_INPUT_BLOCK,
    ENGINE_LOG_BYTES_MIN, ENGINE_ROOM_CHECKED_EVERY, ENGINE_TIME_MIN,
};

/// Whether the disk has room for files of engines.
pub type HasRoom = Arc<dyn Fn() -> bool + Send + Sync>;

/// The bounds of one attempt.
pub struct Budget {
    /// Bytes of the source that its runs may read, in whole blocks.
    pub source_bytes_max: u64,
    /// Bytes of the file of each run.
    pub output_bytes_max: u64,
    /// Frames of the shard.
    pub frames: u64,
    /// Bytes of all unfinished files of its engine.
    pub files: Arc<AtomicU64>,
    pub has_room: HasRoom,
    /// Blocks of the source that were read.
    pub read: Mutex<BTreeSet<u64>>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Budget({} frames)", self.frames)
    }
}

/// Why a file may not grow.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// It is larger than its frames can be.
    TooLarge,
    /// The engine has too much on this disk that is not finished.
    TooMuch,
    /// The disk is nearly full.
    DiskFull,
}

impl Budget {
    /// How long a run may take.
    pub fn time_max(&self) -> Duration {
        let frames = u32::try_from(self.frames).unwrap_or(u32::MAX);
        ENGINE_TIME_MIN.saturating_add(ENGINE_FRAME_TIME.saturating_mul(frames))
    }

    /// Bytes of the log of a run.
    pub fn log_bytes_max(&self) -> u64 {
        let frames = self.frames.saturating_mul(ENGINE_FRAME_LOG_BYTES);
        ENGINE_LOG_BYTES_MIN.saturating_add(frames)
    }

    /// Whether the source may be read at an offset.
    pub fn may_read(&self, offset: u64) -> bool {
        let block = offset / ENGINE_INPUT_BLOCK;
        let mut read = self.read.lock().expect("no holder of this lock panics");
        let blocks_max = self.source_bytes_max.div_ceil(ENGINE_INPUT_BLOCK);
        read.contains(&block) || {
            let fits = (read.len() as u64) < blocks_max;
            fits && read.insert(block)
        }
    }

    /// Whether a file may grow to a size, of which so many bytes are counted already;
    /// gives how many are from then on. They are given back with [`Budget::give_back`].
    pub fn grow(&self, to: u64, held: u64) -> Result<u64, NoRoom> {
        if to > self.output_bytes_max {
            return Err(NoRoom::TooLarge);
        }
        // What could not be written is counted, and comes again.
        let by = to.saturating_sub(held);
        if by == 0 {
            return Ok(held);
        }
        let step = |bytes: u64| bytes / ENGINE_ROOM_CHECKED_EVERY;
        let looks = held == 0 || step(to) != step(held);
        if looks && !(self.has_room)() {
            return Err(NoRoom::DiskFull);
        }
        let all = self.files.fetch_add(by, Ordering::Relaxed);
        // One file may be as large as it needs to be.
        if all.saturating_add(by) > ENGINE_FILES_BYTES_MAX && all.saturating_add(by) > to {
            self.give_back(by);
            return Err(NoRoom::TooMuch);
        }
        Ok(to)
    }

    /// Notes that bytes of a file are gone, or are the member's own.
    pub fn give_back(&self, bytes: u64) {
        self.files.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(files: &Arc<AtomicU64>, room: bool) -> Budget {
        Budget {
            source_bytes_max: 2 * ENGINE_INPUT_BLOCK,
            output_bytes_max: 2 * ENGINE_FILES_BYTES_MAX,
            frames: 100,
            files: files.clone(),
            has_room: Arc::new(move || room),
            read: Mutex::default(),
        }
    }

    #[test]
    fn an_attempt_reads_so_many_blocks_each_as_often_as_it_likes() {
        let budget = budget(&Arc::default(), true);
        let block = ENGINE_INPUT_BLOCK;
        assert!(budget.may_read(0) && budget.may_read(block - 1) && budget.may_read(9 * block));
        assert!(
            !budget.may_read(5 * block),
            "the third block is one too many"
        );
        assert!(budget.may_read(9 * block + 1) && budget.may_read(7));
    }

    #[test]
    fn files_of_an_engine_are_bounded_each_and_together() {
        let files = Arc::default();
        let (one, other) = (budget(&files, true), budget(&files, true));
        let most = ENGINE_FILES_BYTES_MAX;
        assert_eq!(one.grow(2 * most + 1, 2 * most), Err(NoRoom::TooLarge));
        // A single one may have its size.
        assert_eq!(one.grow(most, 0), Ok(most));
        assert_eq!(one.grow(most + 1, most), Ok(most + 1));
        assert_eq!(other.grow(1, 0), Err(NoRoom::TooMuch));
        // What is written again counts once.
        assert_eq!(one.grow(most + 1, most + 1), Ok(most + 1));
        assert_eq!(one.grow(most, most + 1), Ok(most + 1));
        one.give_back(most + 1);
        assert_eq!(files.load(Ordering::Relaxed), 0);
        assert_eq!(other.grow(1, 0), Ok(1));
        assert_eq!(budget(&files, false).grow(2, 0), Err(NoRoom::DiskFull));
    }
}
