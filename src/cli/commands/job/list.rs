//! `reelraft job list`: a page of jobs, or all of them.

use clap::Args;
use reelraft_proto::v1::{Job, ListRequest};

use super::pages::next_page;
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
  reelraft job list --tenant default --all -o json")]
pub struct ListArgs {
    /// Only this tenant's jobs
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
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
    let mut request = ListRequest {
        tenant: args.tenant.unwrap_or_default(),
        page_size: if args.all { PAGE_ROWS } else { args.limit },
        page_token: args.page_token.unwrap_or_default(),
        local: args.local,
    };
    let mut rows: Vec<Job> = Vec::new();
    let token = loop {
        let page = client
            .call(request.clone(), async |mut jobs, request| {
                jobs.list(request).await
            })
            .await?;
        rows.extend(page.jobs);
        if !args.all {
            break page.next_page_token;
        }
        match next_page(&request.page_token, page.next_page_token)? {
            Some(token) => request.page_token = token,
            None => break String::new(),
        }
    };
    print(&match output {
        Output::Json => json::line(&json::JobList::new(&rows, &token)),
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
