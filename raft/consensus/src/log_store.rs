//! openraft's log store over ours. An entry or a vote counts as stored once it
//! is on the disk. A failed sync reaches openraft as an error and stops it for
//! good.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use reelraft_storage::Log;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    limits::APPEND_BYTES_MAX,
    pace::Delay,
    raft_clock,
    types::{Entry, LogId, TypeConfig, Vote},
    watchdog::{Operation, Watchdog},
    wire::{entry_from_disk, entry_to_disk, log_id, position, vote_from_disk, vote_to_disk},
};

/// The log of this node. Clones share it.
#[derive(Clone, Debug)]
pub struct LogStore {
    log: Log,
    watchdog: Watchdog,
}

impl LogStore {
    pub fn new(log: Log, watchdog: Watchdog) -> Self {
        LogStore { log, watchdog }
    }

    fn read(&self, from: u64, to: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let _mark = self.watchdog.begin(Operation::LogRead);
        let records = self
            .log
            .read(from, to, bytes_max)
            .map_err(io::Error::other)?;
        records
            .into_iter()
            .map(|record| entry_from_disk(record).map_err(io::Error::other))
            .collect()
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, u64::MAX)
    }

    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        self.read(from, to, APPEND_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.log.vote().map(vote_from_disk))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let bounds = self.log.bounds();
        Ok(LogState {
            last_purged_log_id: bounds.purged.map(log_id),
            last_log_id: bounds.last.map(log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let mark = self.watchdog.begin(Operation::LogWrite);
        let begun = Instant::now();
        let done = move |result| {
            drop(mark);
            raft_clock::note(Delay::LogSync, begun.elapsed());
            // Nobody waits if openraft has stopped meanwhile.
            let _ = sender.send(result);
        };
        self.log
            .save_vote(vote_to_disk(vote), done)
            .map_err(io::Error::other)?;
        receiver.await.map_err(io::Error::other)?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        match committed {
            Some(committed) => {
                let _mark = self.watchdog.begin(Operation::LogWrite);
                self.log
                    .save_committed(position(&committed))
                    .map_err(io::Error::other)
            }
            None => Ok(()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.committed().map(log_id))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records = entries.into_iter().map(|entry| entry_to_disk(&entry));
        let mark = self.watchdog.begin(Operation::LogWrite);
        let begun = Instant::now();
        let done = move |result| {
            drop(mark);
            raft_clock::note(Delay::LogSync, begun.elapsed());
            flushed.io_completed(result);
        };
        self.log.append(records, done).map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let _mark = self.watchdog.begin(Operation::LogWrite);
        self.log
            .truncate_after(last.as_ref().map(position))
            .map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let _mark = self.watchdog.begin(Operation::LogWrite);
        self.log.purge(position(&upto)).map_err(io::Error::other)
    }
}
