//! A home's duties, which are a query over the table: fill what it lacks, fetch
//! sources behind URLs, join films ahead, write down the tasks of what is finished, sweep what belongs to no job of its
//! own any more, and scrub what it keeps.
//! A missed wake-up costs latency and never correctness.

mod fetch;
mod fetch_turns;
mod fill;
mod fill_queue;
mod history;
mod join;
mod scrub;
mod sweep;

use std::sync::Arc;

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::info;

use self::fill::Filler;
use super::context::NodeContext;
use crate::limits::DUTY_TICK;

/// Does the duties until `stop` is set. None waits for another: a fill or a
/// removal may take many minutes.
pub async fn run(context: Arc<NodeContext>, stop: watch::Receiver<bool>) {
    context
        .work_threads
        .spawn(scrub::run(context.clone(), stop.clone()));
    let sweeping = tokio::spawn(sweep::run(context.clone(), stop.clone()));
    let histories = tokio::spawn(history::run(context.clone(), stop.clone()));
    // It reads and writes as attempts do.
    let joining = context
        .work_threads
        .spawn(join::run(context.clone(), stop.clone()));
    let fetching = tokio::spawn(fetch::run(context.clone(), stop.clone()));
    fill_until(&context, stop).await;
    // They may be in the middle of a removal or of a write, which goes on by
    // itself.
    sweeping.abort();
    histories.abort();
    fetching.abort();
    joining.abort();
}

async fn fill_until(context: &Arc<NodeContext>, mut stop: watch::Receiver<bool>) {
    let mut filler = Filler::default();
    let mut caught_up = false;
    let mut ticks = interval(DUTY_TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ticked = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = filler.go_on(context) => false,
            _ = ticks.tick() => true,
        };
        if !ticked {
            continue;
        }
        // What a node remembers of before it was away is no ground to call
        // itself whole: the table is asked of the leader first.
        let current = !caught_up && context.cluster.read().await.is_ok();
        if filler.look(context, current) && !caught_up {
            caught_up = true;
            info!("caught up: all that this home should hold is here");
        }
    }
}
