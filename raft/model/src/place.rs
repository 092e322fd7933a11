//! A job's place among those of its tenant. A film that is made comes before every
//! comparison of one that was: somebody waits for it.

use std::cmp::Reverse;

use crate::rows::Job;

/// A job's place in its tenant's line: whether it is compared alone, then by priority,
/// then by deadline, then by age.
pub(crate) type Place = (bool, Reverse<i32>, u64, u64);

impl Job {
    /// Its place in its tenant's line: the least is next.
    pub(crate) fn place(&self) -> Place {
        // Its priority and its deadline were those of the output.
        if self.is_measuring() {
            return (true, Reverse(0), u64::MAX, self.in_line_since());
        }
        let deadline = match self.deadline_unix_ms {
            0 => u64::MAX,
            deadline => deadline,
        };
        let priority = Reverse(self.priority);
        (false, priority, deadline, self.in_line_since())
    }

    /// The log index since which it stands in line: a comparison of its output came later
    /// than the job.
    pub(crate) fn in_line_since(&self) -> u64 {
        match &self.measurement {
            Some(measurement) if self.is_measuring() => measurement.begun_index,
            _ => self.created_index,
        }
    }
}
