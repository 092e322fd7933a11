//! Comparisons of outputs with their sources that nobody can make.

use super::health::ClusterHealth;
use crate::{
    command::Command, job_entry::JobEntry, measuring::EndMeasure, rows::Problem, state::State,
};

/// Ends those of jobs whose homes with the source have all come to another encoder
/// build: their decoders may give other pictures, which would be compared with the
/// output's.
pub(super) fn hopeless<'a>(
    state: &'a State,
    health: &'a ClusterHealth,
) -> impl Iterator<Item = Command> + 'a {
    let open = state.open().measuring();
    let entries = open.filter_map(|id| state.current(id));
    entries.filter_map(move |entry| {
        let measurement = entry.job.measurement.as_ref()?;
        let cause = "no home with its source has the encoder build any more that it was made under";
        let hint = "submit the file again with --measure: it is compared as it is encoded";
        let problem = || Problem::new("build-gone", cause, hint);
        all_foreign(entry, health)
            .then(|| Command::EndMeasure(EndMeasure::of(&entry.job, measurement, problem())))
    })
}

/// Whether all homes of a job that can compare it live, and have another build than it.
fn all_foreign(entry: &JobEntry, health: &ClusterHealth) -> bool {
    let foreign = |node: u64| {
        let node = health.nodes.get(&node);
        node.is_some_and(|node| node.alive && !node.starting && node.build != entry.job.build)
    };
    let homes = entry.job.current_homes().map(|home| home.node);
    let mut able = homes.filter(|&node| entry.job.compares_at(node)).peekable();
    // Those that retire go by themselves, and the source with them.
    able.peek().is_some() && able.all(foreign)
}
