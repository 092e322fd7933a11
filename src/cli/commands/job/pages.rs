//! Paging: from one page's token to the next, and all pages of the jobs.

use reelraft_proto::v1::{Job, ListRequest};

use crate::{client::Client, error::CliError};

/// The jobs of all pages from the request's on.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn all_jobs(client: &mut Client, mut request: ListRequest) -> Result<Vec<Job>, CliError> {
    let mut jobs = Vec::new();
    loop {
        let page = client
            .call(request.clone(), async |mut jobs, request| {
                jobs.list(request).await
            })
            .await?;
        jobs.extend(page.jobs);
        match next_page(&request.page_token, page.next_page_token)? {
            Some(token) => request.page_token = token,
            None => return Ok(jobs),
        }
    }
}

/// The token of the page to ask for after the one asked for with `token`;
/// `None` at the end of the list.
///
/// # Errors
/// [`CliError::Nonsense`] if a page points to itself: it would be asked for
/// forever.
pub fn next_page(token: &str, next: String) -> Result<Option<String>, CliError> {
    if next.is_empty() {
        return Ok(None);
    }
    if next == token {
        return Err(CliError::Nonsense {
            what: "a page that points to itself".into(),
        });
    }
    Ok(Some(next))
}
