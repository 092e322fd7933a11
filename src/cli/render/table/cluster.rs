//! `cluster status` as a card and a grid, `cluster nodes` as a grid.

use std::collections::BTreeMap;

use reelraft_proto::{
    documents::{Upgrade, milli},
    v1::{NodeStatus, StatusResponse},
};

use super::layout::{card, grid, or_dash, short_hash};
use crate::render::{
    format::{counted, percent, size, utc_time},
    screen::printable,
};

/// The answer of `cluster status`.
pub fn status(status: &StatusResponse) -> String {
    let leader = match status.leader_id {
        0 => "none".to_string(),
        id => format!("node {id}"),
    };
    let head = card(&[
        ("cluster", status.cluster_id.clone()),
        ("leader", leader),
        ("term", status.term.to_string()),
        ("voters", format!("{} wanted", status.voters_wanted)),
        ("committed", status.committed_index.to_string()),
        (
            "election",
            format!("after {} ms of silence", status.election_timeout_ms),
        ),
    ]);
    let rows: Vec<Vec<String>> = status
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.role.clone(),
                node.address.clone(),
                reachable(node).into(),
                format!("{}/{}", node.slots_busy, node.slots),
                node.trouble.clone(),
            ]
        })
        .collect();
    let table = grid(
        &[">ID", "ROLE", "ADDRESS", "REACHABLE", ">BUSY", "TROUBLE"],
        &rows,
    );
    let ends = format!(
        "{}{}{}",
        notes(&status.nodes),
        upkeep(&status.nodes),
        builds(&status.nodes)
    );
    format!("{head}\n{table}{ends}")
}

/// The versions behind each build and what it can't make, a line each; empty
/// where no node says.
fn builds(nodes: &[NodeStatus]) -> String {
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in nodes {
        let build = short_hash(&node.build);
        let words = Some(&node.build_words).filter(|words| !words.is_empty());
        let words = words.map(|words| format!("build {build}: {words}"));
        let lacks = node.lacks.iter();
        let lacks =
            lacks.map(|lack| format!("build {build} can't make {}: {}", lack.what, lack.why));
        for line in words.into_iter().chain(lacks) {
            lines.entry(line).or_default().push(node.id.to_string());
        }
    }
    let lines = lines
        .into_iter()
        .map(|(line, nodes)| match nodes.as_slice() {
            [node] => format!("{} (node {node})\n", printable(&line)),
            _ => format!("{} (nodes {})\n", printable(&line), nodes.join(", ")),
        });
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

fn reachable(node: &NodeStatus) -> &'static str {
    if node.reachable { "yes" } else { "no" }
}

/// The rows of `cluster nodes`.
pub fn nodes(nodes: &[NodeStatus]) -> String {
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.role.clone(),
                node.address.clone(),
                if node.pid == 0 {
                    "-".into()
                } else {
                    node.pid.to_string()
                },
                reachable(node).into(),
                milli(node.load_milli.into()),
                format!("{}/{}", node.slots_busy, node.slots),
                format!(
                    "{} of {}",
                    size(node.disk_free_bytes),
                    size(node.disk_total_bytes)
                ),
                short_hash(&node.build),
                node.applied_index.to_string(),
                or_dash(&node.version),
                speed(node),
                node.trouble.clone(),
            ]
        })
        .collect();
    let table = grid(
        &[
            ">ID",
            "ROLE",
            "ADDRESS",
            ">PID",
            "REACHABLE",
            ">LOAD",
            ">BUSY",
            ">DISK FREE",
            "BUILD",
            ">APPLIED",
            "VERSION",
            ">H.264 FPS",
            "TROUBLE",
        ],
        &rows,
    );
    format!("{table}{}{}{}", notes(nodes), upkeep(nodes), builds(nodes))
}

/// What the nodes copy and check, a line each; empty where they do neither.
fn upkeep(nodes: &[NodeStatus]) -> String {
    let mut lines = String::new();
    for node in nodes {
        let Some(now) = node.upkeep else { continue };
        if now.copy_jobs > 0 {
            let rate = match now.copy_rate {
                0 => String::new(),
                rate => format!(", {}/s at most", size(rate)),
            };
            lines += &format!(
                "node {} copies {}, about {} to go{rate}\n",
                node.id,
                counted(now.copy_jobs, "job"),
                size(now.copy_bytes)
            );
        }
        let scrub = now.scrub.unwrap_or_default();
        if scrub.running {
            let done = percent(scrub.done_bytes, scrub.total_bytes);
            let total = size(scrub.total_bytes);
            lines += &format!(
                "node {} checks what it keeps: {done} % of {total}\n",
                node.id
            );
        }
        if scrub.damaged + scrub.unread > 0 {
            lines += &format!(
                "node {} found {} damaged and {} unreadable blobs of {} at {}\n",
                node.id,
                scrub.damaged,
                scrub.unread,
                scrub.blobs,
                utc_time(scrub.ended_unix_ms)
            );
        }
    }
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// What the leader does about the nodes, a line each; empty where it does nothing.
fn notes(nodes: &[NodeStatus]) -> String {
    let notes = nodes.iter().filter(|node| !node.note.is_empty());
    let lines = notes.map(|node| format!("node {} {}\n", node.id, printable(&node.note)));
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// The answer of `cluster upgrade status`.
pub fn upgrade(upgrade: &Upgrade) -> String {
    let rows: Vec<Vec<String>> = upgrade
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.feature_level.to_string(),
                node.version.clone().unwrap_or_else(|| "-".into()),
                if node.reachable { "yes" } else { "no" }.into(),
            ]
        })
        .collect();
    let table = grid(&[">NODE", ">LEVEL", "VERSION", "REACHABLE"], &rows);
    let held: Vec<String> = upgrade.held_by.iter().map(u64::to_string).collect();
    let level = upgrade.feature_level;
    let verdict = match held.as_slice() {
        [] => format!("all nodes use feature level {level}"),
        nodes => format!(
            "the cluster uses feature level {level}, and would use {} without nodes with an older \
             program: {}",
            upgrade.newest,
            nodes.join(", ")
        ),
    };
    format!("{table}\n{verdict}\n")
}

/// Frames of the benchmark's clip that it encodes in a second.
fn speed(node: &NodeStatus) -> String {
    let speed = node.speeds.get("h264");
    speed.map_or_else(|| "-".into(), |speed| (speed / 1000).to_string())
}
