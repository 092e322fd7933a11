//! What a node tells the service manager that started it, if one did: that it
//! serves, that it lives, and that it ends. The words are those of `sd_notify(3)`.

use std::time::Duration;

use sd_notify::NotifyState;

/// Signs of life in the time that systemd gives a node for one, as its manual
/// advises.
const SIGNS_IN_TIME: u32 = 2;

/// Says that the node is ready, and from then on that it lives, if that is asked for
/// (`WatchdogSec=`). A runtime whose threads all hang says nothing more, and the node is
/// started again.
pub async fn serves() {
    tell(NotifyState::Ready);
    let Some(time) = sd_notify::watchdog_enabled() else {
        return;
    };
    // A time of nothing would be a loop without a pause.
    let every = (time / SIGNS_IN_TIME).max(Duration::from_millis(1));
    loop {
        tell(NotifyState::Watchdog);
        tokio::time::sleep(every).await;
    }
}

/// Says that the node ends because it was told to.
pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager can't be told how this node is");
    }
}
