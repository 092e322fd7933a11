//! A job's homes as they change: who is filled, who retires, who is let go.

use crate::{
    command::SetHomes,
    rows::{Home, Job, JobState},
};

/// The homes that a command gives to a job.
pub(super) fn new_homes(job: &Job, c: &SetHomes) -> Vec<Home> {
    let first = job.epoch == 0;
    let uploading = job.state() == JobState::Uploading;
    let before = |node: u64| job.homes.iter().find(|home| home.node == node);
    let current = c.homes.iter().map(|&node| Home {
        node,
        // One that comes back lacks the chunks that came while it was away.
        filled: before(node).map_or(first, |home| home.filled && !(home.retiring && uploading)),
        retiring: false,
    });
    // Judged by what is true now: one that was unfilled when the change was
    // planned may be the only living home with a full copy. While the job is
    // unfinished, an unfilled one may hold what was made since it came.
    let unfinished = !job.state().ended();
    let retiring = c.retiring.iter().filter(|node| !c.homes.contains(node));
    let retiring = retiring.filter_map(|&node| before(node));
    let retiring = retiring
        .filter(|home| home.filled || unfinished)
        .map(|home| Home {
            retiring: true,
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
    }
    release_retired(job);
}
