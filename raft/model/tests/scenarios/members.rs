//! Script commands about members: who is let in, who votes, and who goes.

use std::fmt::Write;

use reelraft_model::{
    AdmitNode, Command, CreateToken, DrainNode, JoinToken, RemoveNode, SetVoters, State,
    limits::{FEATURE_LEVEL, NODES_MAX},
    plan::{Change, ClusterHealth, NodeHealth, membership, zone_notes},
    token_digest,
};

use crate::words::{number, option};

/// `token NAME [at=MS] [expires=MS] [max=9]`, `want VOTERS`, `drain NODE`, `undrain NODE`
/// and `remove NODE [dead]`
pub fn command(words: &[&str]) -> Command {
    let node = || words[1].parse().unwrap();
    match words[0] {
        "token" => Command::CreateToken(CreateToken {
            token: JoinToken {
                digest: token_digest(words[1].as_bytes()),
                created_unix_ms: number(words, "at"),
                expires_unix_ms: option(words, "expires").map_or(1000, |ms| ms.parse().unwrap()),
                node: 0,
            },
            tokens_max: option(words, "max").map_or(9, |max| max.parse().unwrap()),
        }),
        "want" => Command::SetVoters(SetVoters {
            voters: words[1].parse().unwrap(),
        }),
        "remove" => Command::RemoveNode(RemoveNode {
            node: node(),
            dead: words.contains(&"dead"),
        }),
        drains => Command::DrainNode(DrainNode {
            node: node(),
            draining: drains == "drain",
        }),
    }
}

/// `admit TOKEN DISK [address=] [level=] [at=MS] [above=]`
pub fn admit(words: &[&str]) -> Command {
    Command::AdmitNode(AdmitNode {
        digest: token_digest(words[1].as_bytes()),
        incarnation: words[2].into(),
        address: option(words, "address").unwrap_or_default().into(),
        feature_level: option(words, "level").map_or(FEATURE_LEVEL, |at| at.parse().unwrap()),
        unix_ms: number(words, "at"),
        above: number(words, "above"),
        nodes_max: NODES_MAX,
    })
}

/// `votes 1 2 3`, `leads NODE`, `behind NODE ENTRIES`, `joined NODE…` and `joint`: what the
/// leader sees.
pub fn report(health: &mut ClusterHealth, words: &[&str]) -> String {
    let ids: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    match words[0] {
        "votes" => {
            health.voters = ids.len() as u32;
            for (id, node) in &mut health.nodes {
                node.votes = ids.contains(id);
            }
        }
        "leads" => health.leader = ids[0],
        "joint" => health.joint = true,
        "joined" => {
            let learner = || NodeHealth {
                alive: true,
                slots: 1,
                build: "b".into(),
                behind: Some(0),
                ..Default::default()
            };
            health
                .nodes
                .extend(ids.into_iter().map(|id| (id, learner())));
        }
        _ => health.nodes.get_mut(&ids[0]).unwrap().behind = Some(ids[1]),
    }
    String::new()
}

/// What the leader would do, and what it says of each node.
pub fn judge(state: &State, health: &mut ClusterHealth) -> String {
    health.take_standings(state);
    let judged = membership(state, health);
    let mut text = match judged.change {
        None => "nothing to change\n".to_string(),
        Some(Change::Voters(voters)) => format!("voters {voters:?}\n"),
        Some(Change::HandOver(node)) => format!("hand over to {node}\n"),
        Some(Change::Drop(node)) => format!("take out {node}\n"),
    };
    for (node, note) in judged.notes {
        writeln!(text, "{node}: {note}").unwrap();
    }
    text
}

/// `zones`: what is said of copies that may be lost together.
pub fn zones(state: &State, health: &ClusterHealth) -> String {
    let notes = zone_notes(state, health);
    let lines = notes.iter().map(|(node, note)| format!("{node}: {note}\n"));
    match notes.is_empty() {
        true => "nothing is kept within one zone\n".into(),
        false => lines.collect(),
    }
}

/// The same, and carries it out.
pub fn change(state: &State, health: &mut ClusterHealth) -> String {
    let text = judge(state, health);
    match membership(state, health).change {
        Some(Change::Voters(voters)) => {
            health.joint = false;
            health.voters = voters.len() as u32;
            for (id, node) in &mut health.nodes {
                node.votes = voters.contains(id);
            }
        }
        Some(Change::HandOver(node)) => health.leader = node,
        Some(Change::Drop(node)) => drop(health.nodes.remove(&node)),
        None => {}
    }
    text
}
