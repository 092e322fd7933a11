//! A job's homes as they change: who is filled, who retires, who is let go.

use crate::{
    command::SetHomes,
    rows::{Home, Job, JobState},
};

/// The homes that a command gives to a job.
pub(super) fn new_homes(job: &Job, c: &SetHomes) -> Vec<Home> {
    let first = job.epoch == 0;
    let uploading = job.state() == JobState::Uploading;
    let unfinished = !job.state().ended();
    let before = |node: u64| job.homes.iter().find(|home| home.node == node);
    let current = c.homes.iter().map(|&node| {
        let home = before(node);
        let back = home.is_some_and(|home| home.retiring);
        // One that comes back lacks the chunks that came while it was away.
        let filled = home.map_or(first, |home| home.filled && !(back && uploading));
        Home {
            node,
            filled,
            retiring: false,
            // It may lack what was made meanwhile, too. Of a finished job
            // nothing is.
            returned: unfinished && filled && (back || home.is_some_and(|home| home.returned)),
        }
    });
    // Judged by what is true now: one that was unfilled when the change was
    // planned may be the only living home with a full copy. While the job is
    // unfinished, an unfilled one may hold what was made since it came.
    let retiring = c.retiring.iter().filter(|node| !c.homes.contains(node));
    let retiring = retiring.filter_map(|&node| before(node));
    let retiring = retiring
        .filter(|home| home.filled || unfinished)
        .map(|home| Home {
            retiring: true,
            // A home that had not caught up again holds what it held before.
            returned: false,
            ..*home
        });
    current.chain(retiring).collect()
}

/// Lets the former homes go once all homes of the epoch are filled.
pub(super) fn release_retired(job: &mut Job) {
    if !job.is_filling() {
        job.homes.retain(|home| !home.retiring);
    }
}

/// Every home of the epoch has all bytes of the job.
pub(super) fn all_filled(job: &mut Job) {
    for home in &mut job.homes {
        home.filled = true;
        home.returned = false;
    }
    release_retired(job);
}
