//! What a finished job's row says of how its output compares with its source.

use prost::Message;

use crate::{limits::MEASURE_TASKS_MAX, problem::Problem};

/// What is known of such a comparison. Kept in the row of its job.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Measurement {
    /// Made from the log index of the request: later ones stand further back in line.
    #[prost(uint64, tag = "1")]
    pub begun_index: u64,
    /// Shards of the output.
    #[prost(uint32, tag = "2")]
    pub shards: u32,
    /// The blobs with what was found, in the order of the film, once all is.
    #[prost(string, repeated, tag = "3")]
    pub parts: Vec<String>,
    /// Why it came to nothing.
    #[prost(message, optional, tag = "4")]
    pub problem: Option<Problem>,
    /// Cluster time at which it was last known to make progress.
    #[prost(uint64, tag = "5")]
    pub touched_cluster_ms: u64,
}

impl Measurement {
    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.parts.is_empty() && self.problem.is_none()
    }

    /// How many tasks it is.
    pub fn tasks(&self) -> u32 {
        self.shards.min(MEASURE_TASKS_MAX)
    }

    /// The shards that a task compares: all have as many, give or take one.
    pub fn shards_of(&self, task: u32) -> std::ops::Range<u32> {
        let tasks = u64::from(self.tasks().max(1));
        let first = |task: u32| (u64::from(task) * u64::from(self.shards) / tasks) as u32;
        first(task)..first(task.saturating_add(1)).min(self.shards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_is_one_tasks() {
        for shards in [1, 2, 31, 32, 33, 1_000, 1_048_576] {
            let measurement = Measurement {
                shards,
                ..Default::default()
            };
            let tasks = measurement.tasks();
            let ranges = (0..tasks).map(|task| measurement.shards_of(task));
            let end = ranges.fold(0, |end, range| {
                assert!(
                    range.start == end && !range.is_empty(),
                    "{shards}: {range:?}"
                );
                range.end
            });
            assert_eq!(end, shards);
        }
    }
}
