//! `reelraft engine token …` and `reelraft cluster engines`.

use clap::Subcommand;
use reelraft_proto::{
    documents,
    v1::{CreateEngineRequest, ListEnginesRequest, RevokeEngineRequest},
};

use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// The subcommands of `engine token`.
#[derive(Subcommand, Clone, Debug)]
pub enum EngineTokenCommand {
    /// Make a token for one engine, and print how it is started; it is shown this once
    Create {
        /// What to call the engine
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// End an engine's token: it is refused at once, and what it runs goes to others
    Revoke {
        /// Its name, or its number
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Runs one subcommand of `engine token`.
///
/// # Errors
/// The node's refusal, and that no node serves.
pub async fn run(
    client: &mut Client,
    command: EngineTokenCommand,
    output: Output,
) -> Result<(), CliError> {
    let text = match command {
        EngineTokenCommand::Create { name } => {
            let request = CreateEngineRequest { name };
            let made = client.call_cluster(request, async |mut cluster, request| {
                cluster.create_engine(request).await
            });
            let made = made.await?;
            let engine = made.engine.unwrap_or_default();
            let server = match made.server.as_str() {
                "" => "URL",
                server => server,
            };
            match output {
                Output::Json => {
                    let (token, server) = (&made.token, &made.server);
                    json::line(&documents::CreatedEngine::new(&engine, token, server))
                }
                Output::Table => format!(
                    "REELRAFT_ENGINE_TOKEN={} reelraft engine --server {server}\n",
                    made.token
                ),
            }
        }
        EngineTokenCommand::Revoke { name } => {
            let request = RevokeEngineRequest { name };
            let revoked = client.call_cluster(request, async |mut cluster, request| {
                cluster.revoke_engine(request).await
            });
            let engine = revoked.await?;
            match output {
                Output::Json => json::line(&documents::Engine::from(&engine)),
                Output::Table => format!("the token of engine '{}' is revoked\n", engine.name),
            }
        }
    };
    print(&text)
}

/// Lists all engines.
///
/// # Errors
/// The node's refusal, and that no node serves.
pub async fn list(client: &mut Client, output: Output) -> Result<(), CliError> {
    let request = ListEnginesRequest {};
    let listed = client.call_cluster(request, async |mut cluster, request| {
        cluster.list_engines(request).await
    });
    let engines = listed.await?.engines;
    print(&match output {
        Output::Json => json::line(&documents::EngineList::from(engines.as_slice())),
        Output::Table => table::engines(&engines),
    })
}
