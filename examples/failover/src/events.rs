//! What a node can log that matters here, and what follows from it: attempts
//! at tasks, and kills.

/// One thing that a node logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at_us: u64,
    pub node: u64,
    pub kind: EventKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The process takes part again.
    Ready,
    /// It has fetched everything that it should hold since it was started.
    CaughtUp,
    BecameLeader {
        term: u64,
    },
    LostLeadership,
    /// This leader accepted a worker's hello.
    SessionOpened {
        with: u64,
    },
    /// This leader gave an attempt to a node.
    Assigned {
        key: AttemptKey,
        to: u64,
    },
    Started {
        key: AttemptKey,
    },
    Finished {
        key: AttemptKey,
    },
    Failed {
        key: AttemptKey,
        problem: String,
    },
    /// The table took the attempt away from a living node.
    Stopped {
        key: AttemptKey,
    },
}

/// `job/kind/number#attempt`, as the log shows an attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptKey {
    pub job: String,
    pub kind: String,
    pub number: u32,
    pub attempt: u32,
}

impl AttemptKey {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (path, attempt) = text.split_once('#')?;
        let mut parts = path.split('/');
        Some(AttemptKey {
            job: parts.next()?.to_string(),
            kind: parts.next()?.to_string(),
            number: parts.next()?.parse().ok()?,
            attempt: attempt.parse().ok()?,
        })
    }

    /// The task, without the attempt.
    pub fn task(&self) -> (&str, &str, u32) {
        (&self.job, &self.kind, self.number)
    }
}

/// One attempt of a node at a task, from its start to whatever ended it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub key: AttemptKey,
    pub node: u64,
    pub from_us: u64,
    pub to_us: u64,
    pub end: AttemptEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    Finished,
    Failed(String),
    Stopped,
    /// Its node was killed.
    Killed,
    /// The log ends before it.
    Open,
}

/// The end of a node's process.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub at_us: u64,
    pub node: u64,
}

/// A time in which the others could not hear a node. For a kill it has no
/// length: what matters is that it fell between two attempts.
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    pub node: u64,
    pub from_us: u64,
    pub to_us: u64,
}

impl From<Kill> for Absence {
    fn from(kill: Kill) -> Self {
        Absence {
            node: kill.node,
            from_us: kill.at_us,
            to_us: kill.at_us,
        }
    }
}

/// A time in which a node's clock was wrong on purpose.
#[derive(Clone, Copy, Debug)]
pub struct ClockSkew {
    pub node: u64,
    pub from_us: u64,
    pub to_us: u64,
    pub ahead_us: i64,
}
