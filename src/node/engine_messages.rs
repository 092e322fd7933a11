//! What members tell the leader of the engines that are connected to them, and what
//! it tells all of them.

use std::collections::BTreeMap;

use reelraft_model::AttemptKey;

/// Attempts that an engine runs, with the frames encoded so far.
type Progress = BTreeMap<AttemptKey, u64>;

/// An engine as its member sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineBeat {
    pub id: u64,
    pub build: String,
    /// The versions behind it, for people.
    pub build_words: String,
    pub version: String,
    pub slots: u32,
    /// What its encoders may take together, in MiB; 0 where that is not known.
    pub memory_mib: u64,
    /// Why it takes no work; empty if it does.
    pub trouble: String,
    pub lacks: Vec<String>,
    /// As those of a node.
    pub speeds: BTreeMap<String, u64>,
    pub labels: BTreeMap<String, String>,
    pub running: Progress,
}

/// What is new of a member's engines since it last said it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineNews {
    pub changed: Vec<EngineBeat>,
    /// Those that it has not heard for too long.
    pub gone: Vec<u64>,
}

impl EngineNews {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

/// An engine as people see it. What the table has of it is not here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStatus {
    pub id: u64,
    /// The member that it is connected to.
    pub member: u64,
    pub build: String,
    pub build_words: String,
    pub version: String,
    pub slots: u32,
    pub slots_busy: u32,
    pub trouble: String,
    pub labels: BTreeMap<String, String>,
}
