//! The plan of a film as data: its frames' times, its keyframes, and its
//! shards.
//!
//! Not here: how cuts are chosen; see `analysis/planner.rs`.

pub use reelraft_model::ShardRange;

/// A keyframe that decoding can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keyframe {
    pub pts: i64,
    /// Frames after it need nothing from before it, and none of them is shown
    /// before it.
    pub clean: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Times of all shown frames, in ascending order.
    pub times: Vec<i64>,
    /// In ascending order.
    pub keys: Vec<Keyframe>,
    /// Adjacent ranges; at least one if there is video.
    pub shards: Vec<ShardRange>,
    /// Why it is a single shard, if something forbids more.
    pub note: Option<String>,
}

impl Plan {
    /// The plan of an audio-only job.
    pub fn empty() -> Plan {
        Plan {
            times: Vec::new(),
            keys: Vec::new(),
            shards: Vec::new(),
            note: None,
        }
    }
}

/// The plan of a source that can't be cut, or is too short.
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

/// Merges adjacent ranges.
pub(crate) fn joined(pair: &[ShardRange]) -> ShardRange {
    ShardRange {
        from_pts: pair[0].from_pts,
        to_pts: pair[pair.len() - 1].to_pts,
        frames: pair.iter().map(|range| range.frames).sum(),
    }
}
