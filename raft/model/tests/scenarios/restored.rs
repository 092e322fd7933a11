//! The script command that makes another cluster of a backup.

use std::{collections::BTreeMap, fmt::Write};

use reelraft_model::{InBackup, NamedJob, RestoredOn, State, check::check};

use crate::words::option;

/// `restore [whole=JOB,JOB] [unmeasured]`: on node 1, with the bytes of these jobs; but
/// for what was found of them, compared with their sources.
pub fn restore(
    state: &mut State,
    index: u64,
    words: &[&str],
    names: &BTreeMap<String, String>,
) -> String {
    let whole: Vec<&String> = option(words, "whole")
        .into_iter()
        .flat_map(|whole| whole.split(','))
        .map(|name| &names[name])
        .collect();
    let on = RestoredOn {
        node: 1,
        index,
        unix_ms: 0,
    };
    let made = state.restored(on, |entry| InBackup {
        whole: whole.contains(&&entry.job.id),
        beside: !words.contains(&"unmeasured"),
    });
    let (made, restored) = made.unwrap();
    assert_eq!(check(&made), []);
    *state = made;
    let mut said = format!(
        "{} finished, {} ended, {} keys\n",
        restored.finished, restored.ended, restored.keys
    );
    let mut say = |what: &str, jobs: &[NamedJob]| {
        let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        if !ids.is_empty() {
            writeln!(said, "{what}: {}", ids.join(" ")).unwrap();
        }
    };
    say("again", &restored.again);
    say("waiting", &restored.waiting);
    say("without output", &restored.without_output);
    say("without source", &restored.without_source);
    if restored.sources_gone > 0 {
        writeln!(said, "sources gone: {}", restored.sources_gone).unwrap();
    }
    said
}
