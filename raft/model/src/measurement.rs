//! What a finished job's row says of how its output compares with its source.

use prost::Message;

use crate::{
    limits::{MEASURE_READ_BYTES_MAX, MEASURE_TASKS_MAX},
    problem::Problem,
};

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
    /// How many tasks it is, see [`Measurement::tasks_for`].
    #[prost(uint32, tag = "6")]
    pub tasks: u32,
}

impl Measurement {
    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        self.parts.is_empty() && self.problem.is_none()
    }

    /// How many tasks the comparison of so many shards in so large an output is to be:
    /// one for each of two homes, at least.
    pub fn tasks_for(shards: u32, output_bytes: u64) -> u32 {
        let reads = MEASURE_READ_BYTES_MAX / output_bytes.max(1);
        let tasks = reads.clamp(2, MEASURE_TASKS_MAX.into()) as u32;
        shards.min(tasks)
    }

    /// The shards that a task compares: all have as many, give or take one.
    pub fn shards_of(&self, task: u32) -> std::ops::Range<u32> {
        let tasks = u64::from(self.tasks.max(1));
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
            for output_bytes in [0, 1_000, 20 << 30, 1 << 40] {
                let tasks = Measurement::tasks_for(shards, output_bytes);
                let measurement = Measurement {
                    shards,
                    tasks,
                    ..Default::default()
                };
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

    #[test]
    fn a_large_output_is_read_less_often() {
        let tasks = |output_bytes| Measurement::tasks_for(1_000, output_bytes);
        let outputs = [0, 4 << 30, 20 << 30, 1 << 40];
        assert_eq!(outputs.map(tasks), [32, 32, 6, 2]);
    }
}
