//! `reelraft job watch`: a line for each change of a job, until it ends.

use reelraft_proto::documents;

use crate::{
    client::Client,
    error::CliError,
    job_end::outcome,
    render::{
        Output, json,
        progress::job_line,
        screen::{print, printable},
    },
    transfer::follow::follow,
};

/// Runs `job watch`.
///
/// # Errors
/// The node's refusal, or the job's own failure.
pub async fn run(client: &mut Client, job: &str, output: Output) -> Result<(), CliError> {
    client
        .screen()
        .on_interrupt("the job continues; the same command returns to it");
    let mut last = String::new();
    let ended = follow(client, job, |event| {
        let line = match (output, &event.job) {
            (Output::Json, _) => json::line(&documents::Event::from(event)),
            (Output::Table, Some(job)) => {
                let line = job_line(job, 0, usize::MAX);
                format!("{}\n", printable(&line))
            }
            (Output::Table, None) => return Ok(()),
        };
        if line == last {
            return Ok(());
        }
        print(&line)?;
        last = line;
        Ok(())
    })
    .await?;
    outcome(&ended)
}
