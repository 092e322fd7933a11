//! `reelraft cluster …`: three views of one answer, the cluster as the leader
//! sees it.

use clap::Subcommand;
use reelraft_proto::{documents, v1::StatusRequest};

use super::cert::{self, CertCommand};
use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// The subcommands of `cluster`.
#[derive(Subcommand, Clone, Copy, Debug)]
pub enum ClusterCommand {
    /// Leader, term and nodes at a glance
    Status,
    /// Every node in full: role, address, pid, load, slots, disk, encoder build
    Nodes,
    /// The leader's id and address; exit code 3 if there is none
    Leader,
    /// The certificates of the nodes, and who signs them
    #[command(subcommand)]
    Cert(CertCommand),
}

/// Runs one `cluster` subcommand.
///
/// # Errors
/// That no node serves, or for `leader` that there is no leader.
pub async fn run(
    client: &mut Client,
    command: ClusterCommand,
    output: Output,
) -> Result<(), CliError> {
    if let ClusterCommand::Cert(command) = command {
        return cert::run(client, command, output).await;
    }
    let status = client
        .call_cluster(
            StatusRequest { local: false },
            async |mut cluster, request| cluster.status(request).await,
        )
        .await?;
    let text = match (command, output) {
        (ClusterCommand::Status, Output::Json) => json::line(&documents::Status::from(&status)),
        (ClusterCommand::Status, Output::Table) => table::status(&status),
        (ClusterCommand::Nodes, Output::Json) => json::line(&documents::Nodes::from(&status)),
        (ClusterCommand::Nodes, Output::Table) => table::nodes(&status.nodes),
        (ClusterCommand::Leader, _) if status.leader_id == 0 => {
            return Err(CliError::Unavailable {
                kind: "no-leader".into(),
                cause: "there is no leader now".into(),
                hint: String::new(),
            });
        }
        (ClusterCommand::Cert(_), _) => String::new(),
        (ClusterCommand::Leader, Output::Json) => json::line(&documents::Leader::from(&status)),
        (ClusterCommand::Leader, Output::Table) => {
            let leader = documents::Leader::from(&status);
            format!("{} {}\n", status.leader_id, leader.address.unwrap_or("-"))
        }
    };
    print(&text)
}
