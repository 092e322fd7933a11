//! What a job takes from the outside and sends there: its source behind a URL, its
//! webhook and output URL, and the log of what was sent.

use reelraft_model::{Delivery, Outside, Problem, Scope, limits::OUTSIDE_LEVEL};

use super::{Api, Consistency};
use crate::outside::{Found, REFUSED_HINT, Url, check, is_bucket, look};

/// What a request says of the outside.
pub(super) struct Asked<'a> {
    pub tenant: &'a str,
    /// The job's id.
    pub job: &'a str,
    pub source_url: &'a str,
    pub webhook_url: &'a str,
    pub output_url: &'a str,
}

/// A source behind a URL, as a request for a job says what it is.
pub(super) struct KnownSource {
    pub bytes: u64,
    pub name: String,
    pub fingerprint: String,
    validator: String,
}

impl Api {
    /// What a job has to do with the outside, and of a source behind a URL what it
    /// is: its length and name are asked for. Those of a job that exists are the
    /// job's.
    ///
    /// # Errors
    /// `bad-url`, `refused-address`, `source-unreachable`, `source-refused`,
    /// `source-length-unknown`, `no-webhook-secret`, `mixed-versions`.
    pub(super) async fn outside_of(
        &self,
        asked: Asked<'_>,
    ) -> Result<(Option<Outside>, Option<KnownSource>), Problem> {
        let Asked {
            source_url,
            webhook_url,
            output_url,
            ..
        } = asked;
        if [source_url, webhook_url, output_url]
            .iter()
            .all(|url| url.is_empty())
        {
            return Ok((None, None));
        }
        let mut outside = Outside {
            source_url: source_url.to_string(),
            webhook_url: webhook_url.to_string(),
            output_url: output_url.to_string(),
            ..Default::default()
        };
        self.check_outside_level()?;
        let output = self.check_url("output_url", output_url, Some(asked.tenant))?;
        if let Some(output) = &output {
            self.check_output(output, source_url)?;
        }
        self.check_url("webhook_url", webhook_url, None)?;
        if !webhook_url.is_empty() {
            self.check_secret(asked.tenant).await?;
        }
        let Some(url) = self.check_url("source_url", source_url, Some(asked.tenant))? else {
            return Ok((Some(outside), None));
        };
        let source = self.find_source(asked.job, source_url, &url).await?;
        outside.source_validator = source.validator.clone();
        Ok((Some(outside), Some(source)))
    }

    /// Refuses what no node could ever ask for, and a bucket that is not this
    /// `tenant`'s to name, or that nobody may name here; no text is no URL to refuse.
    pub(super) fn check_url(
        &self,
        what: &str,
        url: &str,
        tenant: Option<&str>,
    ) -> Result<Option<Url>, Problem> {
        if url.is_empty() {
            return Ok(None);
        }
        let url = check(what, url, tenant.is_some())?;
        if is_bucket(&url) {
            let name = url.host_str().unwrap_or_default();
            let may = self
                .context()
                .outside
                .buckets()
                .may(name, tenant.unwrap_or_default());
            if may != Some(true) {
                // A tenant is not told of others' buckets.
                return Err(Problem::new(
                    "unknown-bucket",
                    format!("the {what} names a bucket '{name}' that this node does not know"),
                    "ask the operator for its name in the file of --s3-buckets",
                ));
            }
        }
        self.context().outside.check(&url).map_err(|error| {
            let cause = format!("the {what}: {error}");
            Problem::new("refused-address", cause, REFUSED_HINT)
        })?;
        Ok(Some(url))
    }

    /// The place in a bucket that an operator names, whoever else may name it.
    pub(super) fn check_bucket(&self, url: &str) -> Result<Url, Problem> {
        let url = check("backup's place", url, true)?;
        match is_bucket(&url) {
            true => Ok(url),
            false => Err(Problem::new(
                "bad-url",
                "a node puts backups into buckets alone",
                "give s3://NAME/KEY, or the name of a file here",
            )),
        }
    }

    /// Refuses an output over its own source, and one into a bucket that is only read.
    fn check_output(&self, output: &Url, source_url: &str) -> Result<(), Problem> {
        let buckets = self.context().outside.buckets();
        let same = |source: &Url| source == output || buckets.same_object(source, output);
        if Url::parse(source_url).as_ref().is_ok_and(same) {
            return Err(Problem::new(
                "bad-url",
                "the output_url is the source_url, and the source would be lost",
                "give the output another name",
            ));
        }
        let name = output.host_str().unwrap_or_default();
        match is_bucket(output) && !buckets.may_write(name) {
            true => Err(Problem::new(
                "read-only-bucket",
                format!("the output_url names the bucket '{name}', which this node only reads"),
                "name another, or have the operator give it write = true",
            )),
            false => Ok(()),
        }
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
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        match seen.whole().webhook(tenant) {
            Some(_) => Ok(()),
            None => Err(Problem::new(
                "no-webhook-secret",
                format!("tenant '{tenant}' has no secret to sign webhooks with"),
                "make one with `reelraft webhook set`, also without a URL",
            )),
        }
    }

    async fn find_source(
        &self,
        job: &str,
        source_url: &str,
        url: &Url,
    ) -> Result<KnownSource, Problem> {
        let fingerprint = fingerprint(source_url);
        let seen = self.seen(Scope::Submit, Consistency::Linearizable).await?;
        if let Ok(known) = seen.remembered(job)
            && known.job.source_fingerprint == fingerprint
        {
            return Ok(KnownSource {
                bytes: known.job.source_bytes,
                name: known.job.source_name.clone(),
                fingerprint,
                validator: String::new(),
            });
        }
        drop(seen);
        let found = look(&self.context().outside, url).await;
        let Found {
            bytes,
            name,
            validator,
        } = found.map_err(|error| error.problem(source_url))?;
        Ok(KnownSource {
            bytes,
            name,
            fingerprint,
            validator,
        })
    }

    /// What was or is to be sent for a job, each with its latest attempts.
    ///
    /// # Errors
    /// `not-found`, and what keeps the cluster from reading.
    pub async fn deliveries(&self, id: &str) -> Result<Vec<Delivery>, Problem> {
        let entry = self
            .entry(Scope::Read, id, Consistency::Linearizable)
            .await?;
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
