//! A home's duties, which are a query over the table: fill what it lacks,
//! sweep what belongs to no job of its own any more, and scrub what it keeps.
//! A missed wake-up costs latency and never correctness.

mod fill;
mod scrub;
mod sweep;

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tracing::info;

use self::{fill::Filler, sweep::Sweep};
use super::context::NodeContext;
use crate::limits::{DUTY_TICK, SWEEP_EVERY};

/// Does the duties until `stop` is set.
pub async fn run(context: Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    context
        .work_threads
        .spawn(scrub::run(context.clone(), stop.clone()));
    let mut filler = Filler::default();
    let mut sweep = Sweep::default();
    let mut swept = Instant::now();
    let mut caught_up = false;
    loop {
        // What a node remembers of before it was away is no ground to call
        // itself whole: the table is asked of the leader first.
        let current = !caught_up && context.cluster.read().await.is_ok();
        let whole = filler.run(&context).await;
        if current && whole {
            caught_up = true;
            info!("caught up: all that this home should hold is here");
        }
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            sweep.run(&context).await;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(DUTY_TICK) => {}
        }
    }
}
