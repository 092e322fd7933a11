//! Comparing a finished job's output with its source, after the fact. Its homes keep
//! the source for a while; where somebody asks, they do it in parts, as tasks of the
//! job, and the row keeps the blobs with what was found.

use prost::Message;

use crate::{
    measurement::Measurement,
    rows::{Job, JobState, Problem, TaskKind},
};

/// The kind of problem that a comparison without a source ends with.
pub const SOURCE_GONE: &str = "source-gone";

/// Has the output of a finished job compared with its source.
#[derive(Clone, PartialEq, Message)]
pub struct MeasureJob {
    #[prost(string, tag = "1")]
    pub job: String,
    /// How many shards its proof has.
    #[prost(uint32, tag = "2")]
    pub shards: u32,
    /// The comparison that the proposer knew of, by [`Measurement::begun_index`]; 0 for
    /// none.
    #[prost(uint64, tag = "3")]
    pub seen_index: u64,
}

/// Ends such a comparison that can't be made.
#[derive(Clone, PartialEq, Message)]
pub struct EndMeasure {
    #[prost(string, tag = "1")]
    pub job: String,
    /// Which one, see [`Measurement::begun_index`].
    #[prost(uint64, tag = "2")]
    pub begun_index: u64,
    #[prost(message, required, tag = "3")]
    pub problem: Problem,
    /// A blob with what was found that no home has any more. It ends also one that had
    /// come to its end: nothing else of the job is to wait for it.
    #[prost(string, tag = "4")]
    pub lost: String,
}

impl EndMeasure {
    /// Ends a job's comparison by what is wrong with it.
    pub(crate) fn of(job: &Job, measurement: &Measurement, problem: Problem) -> Self {
        EndMeasure {
            job: job.id.clone(),
            begun_index: measurement.begun_index,
            problem,
            lost: String::new(),
        }
    }
}

/// What is said where the source of a finished job is needed, and is gone.
pub fn source_gone(cause: &str) -> Problem {
    let hint = "submit with --measure, or with --hold-source to decide later";
    Problem::new(SOURCE_GONE, cause, hint)
}

impl Job {
    /// Whether its output is being compared with its source, after it has succeeded.
    pub fn is_measuring(&self) -> bool {
        let open = self.measurement.as_ref().is_some_and(Measurement::is_open);
        open && self.state() == JobState::Succeeded
    }

    /// Whether tasks of a kind may run: of a job that has ended only those that measure.
    pub fn runs(&self, kind: TaskKind) -> bool {
        match kind {
            TaskKind::Measure => self.is_measuring(),
            _ => !self.state().ended(),
        }
    }

    /// Whether homes keep its source though it has an output, because its owner asked
    /// for that. They give it to no node that takes a lost one's place.
    pub fn holds_source(&self) -> bool {
        !self.source_at.is_empty() && self.state() == JobState::Succeeded
    }

    /// Cluster time since which its source is held: since its tasks are put by, and
    /// before that since it has succeeded.
    pub(crate) fn held_since_ms(&self) -> u64 {
        match self.summary {
            Some(_) => self.folded_cluster_ms,
            None => self.touched_cluster_ms,
        }
    }

    /// Whether it is compared, and this home has both films.
    pub(crate) fn compares_at(&self, node: u64) -> bool {
        let home = self.current_homes().any(|home| home.node == node);
        home && self.is_measuring() && self.source_at.contains(&node)
    }

    /// Why there is nothing to compare, if there is no output.
    pub fn lacks_output(&self) -> Option<Problem> {
        let id = &self.id;
        let ended = match self.state() {
            JobState::Succeeded => return None,
            JobState::Failed => "failed",
            JobState::Cancelled => "was cancelled",
            state => {
                let cause = format!("job {id} is {}", state.name());
                let hint = "wait for it with `reelraft job wait`";
                return Some(Problem::new("not-finished", cause, hint));
            }
        };
        let cause = format!("job {id} has no output: it {ended}");
        Some(Problem::new("no-output", cause, "see `reelraft job show`"))
    }

    /// Has no home hold its source any more that is no home any more.
    pub(crate) fn forget_former_sources(&mut self) {
        let homes = &self.homes;
        let is_home = |node: &u64| homes.iter().any(|home| home.node == *node);
        self.source_at.retain(is_home);
    }

    /// The blobs with what was found of its output, after the fact.
    pub(crate) fn measured_blobs(&self) -> impl Iterator<Item = &String> {
        let measurement = self.measurement.iter();
        measurement.flat_map(|measurement| &measurement.parts)
    }
}
