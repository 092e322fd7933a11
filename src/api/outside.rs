//! What a job takes from the outside and sends there: its source behind a URL, its
//! webhook and output URL, and the log of what was sent.

use reelraft_model::{
    Delivery, Job, JobState, Outside, Problem, job_id,
    limits::{OUTSIDE_LEVEL, URL_BYTES_MAX},
    shown_url,
};

use super::{Api, Consistency, SubmitRequest, bad_request, submit::tenant_of};
use crate::outside::{Found, check, look};

impl Api {
    /// What a request has to do with the outside. Of a source behind a URL, its
    /// length and name are asked for and put into the request; of one whose job
    /// exists they are those of the job.
    ///
    /// # Errors
    /// `bad-url`, `refused-address`, `source-unreachable`, `source-refused`,
    /// `source-length-unknown`, `no-webhook-secret`, `mixed-versions`.
    pub(super) async fn outside_of(
        &self,
        request: &mut SubmitRequest,
    ) -> Result<Option<Outside>, Problem> {
        let SubmitRequest {
            source_url,
            webhook_url,
            output_url,
            ..
        } = &*request;
        if [source_url, webhook_url, output_url]
            .iter()
            .all(|url| url.is_empty())
        {
            return Ok(None);
        }
        let tenant = tenant_of(&request.tenant);
        let mut outside = Outside {
            source_url: source_url.clone(),
            webhook_url: webhook_url.clone(),
            output_url: output_url.clone(),
            ..Default::default()
        };
        self.check_outside_level()?;
        self.check_url("output_url", output_url)?;
        self.check_url("webhook_url", webhook_url)?;
        if !webhook_url.is_empty() {
            self.check_secret(tenant).await?;
        }
        if !source_url.is_empty() {
            self.check_url("source_url", source_url)?;
            let id = job_id(tenant, &request.request_id);
            outside.source_validator = self.find_source(&id, request).await?;
        }
        Ok(Some(outside))
    }

    /// Refuses what no node could ever ask for; none is no URL to refuse.
    pub(super) fn check_url(&self, what: &str, url: &str) -> Result<(), Problem> {
        if url.is_empty() {
            return Ok(());
        }
        let url = check(what, url)?;
        self.context.outside.check(&url).map_err(|error| {
            let hint = "give a public address, or have --allow-addresses set for this one";
            Problem::new("refused-address", format!("the {what}: {error}"), hint)
        })
    }

    pub(super) fn check_outside_level(&self) -> Result<(), Problem> {
        match self.table().local().feature_level() >= OUTSIDE_LEVEL {
            true => Ok(()),
            false => Err(Problem::new(
                "mixed-versions",
                "some node was last seen with a version that knows no URLs and webhooks",
                "start it with the version of the others; `reelraft cluster status` lists the nodes",
            )),
        }
    }

    async fn check_secret(&self, tenant: &str) -> Result<(), Problem> {
        let state = self.state(Consistency::Linearizable).await?;
        match state.webhook(tenant) {
            Some(_) => Ok(()),
            None => Err(Problem::new(
                "no-webhook-secret",
                format!("tenant '{tenant}' has no secret to sign webhooks with"),
                "make one with `reelraft webhook set`, also without a URL",
            )),
        }
    }

    /// Fills in what a source is; gives what tells whether it changes.
    async fn find_source(&self, id: &str, request: &mut SubmitRequest) -> Result<String, Problem> {
        if request.source_bytes != 0 || !request.source_fingerprint.is_empty() {
            return Err(bad_request(
                "both a source_url and what the source is are given",
                "leave the size out: the node asks for it",
            ));
        }
        request.source_fingerprint = fingerprint(&request.source_url);
        let state = self.state(Consistency::Linearizable).await?;
        let known = state.job(id).map(|entry| &entry.job);
        let same = known.filter(|job| job.source_fingerprint == request.source_fingerprint);
        if let Some(job) = same {
            request.source_bytes = job.source_bytes;
            request.source_name = job.source_name.clone();
            return Ok(String::new());
        }
        drop(state);
        let url = check("source_url", &request.source_url)?;
        let found = look(&self.context.outside, &url).await;
        let Found {
            bytes,
            name,
            validator,
        } = found.map_err(|error| error.problem(&request.source_url))?;
        request.source_bytes = bytes;
        if request.source_name.is_empty() {
            request.source_name = name;
        }
        Ok(validator)
    }

    /// What was or is to be sent for a job, each with its latest attempts.
    ///
    /// # Errors
    /// `not-found`, and what keeps the cluster from reading.
    pub async fn deliveries(&self, id: &str) -> Result<Vec<Delivery>, Problem> {
        let entry = self.entry(id, Consistency::Linearizable).await?;
        Ok(entry.job.deliveries().to_vec())
    }
}

/// Names a source whose bytes nobody has seen yet: by its URL alone, so that a
/// repeated request finds its job also when the file is gone.
fn fingerprint(url: &str) -> String {
    blake3::hash(format!("url {url}").as_bytes())
        .to_hex()
        .to_string()
}

/// Why a job whose source is fetched waits; empty if it does not.
pub(super) fn fetch_words(job: &Job) -> String {
    let home = job.current_homes().next();
    match (job.state(), job.fetches_from(), home) {
        (JobState::Uploading, Some(url), Some(home)) => {
            format!("node {} fetches {}", home.node, shown_url(url))
        }
        _ => String::new(),
    }
}

const _: () = assert!(URL_BYTES_MAX <= 4 << 10, "three of them fit into a row");
