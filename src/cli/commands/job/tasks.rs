//! `reelraft job tasks`: every task of a job, page after page.

use reelraft_proto::{
    documents,
    v1::{Task, TasksRequest},
};

use super::pages::next_page;
use crate::{
    client::Client,
    error::CliError,
    limits::PAGE_ROWS,
    render::{Output, json, screen::print, table},
};

/// Runs `job tasks`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let mut request = TasksRequest {
        job,
        page_size: PAGE_ROWS,
        page_token: String::new(),
    };
    let mut rows: Vec<Task> = Vec::new();
    loop {
        let page = client
            .call(request.clone(), async |mut jobs, request| {
                jobs.tasks(request).await
            })
            .await?;
        rows.extend(page.tasks);
        match next_page(&request.page_token, page.next_page_token)? {
            Some(token) => request.page_token = token,
            None => break,
        }
    }
    print(&match output {
        Output::Json => json::line(&documents::TaskList::new(&rows, "")),
        Output::Table => table::tasks(&rows),
    })
}
