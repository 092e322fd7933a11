//! `reelraft key …`: who may ask the cluster besides its operator.

use clap::{Args, Subcommand, ValueEnum};
use reelraft_proto::{
    documents,
    v1::{CreateKeyRequest, CreatedKey, KeyRef, ListKeysRequest},
};

use super::{duration::duration, job::pages::next_page};
use crate::{
    client::Client,
    error::CliError,
    limits::PAGE_ROWS,
    render::{Output, json, screen::print, table},
};

/// The subcommands of `key`.
#[derive(Subcommand, Clone, Debug)]
pub enum KeyCommand {
    /// Make a key and print it: it is shown this once
    Create(CreateArgs),
    /// List keys
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// End a key for good
    #[command(visible_alias = "rm")]
    Revoke {
        /// The key's id, as `key list` shows it
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Arguments of `key create`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft key create ci
  reelraft key create dashboard --scope read --tenant studio --expires 90d")]
pub struct CreateArgs {
    /// What to call it; no other key of its tenant has the name
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose jobs it opens [default: the tenant of the key that asks, else default]
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// What it allows; each allows what those before it do
    #[arg(long, value_enum, default_value_t = Scope::Submit)]
    scope: Scope,
    /// After which time it is refused, such as 90d [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires: Option<std::time::Duration>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Scope {
    /// See jobs and fetch what they made
    Read,
    /// Make, cancel and delete jobs
    Submit,
    /// Manage the tenant's keys and webhook
    Admin,
}

/// Arguments of `key list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Only this tenant's keys
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

/// Runs one `key` subcommand.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, command: KeyCommand, output: Output) -> Result<(), CliError> {
    match command {
        KeyCommand::Create(args) => create(client, args, output).await,
        KeyCommand::List(args) => list(client, args, output).await,
        KeyCommand::Revoke { id } => {
            let request = KeyRef { id };
            let revoked = client
                .call_access(request, async |mut access, request| {
                    access.revoke_key(request).await
                })
                .await?;
            print(&match output {
                Output::Json => json::line(&documents::Key::from(&revoked)),
                Output::Table => table::keys(&[revoked]),
            })
        }
    }
}

async fn create(client: &mut Client, args: CreateArgs, output: Output) -> Result<(), CliError> {
    let expires_in_s = match args.expires {
        None => 0,
        Some(time) if time.as_secs() == 0 => {
            let hint = "give a longer time, or leave --expires out";
            return Err(CliError::usage("the key would expire at once", hint));
        }
        Some(time) => time.as_secs(),
    };
    let scope = match args.scope {
        Scope::Read => "read",
        Scope::Submit => "submit",
        Scope::Admin => "admin",
    };
    let request = CreateKeyRequest {
        name: args.name,
        tenant: args.tenant.unwrap_or_default(),
        scope: scope.into(),
        expires_in_s,
        // A call whose answer is lost is made again, and must find its key.
        text: drawn_key(),
    };
    let CreatedKey { key, text } = client
        .call_access(request, async |mut access, request| {
            access.create_key(request).await
        })
        .await?;
    let key = key.unwrap_or_default();
    match output {
        Output::Json => print(&json::line(&documents::CreatedKey::new(&key, &text))),
        Output::Table => {
            client.screen().notice(&format!(
                "key {} of tenant {} may {scope}; it is shown this once, give it as REELRAFT_KEY",
                key.id, key.tenant
            ));
            print(&format!("{text}\n"))
        }
    }
}

/// A key's text, of random digits.
fn drawn_key() -> String {
    let id = rand::random::<u64>() >> 16;
    let secret = rand::random::<[u128; 2]>();
    format!("rrk_{id:012x}_{:032x}{:032x}", secret[0], secret[1])
}

async fn list(client: &mut Client, args: ListArgs, output: Output) -> Result<(), CliError> {
    let mut request = ListKeysRequest {
        tenant: args.tenant.unwrap_or_default(),
        page_size: PAGE_ROWS,
        ..Default::default()
    };
    let mut keys = Vec::new();
    loop {
        let page = client
            .call_access(request.clone(), async |mut access, request| {
                access.list_keys(request).await
            })
            .await?;
        keys.extend(page.keys);
        match next_page(&request.page_token, page.next_page_token)? {
            Some(token) => request.page_token = token,
            None => break,
        }
    }
    print(&match output {
        Output::Json => json::line(&documents::KeyList::new(&keys, "")),
        Output::Table => table::keys(&keys),
    })
}
