//! Looks for rot in all that this node keeps, round after round.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use tracing::{debug, warn};

use crate::{limits::SCRUB_FIRST, node::context::NodeContext};

/// Reads all that this node keeps once in every round, and whenever somebody asks for
/// it, on the threads that may wait for a disk. The filler sees the count of damaged blobs grow, and copies
/// them from another home.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let round = Duration::from_secs(context.config.scrub_every_s);
    let mut pause = SCRUB_FIRST.min(round);
    let mut asked = context.data.upkeep().scrubs_asked();
    loop {
        let soon = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(pause) => false,
            Ok(()) = asked.changed() => true,
        };
        let begun = Instant::now();
        match context.data.scrub(round, soon, stop.clone()).await {
            Ok(scrubbed) if scrubbed.damaged + scrubbed.unread > 0 => {
                warn!(?scrubbed, "the scrub found damage");
            }
            Ok(scrubbed) => debug!(?scrubbed, "the scrub found all whole"),
            Err(error) => warn!(%error, "the scrub could not be done"),
        }
        pause = round.saturating_sub(begun.elapsed());
    }
}
