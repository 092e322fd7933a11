//! Trying again: pauses that grow, and a time at which it is enough.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    error::DataError,
    limits::{RETRY_MAX, RETRY_MIN},
};

/// One stretch of time in which something does not work.
pub(super) struct RetryBudget {
    until: Instant,
    pause: Duration,
}

impl RetryBudget {
    /// Tries for so long from now on.
    pub fn new(outage: Duration) -> Self {
        RetryBudget {
            until: Instant::now() + outage,
            pause: RETRY_MIN,
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The given error, if trying again is useless or has lasted too long.
    pub async fn wait(&mut self, error: DataError) -> Result<(), DataError> {
        if !error.is_passing() || Instant::now() + self.pause > self.until {
            return Err(error);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY_MAX);
        Ok(())
    }
}
