//! What helps whoever is asked for help, and may be shown to them: a node's settings,
//! counters, the end of its log, and its table in numbers. No secrets; names of films
//! only where they are asked for.

use std::{fmt::Write, sync::Arc};

use reelraft_model::{JobEntry, Problem, State, check::check_jobs};
use tokio::task::spawn_blocking;

use super::{
    Api, Consistency,
    limits::{DIAGNOSED_JOBS_MAX, DIAGNOSED_VIOLATIONS_MAX},
    metrics,
    redact::Redactor,
};
use crate::{config, recent_log};

/// A text about this node, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: &'static str,
    pub text: String,
}

impl Api {
    /// All that this node says of itself, with names of films if `names` are wanted.
    ///
    /// # Errors
    /// `forbidden` to all but the operator.
    pub async fn diagnose(&self, names: bool) -> Result<Vec<Section>, Problem> {
        let census = self.census(Consistency::Linearizable)?;
        let (state, index) = self.table().local_at();
        let hash = self.table().table_hash().await;
        let hash = hash.map_or_else(
            |error| error.to_string(),
            |(at, hash)| format!("{hash} at {at}"),
        );
        let redactor = self.redactor(&state, names);
        let of_table = state.clone();
        let table = spawn_blocking(move || summary(&of_table, index, &hash)).await;
        let table = table.unwrap_or_else(|error| format!("can't be summed up: {error}\n"));
        let sections = [
            ("versions.txt", self.versions()),
            ("config.txt", config::table(&self.context().config.shown)),
            ("metrics.txt", metrics::of_census(&census)),
            ("table.txt", table),
            ("jobs.txt", jobs(&state, names)),
            ("log.txt", recent_log::recent(names).join("\n") + "\n"),
        ];
        let redacted = sections.into_iter().map(|(name, text)| Section {
            name,
            text: redactor.redact(&text),
        });
        Ok(redacted.collect())
    }

    fn redactor(&self, state: &State, names: bool) -> Redactor {
        let config = &self.context().config;
        let own = [&config.secret, &config.peer_secret];
        let own = own.into_iter().filter_map(|secret| secret.text());
        let own: Vec<String> = own.map(str::to_string).collect();
        let hooks = state.webhooks().flat_map(|webhook| {
            let secrets = webhook.secrets.iter();
            secrets
                .map(|secret| secret.text.clone())
                .collect::<Vec<_>>()
        });
        let mut redactor = Redactor::new(own.into_iter().chain(hooks));
        if !names {
            for entry in shown_jobs(state) {
                redactor.hide_name(&entry.job.id, &entry.job.source_name);
            }
        }
        redactor
    }

    fn versions(&self) -> String {
        let identity = self.table().identity();
        format!(
            "reelraft {}\nencoder build {}: {}\nnode {} of cluster {}\nprocess {}\n",
            env!("CARGO_PKG_VERSION"),
            self.context().build(),
            self.context().build_words(),
            identity.node,
            identity.cluster_id,
            std::process::id(),
        )
    }
}

/// The jobs that are told of: all that have not ended, and the newest others.
fn shown_jobs(state: &State) -> impl Iterator<Item = Arc<JobEntry>> {
    let newest = state.newest_before(u64::MAX).take(DIAGNOSED_JOBS_MAX);
    let newest = newest.filter(|entry| entry.job.state().ended());
    state
        .active()
        .take(DIAGNOSED_JOBS_MAX)
        .cloned()
        .chain(newest)
}

fn jobs(state: &State, names: bool) -> String {
    let mut text = String::new();
    for entry in shown_jobs(state) {
        let job = &entry.job;
        let homes: Vec<String> = job
            .homes
            .iter()
            .map(|home| {
                let unsure = if home.filled { "" } else { "?" };
                let retiring = if home.retiring { " retires" } else { "" };
                format!("{}{unsure}{retiring}", home.node)
            })
            .collect();
        let problem = job.problem.as_ref().map(|problem| match names {
            true => problem.to_string(),
            // What a cause quotes is nobody's business here.
            false => problem.kind.clone(),
        });
        let name = if names { job.source_name.as_str() } else { "" };
        line(
            &mut text,
            format_args!(
                "{} {} homes=[{}] epoch={} shards={} pending={} running={} replans={} {} {name}",
                job.id,
                job.state().name(),
                homes.join(", "),
                job.epoch,
                job.shards_total,
                entry.pending.len(),
                entry.running.len(),
                job.replans,
                problem.unwrap_or_default(),
            ),
        );
    }
    text
}

/// The table in numbers, and what is wrong with it.
fn summary(state: &State, index: u64, hash: &str) -> String {
    let mut text = String::new();
    line(
        &mut text,
        format_args!("applied index {index}, hash {hash}"),
    );
    line(
        &mut text,
        format_args!(
            "feature level {}, cluster time {} ms",
            state.feature_level(),
            state.cluster_ms()
        ),
    );
    for (state, count) in state.counts_by_state() {
        line(&mut text, format_args!("jobs {}: {count}", state.name()));
    }
    let (keys, quotas) = (state.keys().len(), state.quotas().len());
    let hooks = state.webhooks().count();
    line(
        &mut text,
        format_args!("keys: {keys}, quotas: {quotas}, webhooks: {hooks}"),
    );
    for node in state.nodes() {
        line(
            &mut text,
            format_args!(
                "node {} at {}: {}, level {}{}",
                node.id,
                node.address,
                if node.is_draining() {
                    "drains"
                } else {
                    "member"
                },
                node.feature_level,
                if node.left_behind {
                    ", left behind"
                } else {
                    ""
                }
            ),
        );
    }
    let removed: Vec<u64> = state.removed_nodes().collect();
    line(&mut text, format_args!("removed nodes: {removed:?}"));
    let violations = check_jobs(state);
    line(&mut text, format_args!("violations: {}", violations.len()));
    for violation in violations.iter().take(DIAGNOSED_VIOLATIONS_MAX) {
        line(&mut text, format_args!("  {}", violation.0));
    }
    text
}

fn line(text: &mut String, written: std::fmt::Arguments<'_>) {
    writeln!(text, "{written}").expect("a text takes all that is written");
}
