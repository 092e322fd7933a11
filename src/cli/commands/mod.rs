//! The commands that talk to a cluster, one to a file. Each file has the
//! command's arguments, the requests it makes, and what it prints. How bytes
//! move is in [`crate::transfer`], how answers look in [`crate::render`].

mod backup;
pub mod bundle;
mod cert;
mod cluster;
mod document;
mod duration;
mod engine;
mod job;
mod key;
mod library_options;
mod many;
mod request_options;
mod tenant;
mod transcode;
mod watch_folder;
pub mod watched;
mod webhook;

pub use engine::EngineTokenCommand;

use clap::Subcommand;

use crate::{client::Client, error::CliError, render::Output};

/// The commands that talk to a cluster.
#[derive(Subcommand, Clone, Debug)]
pub enum ClientCommand {
    /// Transcode a video: upload it, follow the job, fetch the result
    Transcode(Box<transcode::TranscodeArgs>),
    /// Transcode what is put into a folder, each file once
    WatchFolder(Box<watch_folder::WatchFolderArgs>),
    /// Submit, follow, fetch and delete jobs
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Show the cluster and its nodes
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// The same as `cluster status`
    #[command(hide = true)]
    Status,
    /// Have the end of each job told to a URL
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show and set how much a tenant may have
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// The same as `engine token`
    #[command(subcommand, hide = true)]
    EngineToken(EngineTokenCommand),
}

/// Runs one command.
///
/// # Errors
/// The node's refusal, the job's own failure, or a local one.
pub async fn run(
    client: &mut Client,
    command: ClientCommand,
    output: Output,
) -> Result<(), CliError> {
    match command {
        ClientCommand::Transcode(args) => transcode::run(client, *args, output).await,
        ClientCommand::WatchFolder(args) => watch_folder::run(client, *args, output).await,
        ClientCommand::Job(command) => job::run(client, command, output).await,
        ClientCommand::Cluster(command) => cluster::run(client, command, output).await,
        ClientCommand::Status => {
            cluster::run(client, cluster::ClusterCommand::Status, output).await
        }
        ClientCommand::Webhook(command) => webhook::run(client, command, output).await,
        ClientCommand::Key(command) => key::run(client, command, output).await,
        ClientCommand::Tenant(command) => tenant::run(client, command, output).await,
        ClientCommand::EngineToken(command) => engine::run(client, command, output).await,
    }
}
