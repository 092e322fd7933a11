//! Steps of long work. A watchdog takes work for hung that says nothing, so
//! whatever grows with the table says after each piece that it got on.

use crate::limits::{STEP_BYTES, STEP_ROWS};

/// Called after each piece of long work, at the latest after [`STEP_ROWS`] rows
/// or [`STEP_BYTES`] bytes.
pub type Progress<'a> = &'a (dyn Fn() + Send + Sync);

/// For work that nobody watches.
pub const UNWATCHED: Progress<'static> = &|| ();

/// Counts rows and bytes up to the next step.
pub(crate) struct Steps<'a> {
    progress: Progress<'a>,
    rows: usize,
    bytes: usize,
}

impl<'a> Steps<'a> {
    pub fn new(progress: Progress<'a>) -> Self {
        Steps {
            progress,
            rows: 0,
            bytes: 0,
        }
    }

    /// Counts a row that is done with.
    pub fn row(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
        if self.rows >= STEP_ROWS || self.bytes >= STEP_BYTES {
            (self.rows, self.bytes) = (0, 0);
            (self.progress)();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::{LogPosition, SnapshotHead, Snapshots, Table, limits::TABLE_ROW_BYTES_MAX};

    /// Rows that were taken, and of these the ones since the last step.
    #[derive(Default)]
    struct Seen {
        rows: AtomicUsize,
        rows_since: AtomicUsize,
        bytes_since: AtomicUsize,
        steps: AtomicUsize,
        /// Steps up to the last row.
        steps_then: AtomicUsize,
    }

    impl Seen {
        fn row(&self, bytes: usize) {
            self.rows.fetch_add(1, SeqCst);
            let rows = self.rows_since.fetch_add(1, SeqCst);
            let since = self.bytes_since.fetch_add(bytes, SeqCst);
            assert!(rows <= STEP_ROWS && since < STEP_BYTES + TABLE_ROW_BYTES_MAX);
            self.steps_then.store(self.steps.load(SeqCst), SeqCst);
        }

        fn step(&self) {
            self.rows_since.store(0, SeqCst);
            self.bytes_since.store(0, SeqCst);
            self.steps.fetch_add(1, SeqCst);
        }

        fn steps_after_the_rows(&self) -> usize {
            self.steps.load(SeqCst) - self.steps_then.load(SeqCst)
        }
    }

    fn rows(count: usize, bytes: usize) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        (0..count).map(move |n| (format!("k{n:06}").into_bytes(), vec![7; bytes]))
    }

    const AT: LogPosition = LogPosition {
        term: 1,
        node: 1,
        index: 1,
    };

    #[test]
    fn a_snapshot_gets_on_while_it_is_written_synced_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(dir.path()).unwrap();
        let head = SnapshotHead {
            last: Some(AT),
            membership: Vec::new(),
        };
        for (count, bytes) in [(10 * STEP_ROWS, 10), (70, TABLE_ROW_BYTES_MAX)] {
            let seen = Seen::default();
            let rows = rows(count, bytes).inspect(|(_, row)| seen.row(row.len()));
            snapshots.write(&head, rows, &|| seen.step()).unwrap();
            assert_eq!(seen.rows.load(SeqCst), count);
            let pieces = (count / STEP_ROWS).max(count * bytes / STEP_BYTES);
            assert!(
                seen.steps_after_the_rows() >= pieces,
                "it is all read again once it is written"
            );
        }
    }

    #[test]
    fn a_table_gets_on_while_it_is_emptied_and_filled() {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::open(dir.path()).unwrap().table;
        for (count, bytes) in [(4 * STEP_ROWS, 10), (40, TABLE_ROW_BYTES_MAX)] {
            let seen = Seen::default();
            let rows = rows(count, bytes).inspect(|(_, row)| seen.row(row.len()));
            let replaced = table.replace(rows.map(Ok), AT, vec![], &|| seen.step());
            replaced.unwrap();
        }
        let seen = Seen::default();
        table.clear(&|| seen.step()).unwrap();
        let parts = 40 * TABLE_ROW_BYTES_MAX / crate::limits::TABLE_PART_BYTES_MAX;
        assert!(seen.steps.load(SeqCst) >= parts / STEP_ROWS);
    }
}
