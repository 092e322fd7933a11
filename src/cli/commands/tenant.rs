//! `reelraft tenant …`: how much each tenant has, and may have.

use clap::{Args, Subcommand};
use reelraft_proto::{
    documents,
    v1::{Quota, SetQuotaRequest, TenantRef},
};

use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// The subcommands of `tenant`.
#[derive(Subcommand, Clone, Debug)]
pub enum TenantCommand {
    /// Show what a tenant has, and what it may have
    Show {
        /// The tenant
        #[arg(value_name = "NAME")]
        tenant: String,
    },
    /// Change what a tenant may have; takes the cluster's secret
    Set(SetArgs),
}

/// Arguments of `tenant set`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft tenant set studio --jobs 500 --requests-per-second 20
  reelraft tenant set studio --reset")]
pub struct SetArgs {
    /// The tenant
    #[arg(value_name = "NAME")]
    tenant: String,
    /// Jobs, those that have ended included, until they are deleted
    #[arg(long, value_name = "COUNT")]
    jobs: Option<u64>,
    /// Bytes of unfinished jobs' sources, and of outputs
    #[arg(long, value_name = "COUNT")]
    bytes: Option<u64>,
    /// Unfinished uploads
    #[arg(long, value_name = "COUNT")]
    uploads: Option<u64>,
    /// Requests a second to each node
    #[arg(long, value_name = "COUNT")]
    requests_per_second: Option<u32>,
    /// Give back what was set before, so that the defaults hold
    #[arg(long)]
    reset: bool,
}

/// Runs one `tenant` subcommand.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(
    client: &mut Client,
    command: TenantCommand,
    output: Output,
) -> Result<(), CliError> {
    let tenant = match command {
        TenantCommand::Show { tenant } => {
            let request = TenantRef { tenant };
            client
                .call_access(request, async |mut access, request| {
                    access.show_tenant(request).await
                })
                .await?
        }
        TenantCommand::Set(args) => set(client, args).await?,
    };
    print(&match output {
        Output::Json => json::line(&documents::Tenant::from(&tenant)),
        Output::Table => table::tenant(&tenant),
    })
}

async fn set(client: &mut Client, args: SetArgs) -> Result<reelraft_proto::v1::Tenant, CliError> {
    let quota = Quota {
        jobs: args.jobs,
        bytes: args.bytes,
        uploads: args.uploads,
        requests_per_second: args.requests_per_second,
    };
    if quota == Quota::default() && !args.reset {
        let hint = "give --jobs, --bytes, --uploads, --requests-per-second or --reset";
        return Err(CliError::usage("nothing is to be set", hint));
    }
    let request = SetQuotaRequest {
        tenant: args.tenant,
        quota: Some(quota),
        reset: args.reset,
    };
    client
        .call_access(request, async |mut access, request| {
            access.set_quota(request).await
        })
        .await
}
