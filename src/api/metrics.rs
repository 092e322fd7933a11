//! What a node knows of its cluster and of itself, in the text format of Prometheus.
//! Jobs and tenants are no labels: there is no end to them. Counters count from the
//! process's start.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use super::Census;
use crate::node::{messages::NodeStatus, tally::Ran};

/// One value of each node.
type OfNode = (&'static str, &'static str, fn(&NodeStatus) -> u64);

const OF_NODES: [OfNode; 7] = [
    (
        "reelraft_node_up",
        "Whether the leader has heard of the node within its lease.",
        |node| u64::from(node.reachable),
    ),
    (
        "reelraft_node_able",
        "Whether it takes work: it is up, and nothing is wrong with it.",
        |node| u64::from(node.reachable && node.trouble.is_empty()),
    ),
    (
        "reelraft_node_slots",
        "Tasks that it may run at once.",
        |node| node.slots.into(),
    ),
    ("reelraft_node_slots_busy", "Tasks that it runs.", |node| {
        node.slots_busy.into()
    }),
    (
        "reelraft_node_disk_free_bytes",
        "Free bytes where its data is.",
        |node| node.disk_free_bytes,
    ),
    (
        "reelraft_node_disk_total_bytes",
        "Bytes of the disk where its data is.",
        |node| node.disk_total_bytes,
    ),
    (
        "reelraft_node_applied_index",
        "The last log index in its table.",
        |node| node.applied_index,
    ),
];

/// One value of the attempts of a kind and an outcome.
type OfAttempts = (&'static str, &'static str, fn(&Ran) -> String);

const OF_ATTEMPTS: [OfAttempts; 5] = [
    (
        "reelraft_attempts_total",
        "Attempts that ran on this node and ended.",
        |ran| ran.attempts.to_string(),
    ),
    (
        "reelraft_attempt_seconds_total",
        "Wall time of these attempts.",
        |ran| seconds(ran.time),
    ),
    (
        "reelraft_attempt_frames_total",
        "Frames that these attempts gave; packets of audio.",
        |ran| ran.frames.to_string(),
    ),
    (
        "reelraft_attempt_read_bytes_total",
        "Bytes of sources that these attempts read.",
        |ran| ran.bytes_in.to_string(),
    ),
    (
        "reelraft_attempt_written_bytes_total",
        "Bytes of results that these attempts gave.",
        |ran| ran.bytes_out.to_string(),
    ),
];

/// All of a census.
pub fn of_census(census: &Census) -> String {
    let mut page = Page::default();
    of_this_node(&mut page, census);
    page.family("reelraft_jobs", "gauge", "Jobs in the table by state.");
    for (state, count) in &census.jobs {
        page.line(format_args!(
            "reelraft_jobs{{state=\"{}\"}} {count}",
            state.name()
        ));
    }
    for (name, help, value) in OF_NODES {
        page.family(name, "gauge", help);
        for node in &census.status.nodes {
            let (id, value) = (node.id, value(node));
            page.line(format_args!("{name}{{node=\"{id}\"}} {value}"));
        }
    }
    for (name, help, value) in OF_ATTEMPTS {
        page.family(name, "counter", help);
        for ((kind, outcome), ran) in &census.counts.ran {
            let (kind, value) = (kind.name(), value(ran));
            page.line(format_args!(
                "{name}{{kind=\"{kind}\",outcome=\"{outcome}\"}} {value}"
            ));
        }
    }
    page.0
}

fn of_this_node(page: &mut Page, census: &Census) {
    let status = &census.status;
    let progress = &census.progress;
    for (name, help, value) in [
        (
            "reelraft_leader",
            "Whether this node leads.",
            u64::from(status.leader == Some(status.answered_by)),
        ),
        (
            "reelraft_leader_known",
            "Whether this node knows a leader.",
            u64::from(status.leader.is_some()),
        ),
        ("reelraft_term", "The present term of Raft.", status.term),
        (
            "reelraft_log_last_index",
            "The last index in this node's log.",
            progress.last_index,
        ),
        (
            "reelraft_committed_index",
            "The last log index that this node knows is committed.",
            progress.committed_index,
        ),
        (
            "reelraft_applied_index",
            "The last log index in this node's table.",
            progress.applied_index,
        ),
        (
            "reelraft_apply_lag_entries",
            "Entries that are committed and not in this node's table yet.",
            progress.lag(),
        ),
        (
            "reelraft_election_timeout_milliseconds",
            "How long this node bears a silent leader.",
            status.election_timeout_ms,
        ),
        (
            "reelraft_tasks_pending",
            "Tasks of all jobs that wait for a slot.",
            census.tasks_pending,
        ),
        (
            "reelraft_tasks_running",
            "Tasks of all jobs that run.",
            census.tasks_running,
        ),
    ] {
        page.family(name, "gauge", help);
        page.line(format_args!("{name} {value}"));
    }
    let name = "reelraft_elections_total";
    page.family(name, "counter", "Leaders that this node has seen elected.");
    page.line(format_args!("{name} {}", census.counts.elections));
    let name = "process_start_time_seconds";
    page.family(name, "gauge", "When this process began, since 1970.");
    let since = census.counts.since.duration_since(UNIX_EPOCH);
    page.line(format_args!(
        "{name} {}",
        seconds(since.unwrap_or_default())
    ));
}

/// Seconds with thousandths.
pub fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// A page that grows.
#[derive(Default)]
pub struct Page(pub String);

impl Page {
    /// Begins a family of values.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// Adds a line.
    pub fn line(&mut self, written: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{written}").expect("a text takes all that is written");
    }
}
