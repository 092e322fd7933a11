//! What a node knows, in the text format of Prometheus. Jobs and tenants are no
//! labels: there is no end to them.

use std::fmt::Write;

use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};

use super::{faces::Faces, refusal::Answer};
use crate::{
    api::{Census, Consistency},
    node::messages::NodeStatus,
};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One value of each node.
type OfNode = (&'static str, &'static str, fn(&NodeStatus) -> u64);

const OF_NODES: [OfNode; 6] = [
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
        "reelraft_node_applied_index",
        "The last log index in its table.",
        |node| node.applied_index,
    ),
];

/// Gives what the node knows, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "health",
    security(("secret" = []), ()),
    responses((status = 200, description = "In its text format", body = String)),
)]
pub async fn get(faces: Faces) -> Answer {
    let census = faces.api.census(Consistency::Linearizable)?;
    let mut response = text(&census).into_response();
    let format = HeaderValue::from_static(FORMAT);
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    Ok(response)
}

fn text(census: &Census) -> String {
    let mut text = String::new();
    let status = &census.status;
    let here = status.answered_by;
    let gauges = [
        (
            "reelraft_leader",
            "Whether this node leads.",
            u64::from(status.leader == Some(here)),
        ),
        (
            "reelraft_leader_known",
            "Whether this node knows a leader.",
            u64::from(status.leader.is_some()),
        ),
        ("reelraft_term", "The present term of Raft.", status.term),
        (
            "reelraft_applied_index",
            "The last log index in this node's table.",
            status.applied_index,
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
    ];
    for (name, help, value) in gauges {
        head(&mut text, name, help);
        line(&mut text, format_args!("{name} {value}"));
    }
    let name = "reelraft_jobs";
    head(&mut text, name, "Jobs in the table by state.");
    for (state, count) in &census.jobs {
        let state = state.name();
        line(
            &mut text,
            format_args!("{name}{{state=\"{state}\"}} {count}"),
        );
    }
    for (name, help, value) in OF_NODES {
        head(&mut text, name, help);
        for node in &status.nodes {
            let (id, value) = (node.id, value(node));
            line(&mut text, format_args!("{name}{{node=\"{id}\"}} {value}"));
        }
    }
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}"));
    line(text, format_args!("# TYPE {name} gauge"));
}

fn line(text: &mut String, written: std::fmt::Arguments<'_>) {
    writeln!(text, "{written}").expect("a text takes all that is written");
}
