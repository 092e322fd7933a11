//! One node: its disk, its replica, and what its process remembers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reelraft_model::{AttemptKey, Complete, FailureClass, JobEntry, ShardRange};

/// A proposal may be written so long after it was made.
const JUST_NOW_MS: u64 = 10_000;

/// More than any job asks for.
pub const AMPLE_ROOM_BYTES: u64 = 1 << 40;

/// A job's folder. Chunks are bits, as there are many of them.
#[derive(Clone, Default)]
pub struct Folder {
    pub chunks: u64,
    /// Chunks that the journal names.
    pub journal: u64,
    pub blobs: BTreeSet<String>,
}

/// What an attempt came to.
#[derive(Clone)]
pub enum Outcome {
    Done(Box<Complete>, Vec<ShardRange>),
    Failed(FailureClass, String, Vec<AttemptKey>),
}

/// An attempt that runs.
#[derive(Clone)]
pub struct Attempt {
    /// The table says nothing of the attempt before it is applied this far.
    pub log_index: u64,
    pub age_ms: u64,
    /// The job when the attempt began.
    pub entry: Option<Arc<JobEntry>>,
    pub work_left_ms: u64,
    /// How long its inputs or homes have been out of reach.
    pub outage_ms: u64,
    /// Homes that have taken its result.
    pub stored: BTreeSet<u64>,
    pub made: Option<Complete>,
    /// Of an analysis before the seal: shards that it has planned, and whether
    /// the sealed source will have others.
    pub planned: u32,
    pub wrong: bool,
    /// How long its engine has not been heard, if it is one's.
    pub silent_ms: u64,
}

/// A copying of an unsealed source to this home.
pub struct FillRun {
    pub epoch: u64,
    pub missing: u64,
}

/// What ends with the process.
#[derive(Default)]
pub struct Memory {
    pub running: BTreeMap<AttemptKey, Attempt>,
    pub finished: BTreeMap<AttemptKey, Outcome>,
    /// Of attempts that are engines': whose.
    pub runners: BTreeMap<AttemptKey, u64>,
    /// When each result was last sent, and first found late.
    pub sent_ms: BTreeMap<AttemptKey, u64>,
    /// Whose session this process has opened: the leader's term.
    pub session: Option<u64>,
    pub fills: BTreeMap<String, FillRun>,
    /// Folders without a claim, and since when.
    pub unwanted: BTreeMap<String, u64>,
    /// Of unfinished jobs: blobs of a former plan, and since when.
    pub given_up: BTreeMap<String, BTreeMap<String, u64>>,
    /// Of finished jobs: blobs that were of no use when a sweep looked, and when they go.
    pub going: BTreeMap<String, (u64, BTreeSet<String>)>,
}

pub struct Node {
    pub id: u64,
    pub voter: bool,
    pub disk: BTreeMap<String, Folder>,
    /// Its disk is gone for good; so it never comes back.
    pub lost: bool,
    /// It is switched off until then.
    pub down_until_ms: u64,
    /// Its network is cut until then.
    pub cut_until_ms: u64,
    /// Its replica stands still until then.
    pub lag_until_ms: u64,
    pub full_until_ms: u64,
    /// What it says to have room for.
    pub room_bytes: u64,
    /// When it was last in reach.
    pub seen_ms: u64,
    /// When it last came back, and how long it had been away.
    pub returned_ms: u64,
    pub absence_ms: u64,
    /// Blobs that it copies with each look at its duties.
    pub copies_a_look: u64,
    /// It copies only now and then.
    pub slow: bool,
    pub slots: u32,
    pub build: String,
    /// Whether no leader has heard yet of its build.
    pub new_build: bool,
    /// Raised with each start.
    pub process: u64,
    pub applied: u64,
    pub memory: Memory,
}

impl Node {
    pub fn new(id: u64, voter: bool) -> Self {
        Node {
            id,
            voter,
            disk: BTreeMap::new(),
            lost: false,
            down_until_ms: 0,
            cut_until_ms: 0,
            lag_until_ms: 0,
            full_until_ms: 0,
            room_bytes: AMPLE_ROOM_BYTES,
            seen_ms: 0,
            returned_ms: 0,
            absence_ms: 0,
            copies_a_look: 2,
            slow: false,
            slots: 2,
            build: "b".into(),
            new_build: false,
            process: 1,
            applied: 0,
            memory: Memory::default(),
        }
    }

    pub fn up(&self, now_ms: u64) -> bool {
        !self.lost && self.down_until_ms <= now_ms
    }

    /// Whether others can speak to it.
    pub fn in_reach(&self, now_ms: u64) -> bool {
        self.up(now_ms) && self.cut_until_ms <= now_ms
    }

    /// How long it is out of reach, or was until a moment ago.
    pub fn absent_ms(&self, now_ms: u64) -> u64 {
        match self.in_reach(now_ms) {
            false => now_ms - self.seen_ms,
            true if now_ms - self.returned_ms < JUST_NOW_MS => self.absence_ms,
            true => 0,
        }
    }

    pub fn full(&self, now_ms: u64) -> bool {
        self.full_until_ms > now_ms
    }

    pub fn folder(&mut self, job: &str) -> &mut Folder {
        self.disk.entry(job.to_string()).or_default()
    }

    pub fn has_blob(&self, job: &str, blob: &str) -> bool {
        let folder = self.disk.get(job);
        folder.is_some_and(|folder| folder.blobs.contains(blob))
    }

    pub fn chunks(&self, job: &str) -> u64 {
        self.disk.get(job).map_or(0, |folder| folder.chunks)
    }
}

impl Attempt {
    /// One that is to begin.
    pub fn new(log_index: u64, work_left_ms: u64) -> Self {
        Attempt {
            log_index,
            age_ms: 0,
            entry: None,
            work_left_ms,
            outage_ms: 0,
            stored: BTreeSet::new(),
            made: None,
            planned: 0,
            wrong: false,
            silent_ms: 0,
        }
    }

    /// Whether an assembly takes the output of an equal job.
    pub fn takes_output(&self) -> bool {
        let entry = self.entry.as_ref();
        entry.is_some_and(|entry| entry.job.reuse.is_some())
    }

    /// The index that an assembly has read, and keeps beside its output.
    pub fn index(&self) -> String {
        let entry = self.entry.as_ref();
        entry.map_or_else(String::new, |entry| match &entry.job.reuse {
            Some(reuse) => reuse.index_hash.clone(),
            None => entry.job.index_hash.clone(),
        })
    }
}
