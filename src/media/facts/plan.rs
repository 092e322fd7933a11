//! The plan of a film as data: its frames' times, its keyframes, and the shards
//! it is cut into.
//!
//! Not here: how cuts are chosen, which is in `analysis/planner.rs`.

use serde::{Deserialize, Serialize};

/// The frames with `from_pts <= pts < to_pts`, in ticks of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRange {
    /// First frame's time.
    pub from_pts: i64,
    /// First time after the range.
    pub to_pts: i64,
    /// Frames of the output that packets promise.
    pub frames: u64,
}

/// A keyframe that decoding can be started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyframe {
    /// Its time in ticks of the source.
    pub pts: i64,
    /// Nothing from before it is needed, and nothing after it is shown before
    /// it.
    pub clean: bool,
}

/// The whole plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Shown times, rising.
    pub times: Vec<i64>,
    /// Keyframes, rising.
    pub keys: Vec<Keyframe>,
    /// At least one where there is video; they abut.
    pub shards: Vec<ShardRange>,
    /// Why it is one shard, if something forbids more.
    pub note: Option<String>,
}

impl Plan {
    /// The plan of a job of sound alone.
    pub fn empty() -> Plan {
        Plan {
            times: Vec::new(),
            keys: Vec::new(),
            shards: Vec::new(),
            note: None,
        }
    }
}

/// The plan of a source that can't be cut, or need not be.
pub(crate) fn one_shard(
    times: Vec<i64>,
    keys: Vec<Keyframe>,
    frames: usize,
    note: Option<String>,
) -> Plan {
    let from_pts = times.first().copied().unwrap_or(0);
    let to_pts = times.last().map_or(1, |last| last.saturating_add(1));
    Plan {
        times,
        keys,
        shards: vec![ShardRange {
            from_pts,
            to_pts,
            frames: frames as u64,
        }],
        note,
    }
}

/// One range of some that abut.
pub(crate) fn joined(pair: &[ShardRange]) -> ShardRange {
    ShardRange {
        from_pts: pair[0].from_pts,
        to_pts: pair[pair.len() - 1].to_pts,
        frames: pair.iter().map(|range| range.frames).sum(),
    }
}
