//! A token that stops running children at once. Clones share one state; once
//! cancelled, it stays cancelled.

use tokio::sync::watch;

/// Cancels a step.
#[derive(Clone, Debug)]
pub struct Cancel {
    sender: std::sync::Arc<watch::Sender<bool>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Cancel {
            sender: std::sync::Arc::new(watch::Sender::new(false)),
        }
    }

    /// Kills what runs under this token, and refuses what would start.
    pub fn cancel(&self) {
        self.sender.send_replace(true);
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until cancelled.
    pub async fn cancelled(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so waiting can't end any other way.
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }
}
