//! A small token that ends running children at once. Clones share one state;
//! once cancelled it stays so.

use tokio::sync::watch;

/// Tells media work to stop.
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
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Cancel {
            sender: std::sync::Arc::new(watch::Sender::new(false)),
        }
    }

    /// Ends what runs under this token, and refuses what would start.
    pub fn cancel(&self) {
        self.sender.send_replace(true);
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns once cancelled.
    pub async fn cancelled(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so waiting can't end any other way.
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }
}
