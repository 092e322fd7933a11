//! A leader's heartbeats, and the pace of Raft's clock.
//!
//! openraft would send heartbeats in Raft's own time. They go out in the
//! machine's instead: when a leader finds its machine slow, those who follow
//! must not wait longer for the message that says so.

use std::sync::Arc;

use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    core::Core,
    limits::{ELECTION_MS_MAX, HEARTBEAT, HEARTBEAT_AT_REST, REST_AFTER},
    pace::{Delay, USUAL_PERCENT},
    raft_clock,
};

/// Sends heartbeats while this node leads, and keeps Raft's clock at the pace of
/// the machine, until Raft has stopped.
pub async fn beat(core: Arc<Core>) {
    let metrics = core.raft.metrics();
    let mut applied = core.replica.applied();
    let mut said_percent = USUAL_PERCENT;
    let mut busy = Instant::now();
    loop {
        let at_rest = !core.replica.state().is_busy();
        if !at_rest {
            busy = Instant::now();
        }
        if busy.elapsed() >= REST_AFTER {
            // A new job ends the rest.
            let _ = timeout(HEARTBEAT_AT_REST, applied.changed()).await;
        } else {
            sleep(HEARTBEAT).await;
        }
        let (leads, stopped, voters) = {
            let now = metrics.borrow_watched();
            let voters: Vec<u64> = now.membership_config.voter_ids().collect();
            let leads = now.state == ServerState::Leader;
            (leads, now.running_state.is_err(), voters)
        };
        if stopped || core.watchdog.fenced() {
            return;
        }
        if let Some(time) = core.peers.take_quorum_round_trip(&voters) {
            raft_clock::note(Delay::RoundTrip, time);
        }
        let percent = raft_clock::keep_pace(leads, at_rest);
        if is_news(said_percent, percent) {
            said_percent = percent;
            say(percent);
        }
        if leads && core.raft.trigger().heartbeat().await.is_err() {
            return;
        }
    }
}

/// The longest time without a word from the leader before another is sought.
pub fn election_timeout_ms(percent: u32) -> u64 {
    2 * ELECTION_MS_MAX * u64::from(percent) / u64::from(USUAL_PERCENT)
}

/// Whether a change is worth a line in the log.
fn is_news(said_percent: u32, percent: u32) -> bool {
    let (less, more) = (said_percent.min(percent), said_percent.max(percent));
    more >= 2 * less || (percent == USUAL_PERCENT && said_percent != USUAL_PERCENT)
}

fn say(percent: u32) {
    let election_timeout_ms = election_timeout_ms(percent);
    match percent {
        USUAL_PERCENT => tracing::info!(
            election_timeout_ms,
            "machine and network are quick again: a lost leader is replaced as soon as usual"
        ),
        _ => tracing::info!(
            election_timeout_ms,
            "heartbeats or syncs take long here: a silent leader is given more time"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doublings_and_the_return_to_the_usual_are_news() {
        assert!(!is_news(USUAL_PERCENT, 150));
        assert!(is_news(USUAL_PERCENT, 250));
        assert!(!is_news(250, 300));
        assert!(is_news(250, 110));
        assert!(is_news(250, USUAL_PERCENT));
        assert!(is_news(110, USUAL_PERCENT));
        assert!(!is_news(USUAL_PERCENT, USUAL_PERCENT));
    }
}
