//! A job's place among those of its tenant.

use std::cmp::Reverse;

use crate::rows::Job;

/// A job's place in its tenant's line: by priority, then by deadline, then by age.
pub(crate) type Place = (Reverse<i32>, u64, u64);

impl Job {
    /// Its place in its tenant's line: the least is next.
    pub(crate) fn place(&self) -> Place {
        let deadline = match self.deadline_unix_ms {
            0 => u64::MAX,
            deadline => deadline,
        };
        (Reverse(self.priority), deadline, self.created_index)
    }
}
