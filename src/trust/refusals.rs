//! Refusals in the log, each once in a while: whoever is refused tries again.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::limits::{REFUSAL_LOGGED_EVERY, REFUSALS_KEPT_MAX};

tokio::task_local! {
    /// Where the connection comes from whose handshake this is.
    pub static FROM: SocketAddr;
}

/// When each was logged last.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<String, Instant>>);

impl Refusals {
    /// Whether a refusal is to be logged now.
    fn is_due(&self, cause: &str, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.retain(|_, at| now.saturating_duration_since(*at) < REFUSAL_LOGGED_EVERY);
        if logged.contains_key(cause) || logged.len() >= REFUSALS_KEPT_MAX {
            return false;
        }
        logged.insert(cause.to_string(), now);
        true
    }

    /// Of somebody who came to this node.
    pub fn log(&self, cause: &str) {
        let from = FROM.try_with(SocketAddr::ip).ok();
        let key = format!("{from:?} {cause}");
        if self.is_due(&key, Instant::now()) {
            match from {
                Some(from) => tracing::warn!(%from, "refused: {cause}"),
                None => tracing::warn!("refused: {cause}"),
            }
        }
    }

    /// Of a node that this one came to.
    pub fn log_server(&self, cause: &str) {
        if self.is_due(cause, Instant::now()) {
            tracing::warn!("not connected: {cause}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_logged_once_in_a_while_and_never_too_much_is_kept() {
        let refusals = Refusals::default();
        let now = Instant::now();
        assert!(refusals.is_due("a", now) && !refusals.is_due("a", now));
        assert!(refusals.is_due("b", now));
        assert!(refusals.is_due("a", now + REFUSAL_LOGGED_EVERY));
        for number in 0..2 * REFUSALS_KEPT_MAX {
            refusals.is_due(&number.to_string(), now);
        }
        assert!(
            refusals
                .0
                .lock()
                .is_ok_and(|kept| kept.len() <= REFUSALS_KEPT_MAX)
        );
    }
}
