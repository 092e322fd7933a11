//! `reelraft webhook …`: where the end of each of a tenant's jobs is told, and the
//! secret that signs what is sent.

use clap::{Args, Subcommand};
use reelraft_proto::{
    documents,
    v1::{SetWebhookRequest, Webhook, WebhookRef},
};

use crate::{client::Client, commands::document::print_document, error::CliError, render::Output};

/// The subcommands of `webhook`.
#[derive(Subcommand, Clone, Debug)]
pub enum WebhookCommand {
    /// Set where the end of each job is told; prints the secret when it is made, once
    Set(SetArgs),
    /// Show the webhook
    Show(TenantArgs),
    /// Make a new secret and print it; the former one signs beside it for a day
    Rotate(TenantArgs),
    /// Remove the webhook and its secrets
    Remove(TenantArgs),
}

/// Whose webhook it is.
#[derive(Args, Clone, Debug)]
pub struct TenantArgs {
    /// Whose webhook it is [default: the tenant of the key that asks, else default]
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
}

/// Arguments of `webhook set`.
#[derive(Args, Clone, Debug)]
pub struct SetArgs {
    /// Where messages are sent with HTTP POST; left out, there is only a secret, for
    /// jobs that name their own
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    #[command(flatten)]
    pub tenant: TenantArgs,
}

/// Runs one `webhook` subcommand.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(
    client: &mut Client,
    command: WebhookCommand,
    output: Output,
) -> Result<(), CliError> {
    let of = |args: TenantArgs| WebhookRef {
        tenant: args.tenant.unwrap_or_default(),
    };
    let webhook = match command {
        WebhookCommand::Set(args) => {
            let message = SetWebhookRequest {
                tenant: args.tenant.tenant.unwrap_or_default(),
                url: args.url.unwrap_or_default(),
            };
            let set = async |mut jobs: Jobs, request| jobs.set_webhook(request).await;
            client.call(message, set).await?
        }
        WebhookCommand::Show(args) => {
            let get = async |mut jobs: Jobs, request| jobs.get_webhook(request).await;
            client.call(of(args), get).await?
        }
        WebhookCommand::Rotate(args) => {
            let rotate = async |mut jobs: Jobs, request| jobs.rotate_webhook(request).await;
            client.call(of(args), rotate).await?
        }
        WebhookCommand::Remove(args) => {
            let remove = async |mut jobs: Jobs, request| jobs.remove_webhook(request).await;
            client.call(of(args), remove).await?;
            return Ok(());
        }
    };
    show(&webhook, output)
}

type Jobs = reelraft_proto::v1::jobs_client::JobsClient<crate::client::Link>;

fn show(webhook: &Webhook, output: Output) -> Result<(), CliError> {
    let document = documents::Webhook::from(webhook);
    print_document(&document, output)
}
