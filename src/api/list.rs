//! Listing jobs: which of them, and a page of these.

use std::sync::Arc;

use reelraft_model::{Job, JobEntry, JobState, Problem, Scope};

use super::{Api, Consistency, JobView, Page, bad_request, cluster::STATES, jobs::read_token};

/// Which jobs to list, the newest first.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Empty: all that the caller sees.
    pub tenant: String,
    /// In one of these states, by the words that users see; empty: in any.
    pub states: Vec<String>,
    /// A part of the source's name, in whatever case; empty: any name.
    pub name: String,
    /// At most so many; 0 takes the default.
    pub page_size: u32,
    /// From an earlier page; empty starts at the newest.
    pub page_token: String,
    pub consistency: Consistency,
}

/// What a request makes of a job.
struct Filter<'a> {
    tenant: &'a str,
    states: Vec<JobState>,
    name: String,
}

impl<'a> Filter<'a> {
    fn of(request: &ListRequest, tenant: &'a str) -> Result<Self, Problem> {
        let states = request.states.iter().map(|word| state(word));
        Ok(Filter {
            tenant,
            states: states.collect::<Result<_, _>>()?,
            name: request.name.to_lowercase(),
        })
    }

    fn takes(&self, job: &Job) -> bool {
        let state = job.state();
        state != JobState::Deleted
            && (self.states.is_empty() || self.states.contains(&state))
            && (self.tenant.is_empty() || job.tenant == self.tenant)
            && (self.name.is_empty() || job.source_name.to_lowercase().contains(&self.name))
    }
}

/// The state that a word names.
fn state(word: &str) -> Result<JobState, Problem> {
    let mut states = STATES.into_iter();
    states.find(|state| state.name() == word).ok_or_else(|| {
        let known = STATES.map(JobState::name).join(", ");
        bad_request(
            format!("there is no state '{word}'"),
            &format!("these are known: {known}"),
        )
    })
}

impl Api {
    /// A page of jobs, the newest first.
    ///
    /// # Errors
    /// `bad-request`, `forbidden` for another tenant's, and what keeps the
    /// cluster from reading.
    pub async fn list(&self, request: ListRequest) -> Result<Page<JobView>, Problem> {
        let filter = Filter::of(&request, self.tenant(Scope::Read, &request.tenant)?)?;
        let before = read_token(&request.page_token)?.unwrap_or(u64::MAX);
        let seen = self.seen(Scope::Read, request.consistency).await?;
        let matching = seen
            .newest_before(filter.tenant, before)
            .filter(|entry| filter.takes(&entry.job));
        let token = |entry: &Arc<JobEntry>| entry.job.created_index.to_string();
        let Page {
            items,
            next_page_token,
        } = Page::of(matching, request.page_size, token);
        Ok(Page {
            items: self.views(&items),
            next_page_token,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_filter_takes_what_fits_all_that_it_says() {
        let job = |state: JobState, tenant: &str, name: &str| Job {
            state: state.into(),
            tenant: tenant.into(),
            source_name: name.into(),
            ..Default::default()
        };
        let fits = |tenant: &str, states: &[&str], name: &str, job: &Job| {
            let request = ListRequest {
                tenant: tenant.into(),
                states: states.iter().map(ToString::to_string).collect(),
                name: name.into(),
                ..Default::default()
            };
            Filter::of(&request, &request.tenant).unwrap().takes(job)
        };
        let failed = job(JobState::Failed, "a", "Ärger.MOV");
        assert!(fits("", &[], "", &failed));
        assert!(fits("a", &["encoding", "failed"], "ärger.m", &failed));
        assert!(!fits("b", &[], "", &failed));
        assert!(!fits("", &["encoding"], "", &failed));
        assert!(!fits("", &[], "arger", &failed));
        assert!(!fits("", &[], "", &job(JobState::Deleted, "a", "a")));
        for word in ["deleted", "Failed", ""] {
            assert_eq!(state(word).unwrap_err().kind, "bad-request", "{word}");
        }
    }
}
