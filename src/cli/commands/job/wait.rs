//! `reelraft job wait`: returns when a job has ended, or its time is up.

use std::time::Duration;

use clap::Args;

use crate::{
    client::Client,
    error::CliError,
    job_end::outcome,
    render::{Output, json, screen::print},
    transfer::follow::follow_with_bar,
};

/// Arguments of `job wait`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 the job succeeded, 5 it failed or was cancelled, 6 the time is up.

Example:
  reelraft job wait ID --timeout 5m && reelraft job fetch ID out.mp4")]
pub struct WaitArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Longest wait, such as 90s, 5m or 2h [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub timeout: Option<Duration>,
}

/// Runs `job wait`.
///
/// # Errors
/// [`CliError::TimedOut`], the node's refusal, or the job's own failure.
pub async fn run(client: &mut Client, args: WaitArgs, output: Output) -> Result<(), CliError> {
    client
        .screen()
        .on_interrupt("the job continues; the same command returns to it");
    let screen = client.screen().clone();
    let following = follow_with_bar(client, &args.job);
    let job = match args.timeout {
        None => following.await?,
        Some(limit) => match tokio::time::timeout(limit, following).await {
            Ok(job) => job?,
            Err(_) => {
                screen.clear();
                return Err(CliError::TimedOut {
                    job: args.job,
                    after: format!("{limit:?}"),
                });
            }
        },
    };
    if output == Output::Json {
        print(&json::line(&json::Job::from(&job)))?;
    }
    outcome(&job)
}

/// A time limit as a user writes it: 90s, 5m, 2h, 1500ms; bare seconds too.
fn time_limit(text: &str) -> Result<Duration, String> {
    let bad = || "use a time such as 90s, 5m or 2h".to_string();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor_ms = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(bad()),
    };
    let value: u64 = digits.parse().map_err(|_| bad())?;
    value
        .checked_mul(factor_ms)
        // A timer can't hold more than a few centuries.
        .filter(|&ms| ms <= 100 * 365 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn time_limits_take_units() {
        assert_eq!(time_limit("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(time_limit("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(time_limit("7").unwrap(), Duration::from_secs(7));
        for bad in ["", "s", "-1s", "5 m", "1d", "99999999999h"] {
            assert!(time_limit(bad).is_err(), "{bad}");
        }
    }
}
