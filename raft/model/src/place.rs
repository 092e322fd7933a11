//! A job's place among those of its tenant.

use std::cmp::Reverse;

use crate::rows::Job;

/// A job's place in its tenant's line: by priority, then by deadline, then by age.
pub(crate) type Place = (Reverse<i32>, u64, u64);

impl Job {
    /// Its place in its tenant's line: the least is next.
    pub(crate) fn place(&self) -> Place {
        // Its deadline was that of the output.
        let deadline = match self.deadline_unix_ms {
            0 => u64::MAX,
            _ if self.is_measuring() => u64::MAX,
            deadline => deadline,
        };
        (Reverse(self.priority), deadline, self.in_line_since())
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
