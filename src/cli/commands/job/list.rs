//! `reelraft job list`: a page of jobs, or all of them.

use clap::Args;
use reelraft_proto::{documents, v1::ListRequest};

use super::pages::all_jobs;
use crate::{
    client::Client,
    error::CliError,
    limits::PAGE_ROWS,
    render::{Output, format::shell_quoted, json, screen::print, table},
};

/// Arguments of `job list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft job list
  reelraft job list --state encoding,failed
  reelraft job list --tenant default --all -o json")]
pub struct ListArgs {
    /// Only this tenant's jobs
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// Only jobs in these states
    #[arg(long, value_name = "STATE,…", value_delimiter = ',')]
    pub state: Vec<String>,
    /// Only jobs whose source's name has this in it
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Jobs on this page
    #[arg(long, value_name = "ROWS", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Continue after an earlier page, with the token it ended with
    #[arg(long, value_name = "TOKEN", conflicts_with = "all")]
    pub page_token: Option<String>,
    /// All pages at once
    #[arg(long)]
    pub all: bool,
    /// As one node knows them, however old: needs no quorum
    #[arg(long)]
    pub local: bool,
}

/// Runs `job list`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, args: ListArgs, output: Output) -> Result<(), CliError> {
    let request = ListRequest {
        tenant: args.tenant.unwrap_or_default(),
        states: args.state,
        name: args.name.unwrap_or_default(),
        page_size: if args.all { PAGE_ROWS } else { args.limit },
        page_token: args.page_token.unwrap_or_default(),
        local: args.local,
    };
    let (rows, token) = if args.all {
        (all_jobs(client, request).await?, String::new())
    } else {
        let page = client
            .call(request, async |mut jobs, request| jobs.list(request).await)
            .await?;
        (page.jobs, page.next_page_token)
    };
    print(&match output {
        Output::Json => json::line(&documents::JobList::new(&rows, &token)),
        Output::Table => table::jobs(&rows),
    })?;
    if output == Output::Table && !token.is_empty() {
        client.screen().notice(&format!(
            "there are more: --page-token {}, or --all",
            shell_quoted(&token)
        ));
    }
    Ok(())
}
