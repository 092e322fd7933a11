//! `reelraft cluster …`: the cluster as the leader sees it, and its members.

use std::time::Duration;

use clap::{Args, Subcommand};
use reelraft_proto::{
    documents,
    v1::{
        CreateTokenRequest, CreatedToken, DrainRequest, RemoveRequest, ScrubRequest, ScrubResponse,
        SetVotersRequest, StatusRequest, StatusResponse, TransferLeaderRequest,
    },
};

use super::{
    backup::{self, BackupArgs},
    cert::{self, CertCommand},
    duration::duration,
    engine,
};
use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// The subcommands of `cluster`.
#[derive(Subcommand, Clone, Debug)]
pub enum ClusterCommand {
    /// Leader, term and nodes at a glance
    Status,
    /// Every node in full: role, address, pid, load, slots, disk, encoder build, and what
    /// the leader does about it
    Nodes,
    /// Every engine: whether it is connected, where, with which build, and what it does
    Engines,
    /// The leader's id and address; exit code 3 if there is none
    Leader,
    /// The certificates of the nodes, and who signs them
    #[command(subcommand)]
    Cert(CertCommand),
    /// Let another machine in
    #[command(subcommand)]
    Token(TokenCommand),
    /// Change what the cluster is to have
    #[command(subcommand)]
    Set(SetCommand),
    /// Have a node hand over its work, its bytes and its vote; `cluster nodes` says how far it is
    Drain(NodeArg),
    /// Have a node that drains take part again
    Undrain(NodeArg),
    /// Remove a node for good: one that is drained, or one that is lost
    #[command(visible_alias = "rm")]
    Remove(RemoveArgs),
    /// Have another node lead
    TransferLeader {
        /// The voter that is to lead [default: the one that is furthest]
        #[arg(value_name = "NODE")]
        node: Option<u64>,
    },
    /// Have a node check all that it keeps, or all nodes; `cluster nodes` says how far they are
    Scrub {
        /// The node [default: all of them]
        #[arg(value_name = "NODE")]
        node: Option<u64>,
    },
    /// Write all that the cluster knows, and its films, to one file
    Backup(BackupArgs),
    /// New programs on the nodes
    #[command(subcommand)]
    Upgrade(UpgradeCommand),
}

/// The subcommands of `cluster token`.
#[derive(Subcommand, Clone, Debug)]
pub enum TokenCommand {
    /// Make a token that lets one machine in, and print the command for that
    Create {
        /// For how long it lets a machine in
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1h")]
        ttl: Duration,
    },
}

/// The subcommands of `cluster set`.
#[derive(Subcommand, Clone, Debug)]
pub enum SetCommand {
    /// How many nodes vote: of 3 one may fail, of 5 two. Every byte is kept on one node more
    /// than may fail
    Voters {
        /// 1, 3, 5 or 7
        #[arg(value_name = "NUMBER")]
        voters: u32,
    },
}

/// The subcommands of `cluster upgrade`.
#[derive(Subcommand, Clone, Debug)]
pub enum UpgradeCommand {
    /// What each node can read, and which keep the others from using all that they can
    Status,
}

/// A node.
#[derive(Args, Clone, Debug)]
pub struct NodeArg {
    /// Its id, as `cluster nodes` shows it
    #[arg(value_name = "NODE")]
    node: u64,
}

/// Arguments of `cluster remove`.
#[derive(Args, Clone, Debug)]
pub struct RemoveArgs {
    /// Its id, as `cluster nodes` shows it
    #[arg(value_name = "NODE")]
    node: u64,
    /// It is lost, and can hand nothing over
    #[arg(long)]
    dead: bool,
}

/// Runs one `cluster` subcommand.
///
/// # Errors
/// The node's refusal, that no node serves, or for `leader` that there is no leader.
pub async fn run(
    client: &mut Client,
    command: ClusterCommand,
    output: Output,
) -> Result<(), CliError> {
    let text = match command {
        ClusterCommand::Cert(command) => return cert::run(client, command, output).await,
        ClusterCommand::Backup(args) => return backup::run(client, args, output).await,
        ClusterCommand::Engines => return engine::list(client, output).await,
        ClusterCommand::Token(TokenCommand::Create { ttl }) => {
            token_text(&create_token(client, ttl).await?, output)
        }
        ClusterCommand::Set(SetCommand::Voters { voters }) => {
            let request = SetVotersRequest { voters };
            let changed = client.call_cluster(request, async |mut cluster, request| {
                cluster.set_voters(request).await
            });
            let done = format!("{voters} voters are wanted");
            changed_text(changed.await?.existed, &done, output)
        }
        ClusterCommand::Drain(NodeArg { node }) => drain(client, node, false, output).await?,
        ClusterCommand::Undrain(NodeArg { node }) => drain(client, node, true, output).await?,
        ClusterCommand::Remove(RemoveArgs { node, dead }) => {
            let request = RemoveRequest { node, dead };
            let changed = client.call_cluster(request, async |mut cluster, request| {
                cluster.remove(request).await
            });
            let done = format!("node {node} is removed");
            changed_text(changed.await?.existed, &done, output)
        }
        ClusterCommand::TransferLeader { node } => {
            let request = TransferLeaderRequest {
                node: node.unwrap_or(0),
            };
            let moved = client.call_cluster(request, async |mut cluster, request| {
                cluster.transfer_leader(request).await
            });
            let leader_id = moved.await?.leader_id;
            match output {
                Output::Json => json::line(&documents::LeaderTransferred { leader_id }),
                Output::Table => format!("node {leader_id} leads\n"),
            }
        }
        ClusterCommand::Scrub { node } => scrub(client, node, output).await?,
        shows => show(shows, &status(client).await?, output)?,
    };
    print(&text)
}

async fn scrub(client: &mut Client, node: Option<u64>, output: Output) -> Result<String, CliError> {
    let request = ScrubRequest {
        node: node.unwrap_or(0),
    };
    let begun = client.call_cluster(request, async |mut cluster, request| {
        cluster.scrub(request).await
    });
    let ScrubResponse { nodes, silent } = begun.await?;
    let named = |ids: &[u64]| {
        let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
        ids.join(", ")
    };
    Ok(match output {
        Output::Json => json::line(&documents::ScrubBegun { nodes, silent }),
        Output::Table => {
            let mut text = String::new();
            if !nodes.is_empty() {
                text += &format!(
                    "{} checks what it keeps; see `reelraft cluster nodes`\n",
                    named(&nodes)
                );
            }
            if !silent.is_empty() {
                text += &format!("{} could not be reached\n", named(&silent));
            }
            text
        }
    })
}

async fn status(client: &mut Client) -> Result<StatusResponse, CliError> {
    let request = StatusRequest { local: false };
    let asked = client.call_cluster(request, async |mut cluster, request| {
        cluster.status(request).await
    });
    asked.await
}

/// The views of one answer.
fn show(
    command: ClusterCommand,
    status: &StatusResponse,
    output: Output,
) -> Result<String, CliError> {
    let upgrade = || documents::Upgrade::from(status);
    Ok(match (command, output) {
        (ClusterCommand::Nodes, Output::Json) => json::line(&documents::Nodes::from(status)),
        (ClusterCommand::Nodes, Output::Table) => table::nodes(&status.nodes),
        (ClusterCommand::Leader, _) if status.leader_id == 0 => {
            return Err(CliError::Unavailable {
                kind: "no-leader".into(),
                cause: "there is no leader now".into(),
                hint: String::new(),
            });
        }
        (ClusterCommand::Leader, Output::Json) => json::line(&documents::Leader::from(status)),
        (ClusterCommand::Leader, Output::Table) => {
            let leader = documents::Leader::from(status);
            format!("{} {}\n", status.leader_id, leader.address.unwrap_or("-"))
        }
        (ClusterCommand::Upgrade(_), Output::Json) => json::line(&upgrade()),
        (ClusterCommand::Upgrade(_), Output::Table) => table::upgrade(&upgrade()),
        (_, Output::Json) => json::line(&documents::Status::from(status)),
        (_, Output::Table) => table::status(status),
    })
}

async fn create_token(client: &mut Client, ttl: Duration) -> Result<CreatedToken, CliError> {
    let request = CreateTokenRequest {
        ttl_s: ttl.as_secs().max(1),
    };
    let made = client.call_cluster(request, async |mut cluster, request| {
        cluster.create_token(request).await
    });
    made.await
}

/// One line to paste on the new machine.
fn token_text(created: &CreatedToken, output: Output) -> String {
    match output {
        Output::Json => json::line(&documents::Token::from(created)),
        Output::Table => format!(
            "reelraft node --data DIR --join {} --token {}\n",
            created.address, created.token
        ),
    }
}

async fn drain(
    client: &mut Client,
    node: u64,
    undo: bool,
    output: Output,
) -> Result<String, CliError> {
    let request = DrainRequest { node, undo };
    let changed = client.call_cluster(request, async |mut cluster, request| {
        cluster.drain(request).await
    });
    let done = match undo {
        false => format!("node {node} drains; see `reelraft cluster nodes`"),
        true => format!("node {node} takes part again"),
    };
    Ok(changed_text(changed.await?.existed, &done, output))
}

fn changed_text(existed: bool, done: &str, output: Output) -> String {
    match (output, existed) {
        (Output::Json, existed) => json::line(&documents::Changed { existed }),
        (Output::Table, false) => format!("{done}\n"),
        (Output::Table, true) => format!("{done}, as before\n"),
    }
}
