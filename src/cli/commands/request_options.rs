//! Options that several commands share: whose job it is, under which name a
//! repeated command finds the same job again (P5), and whether `OUT` may be
//! replaced.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::Args;
use reelraft_proto::v1::Spec;

use crate::{commands::duration::duration, transfer::submit::Submission};

/// Whose job it is, and how a retry differs from a new job.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Request")]
pub struct RequestArgs {
    /// Name of the request: repeating it finds the same job again, also after
    /// an interruption [default: a random one]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Whose job it is [default: the key's tenant, else default]
    #[arg(long, value_name = "NAME",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tenant: Option<String>,
    /// Have the end of the job told to this URL, signed with the tenant's secret
    /// (`reelraft webhook set` makes it)
    #[arg(long, value_name = "URL")]
    pub webhook_url: Option<String>,
    /// Have the output put to this URL with HTTP PUT, such as a signed one of S3
    #[arg(long, value_name = "URL")]
    pub output_url: Option<String>,
    /// From -10 to 10: jobs of a higher priority go first within their tenant
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i32).range(-10..=10))]
    pub priority: i32,
    /// How often a task's own failures are tried again before the job fails,
    /// from 0 to 10 [default: as the cluster judges]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=10))]
    pub max_retries: Option<u32>,
    /// In which time it should be done, such as 90m or 12h: among jobs of one priority
    /// within a tenant the one that is due first goes first
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub deadline: Option<Duration>,
}

/// The wall clock's time when that has passed.
fn from_now(time: Duration) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let at = now.unwrap_or_default().saturating_add(time).as_millis();
    u64::try_from(at).unwrap_or(u64::MAX)
}

/// What may be done to a file that is there.
#[derive(Args, Clone, Debug)]
pub struct ReplaceArgs {
    /// Replace OUT if it exists
    #[arg(short = 'y', long, visible_alias = "force")]
    pub overwrite: bool,
}

impl RequestArgs {
    /// The submission of a source under these options.
    pub fn submission(&self, source: PathBuf, spec: Spec) -> Submission {
        Submission {
            source,
            spec,
            tenant: self.tenant.clone().unwrap_or_default(),
            request_id: self.id(),
            webhook_url: self.webhook_url.clone().unwrap_or_default(),
            output_url: self.output_url.clone().unwrap_or_default(),
            priority: self.priority,
            max_retries: self.max_retries,
            deadline_unix_ms: self.deadline.map_or(0, from_now),
        }
    }

    /// The request id as given, or 128 random bits: two random ones never
    /// meet by accident.
    pub fn id(&self) -> String {
        match &self.request_id {
            Some(id) => id.clone(),
            None => format!("r{:032x}", rand::random::<u128>()),
        }
    }
}
