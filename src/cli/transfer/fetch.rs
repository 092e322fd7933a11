//! Fetches a finished output: resumes where an earlier attempt stopped, and
//! verifies the file as a whole.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    time::Instant,
};

use reelraft_proto::v1::{FetchPart, FetchRequest, Job, JobState};
use tonic::Status;

use crate::{
    client::{Client, RetryBudget, open_stream},
    error::CliError,
    job_end::outcome,
    limits::HASH_BLOCK_BYTES,
    render::{
        format::job_state,
        progress::{Meter, bytes_line},
    },
    transfer::output_file::OutputFile,
};

/// Fetches a finished job's output.
///
/// # Errors
/// [`CliError::NotFinished`] or the job's own failure if there is no output,
/// [`CliError::OutputUnwritable`], [`CliError::OutputDiffers`], or that no node
/// serves.
pub async fn fetch(client: &mut Client, job: &Job, output: OutputFile) -> Result<(), CliError> {
    client.follow_job();
    let result = fetch_into(client, job, &output).await;
    client.screen().clear();
    result
}

async fn fetch_into(client: &mut Client, job: &Job, output: &OutputFile) -> Result<(), CliError> {
    outcome(job)?;
    if job.state() != JobState::Succeeded {
        return Err(CliError::NotFinished {
            job: job.id.clone(),
            state: job_state(job.state),
        });
    }
    let had = output.file.metadata().map_err(|e| output.failed(&e))?.len();
    let resumed = had > 0 && had <= job.output_bytes;
    let mut found = copy(client, job, output, if resumed { had } else { 0 }).await?;
    if resumed && found != job.output_hash {
        client
            .screen()
            .notice("the partial file is from another output, starting over");
        found = copy(client, job, output, 0).await?;
    }
    if found != job.output_hash {
        // The bytes are wrong: no later attempt may resume from them.
        output.file.set_len(0).map_err(|e| output.failed(&e))?;
        return Err(CliError::OutputDiffers {
            job: job.id.clone(),
            found,
            promised: job.output_hash.clone(),
        });
    }
    output.finish().map_err(|error| output.failed(&error))
}

/// Fills the partial file from `start` to its full length; returns the hash of
/// the whole file.
async fn copy(
    client: &mut Client,
    job: &Job,
    output: &OutputFile,
    start: u64,
) -> Result<String, CliError> {
    let mut file = &output.file;
    let mut hasher = blake3::Hasher::new();
    let prepared = file
        .set_len(start)
        .and_then(|()| hash_start(file, start, &mut hasher))
        .and_then(|()| file.seek(SeekFrom::Start(start)));
    prepared.map_err(|error| output.failed(&error))?;

    let total = job.output_bytes;
    let mut at = start;
    let mut meter = Meter::default();
    let mut retries = RetryBudget::default();
    while at < total {
        let status = match open(client, &job.id, at).await {
            Err(status) => status,
            Ok(mut parts) => loop {
                let part = match parts.message().await {
                    Ok(Some(part)) => part,
                    // An early end is as good as a node that is gone.
                    Ok(None) => break Status::unavailable("the node broke the fetch off"),
                    Err(status) => break status,
                };
                check(&part, at, total)?;
                // Written right here: this program has nothing else to do, and
                // a write to the page cache is faster than a hop to a thread.
                file.write_all(&part.data)
                    .map_err(|error| output.failed(&error))?;
                hasher.update(&part.data);
                at += part.data.len() as u64;
                if !part.data.is_empty() {
                    client.record_progress(&mut retries);
                }
                meter.record(Instant::now(), at);
                if client.screen().due() {
                    let line = bytes_line("fetching", at, total, meter.milli_per_second());
                    client.screen().progress(&line);
                }
                if at == total {
                    break Status::ok("");
                }
            },
        };
        if at < total {
            client.retry_or_fail(&mut retries, &status).await?;
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn check(part: &FetchPart, at: u64, total: u64) -> Result<(), CliError> {
    let end = at.checked_add(part.data.len() as u64);
    let what = if part.offset != at {
        format!("bytes from {} on instead of {at}", part.offset)
    } else if end.is_none_or(|end| end > total) {
        format!("more than the output's {total} bytes")
    } else {
        return Ok(());
    };
    Err(CliError::Nonsense { what })
}

async fn open(
    client: &mut Client,
    job: &str,
    offset: u64,
) -> Result<tonic::Streaming<FetchPart>, Status> {
    let mut jobs = client.jobs().await?;
    let request = FetchRequest {
        job: job.to_string(),
        offset,
    };
    open_stream(jobs.fetch(request)).await
}

/// Feeds the first `bytes` of a file to a hasher.
fn hash_start(file: &File, bytes: u64, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let mut block = vec![0; HASH_BLOCK_BYTES];
    let mut at = 0;
    while at < bytes {
        let want = usize::try_from(bytes - at).unwrap_or(HASH_BLOCK_BYTES);
        let length = want.min(HASH_BLOCK_BYTES);
        file.read_exact_at(&mut block[..length], at)?;
        hasher.update(&block[..length]);
        at += length as u64;
    }
    Ok(())
}
