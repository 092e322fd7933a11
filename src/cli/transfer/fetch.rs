//! Fetches a finished output: resumes where an earlier attempt stopped, and
//! verifies the file as a whole.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    sync::Arc,
    time::Instant,
};

use reelraft_proto::{
    documents::job_state,
    v1::{FetchPart, FetchRequest, Job, JobState, Task},
};
use tonic::Status;

use crate::{
    client::{Client, RetryBudget, next_message, open_stream},
    error::{CliError, os_reason},
    job_end::outcome,
    limits::{HASH_BLOCK_BYTES, STREAM_SILENCE_MS},
    render::progress::{Meter, bytes_line},
    transfer::{
        on_thread::on_thread,
        output_file::{OutputFile, hint_for, unwritable},
        part_file::{PartFile, sync_folder},
    },
};

/// Fetches a finished job's output. An `OUT` that is that very output already
/// is left as it is.
///
/// # Errors
/// [`CliError::NotFinished`] or the job's own failure if there is no output,
/// [`CliError::OutputUnwritable`], [`CliError::OutputDiffers`], or that no node
/// serves.
pub async fn fetch(client: &mut Client, job: &Job, output: OutputFile) -> Result<(), CliError> {
    client.follow_job();
    client.screen().on_interrupt(format!(
        "the job keeps its output; {} goes on where this stopped",
        output.fetch_command(&job.id)
    ));
    let result = fetch_into(client, job, output).await;
    client.screen().clear();
    result
}

async fn fetch_into(client: &mut Client, job: &Job, output: OutputFile) -> Result<(), CliError> {
    outcome(job)?;
    if job.state() != JobState::Succeeded {
        return Err(CliError::NotFinished {
            job: job.id.clone(),
            state: job_state(job.state),
        });
    }
    into(client, &Stored::output(job), output).await
}

/// Fetches a part of an output while it is kept.
///
/// # Errors
/// Those of [`fetch`].
pub async fn fetch_part(
    client: &mut Client,
    job: &str,
    task: &Task,
    output: OutputFile,
) -> Result<(), CliError> {
    let stored = Stored {
        request: FetchRequest {
            job: job.to_string(),
            kind: task.kind.clone(),
            number: task.number,
            ..Default::default()
        },
        name: format!("{job}.{}-{}", task.kind, task.number),
        bytes: task.bytes_out,
        hash: task.hash.clone(),
    };
    let result = into(client, &stored, output).await;
    client.screen().clear();
    result
}

/// Fetches a film of what is encoded of a job's beginning; its size and its BLAKE3.
///
/// # Errors
/// Those of [`fetch`].
pub async fn fetch_preview(
    client: &mut Client,
    job: &str,
    seconds: u32,
    output: OutputFile,
) -> Result<(u64, String), CliError> {
    output.refuse_existing()?;
    let request = FetchRequest {
        job: job.to_string(),
        preview_ms: u64::from(seconds) * 1000,
        ..Default::default()
    };
    let part = PartFile::open(output, &format!("{job}.preview"))?;
    let mut retries = RetryBudget::default();
    let whole = loop {
        // Another node makes it anew, perhaps of more of the film.
        match receive(client, &request, &part).await? {
            Ok(whole) => break whole,
            Err(status) => client.retry_or_fail(&mut retries, &status).await?,
        }
    };
    client.screen().clear();
    on_thread("writing the preview", move || part.finish()).await??;
    Ok(whole)
}

/// Receives a preview from its beginning; its size and its hash, which were checked.
async fn receive(
    client: &mut Client,
    request: &FetchRequest,
    part: &PartFile,
) -> Result<Result<(u64, String), Status>, CliError> {
    let mut parts = match open(client, request, 0).await {
        Ok(parts) => parts,
        Err(status) => return Ok(Err(status)),
    };
    let mut file = &*part.file;
    file.set_len(0).map_err(|error| part.failed(&error))?;
    file.rewind().map_err(|error| part.failed(&error))?;
    let (mut total, mut promised, mut at) = (0, String::new(), 0);
    let mut hasher = blake3::Hasher::new();
    loop {
        let piece = match next_message(&mut parts, STREAM_SILENCE_MS).await {
            Ok(Some(piece)) => piece,
            Ok(None) if at == total && !promised.is_empty() => break,
            Ok(None) => return Ok(Err(Status::unavailable("the node broke the fetch off"))),
            Err(status) => return Ok(Err(status)),
        };
        if promised.is_empty() {
            (total, promised) = (piece.total_bytes, piece.hash.clone());
        }
        check(&piece, at, total)?;
        file.write_all(&piece.data)
            .map_err(|error| part.failed(&error))?;
        hasher.update(&piece.data);
        at += piece.data.len() as u64;
    }
    let found = hasher.finalize().to_hex().to_string();
    if found != promised {
        return Err(CliError::OutputDiffers {
            job: request.job.clone(),
            found,
            promised,
        });
    }
    Ok(Ok((total, promised)))
}

/// What is fetched: its size and hash were told before.
struct Stored {
    /// Of its first byte.
    request: FetchRequest,
    /// Names the partial file.
    name: String,
    bytes: u64,
    hash: String,
}

impl Stored {
    fn output(job: &Job) -> Self {
        Stored {
            request: FetchRequest {
                job: job.id.clone(),
                ..Default::default()
            },
            name: job.id.clone(),
            bytes: job.output_bytes,
            hash: job.output_hash.clone(),
        }
    }
}

async fn into(client: &mut Client, stored: &Stored, output: OutputFile) -> Result<(), CliError> {
    if is_there(client, stored, &output).await? {
        let name = output.out.display();
        client
            .screen()
            .notice(&format!("{name} is there already, the same byte for byte"));
        return Ok(());
    }
    output.refuse_existing()?;
    let part = PartFile::open(output, &stored.name)?;
    let had = part.file.metadata().map_err(|e| part.failed(&e))?.len();
    let resumed = had > 0 && had <= stored.bytes;
    let mut found = copy(client, stored, &part, if resumed { had } else { 0 }).await?;
    if resumed && found != stored.hash {
        client
            .screen()
            .notice("the partial file is from another output, starting over");
        found = copy(client, stored, &part, 0).await?;
    }
    if found != stored.hash {
        // The bytes are wrong: no later attempt may resume from them.
        part.file.set_len(0).map_err(|e| part.failed(&e))?;
        return Err(CliError::OutputDiffers {
            job: stored.request.job.clone(),
            found,
            promised: stored.hash.clone(),
        });
    }
    if client.screen().due() {
        client.screen().progress("syncing the output to the disk");
    }
    on_thread("writing the output", move || part.finish()).await?
}

/// Whether `OUT` is the whole of it already.
async fn is_there(
    client: &mut Client,
    stored: &Stored,
    output: &OutputFile,
) -> Result<bool, CliError> {
    let length = std::fs::symlink_metadata(&output.out)
        .ok()
        .filter(|found| found.is_file())
        .map(|found| found.len());
    let Some(file) = File::open(&output.out)
        .ok()
        .filter(|_| length == Some(stored.bytes))
    else {
        return Ok(false);
    };
    // A file that can't be read is not known to be the output.
    let file = Arc::new(file);
    let hashed = hash_start(client, file.clone(), stored.bytes).await?;
    if !hashed.is_ok_and(|hasher| hasher.finalize().to_hex().as_str() == stored.hash) {
        return Ok(false);
    }
    // Who wrote it may have been killed before that was on the disk.
    let synced = on_thread("syncing the output", move || file.sync_all()).await?;
    synced.map_err(|error| unwritable(&output.out, &os_reason(&error), hint_for(&error)))?;
    sync_folder(output)?;
    Ok(true)
}

/// Fills the partial file from `start` to its full length; returns the hash of
/// the whole file.
async fn copy(
    client: &mut Client,
    stored: &Stored,
    part: &PartFile,
    start: u64,
) -> Result<String, CliError> {
    let mut file = &*part.file;
    file.set_len(start).map_err(|error| part.failed(&error))?;
    let mut hasher = hash_start(client, part.file.clone(), start)
        .await?
        .map_err(|error| part.failed(&error))?;
    file.seek(SeekFrom::Start(start))
        .map_err(|error| part.failed(&error))?;

    let total = stored.bytes;
    let mut at = start;
    let mut meter = Meter::default();
    let mut retries = RetryBudget::default();
    while at < total {
        let status = match open(client, &stored.request, at).await {
            Err(status) => status,
            Ok(mut parts) => loop {
                let piece = match next_message(&mut parts, STREAM_SILENCE_MS).await {
                    Ok(Some(piece)) => piece,
                    // An early end is as good as a node that is gone.
                    Ok(None) => break Status::unavailable("the node broke the fetch off"),
                    Err(status) => break status,
                };
                check(&piece, at, total)?;
                // Written right here: this program has nothing else to do, and
                // a write to the page cache is faster than a hop to a thread.
                file.write_all(&piece.data)
                    .map_err(|error| part.failed(&error))?;
                hasher.update(&piece.data);
                at += piece.data.len() as u64;
                if !piece.data.is_empty() {
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
    request: &FetchRequest,
    offset: u64,
) -> Result<tonic::Streaming<FetchPart>, Status> {
    let mut jobs = client.jobs().await?;
    let request = FetchRequest {
        offset,
        ..request.clone()
    };
    open_stream(jobs.fetch(request)).await
}

/// Hashes the first `bytes` of a local file, and shows how far it is.
async fn hash_start(
    client: &Client,
    file: Arc<File>,
    bytes: u64,
) -> Result<io::Result<blake3::Hasher>, CliError> {
    let screen = client.screen().clone();
    on_thread("reading the output", move || {
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; HASH_BLOCK_BYTES];
        let mut meter = Meter::default();
        let mut at = 0;
        while at < bytes {
            let want = usize::try_from(bytes - at).unwrap_or(HASH_BLOCK_BYTES);
            let length = want.min(HASH_BLOCK_BYTES);
            file.read_exact_at(&mut block[..length], at)?;
            hasher.update(&block[..length]);
            at += length as u64;
            meter.record(Instant::now(), at);
            if screen.due() {
                let speed = meter.milli_per_second();
                screen.progress(&bytes_line("checking", at, bytes, speed));
            }
        }
        Ok(hasher)
    })
    .await
}
