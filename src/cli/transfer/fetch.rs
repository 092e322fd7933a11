//! Fetching a finished output: into `OUT.part` first, from where an earlier try
//! stopped, verified as a whole, synced, and only then renamed to `OUT`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use reelraft_proto::v1::{FetchPart, FetchRequest, Job, JobState};
use tonic::Status;

use crate::{
    client::{Client, RetryBudget, open_stream},
    error::{CliError, os_reason},
    file_lock::try_lock,
    job_end::outcome,
    render::{
        format::job_state,
        progress::{Meter, bytes_line},
    },
    transfer::source::hash_start,
};

/// `OUT` and the partial file beside it, open and locked.
pub struct Target {
    out: PathBuf,
    part: PathBuf,
    file: File,
    /// Whether `OUT.part` was there before us.
    found: bool,
}

impl Target {
    /// Makes sure that `out` can be written before anything else is done.
    /// Keeps what an earlier try left in `OUT.part`.
    ///
    /// # Errors
    /// [`CliError::OutputUnwritable`].
    pub fn open(out: &Path) -> Result<Self, CliError> {
        if out == Path::new("-") {
            return Err(unwritable(
                out,
                "an output is verified as a file, it can't go to standard output",
                "give a file name, or ./- for a file of that name",
            ));
        }
        let Some(name) = out.file_name() else {
            return Err(unwritable(out, "it names no file", "give a file name"));
        };
        if out.is_dir() {
            return Err(unwritable(
                out,
                "it is a directory",
                "give a file name in it",
            ));
        }
        let mut part_name = name.to_os_string();
        part_name.push(".part");
        let part = out.with_file_name(part_name);
        let found = part.exists();
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&part);
        let file = opened.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::NotFound => "make its folder first",
                io::ErrorKind::PermissionDenied => "choose a folder you may write to",
                _ => "choose another place",
            };
            unwritable(out, &os_reason(&error), hint)
        })?;
        let locked = try_lock(&file)
            .map_err(|error| unwritable(out, &os_reason(&error), "choose another place"))?;
        if !locked {
            let cause = format!("another program is writing {}", part.display());
            return Err(unwritable(
                out,
                &cause,
                "wait for it, or choose another name",
            ));
        }
        Ok(Target {
            out: out.to_path_buf(),
            part,
            file,
            found,
        })
    }

    fn failed(&self, error: &io::Error) -> CliError {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => "make room and fetch again: it goes on where it stopped",
            _ => "check the disk and fetch again: it goes on where it stopped",
        };
        unwritable(&self.part, &os_reason(error), hint)
    }

    /// Syncs the file and its name: what is said to be there survives a power cut.
    fn finish(&self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.part, &self.out)?;
        let folder = match self.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

/// Takes an empty `OUT.part` of ours away again, also after Ctrl-C. One with
/// bytes stays, for the next try; after success the name is gone already.
impl Drop for Target {
    fn drop(&mut self) {
        let empty = self.file.metadata().is_ok_and(|meta| meta.len() == 0);
        if !self.found && empty {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

fn unwritable(path: &Path, cause: &str, hint: &str) -> CliError {
    CliError::OutputUnwritable {
        path: path.to_path_buf(),
        cause: cause.to_string(),
        hint: hint.to_string(),
    }
}

/// Fetches a finished job's output.
///
/// # Errors
/// [`CliError::NotFinished`] or the job's own failure if there is no output,
/// [`CliError::OutputUnwritable`], [`CliError::OutputDiffers`], or that no node
/// serves.
pub async fn fetch(client: &mut Client, job: &Job, target: Target) -> Result<(), CliError> {
    client.follow_job();
    let result = fetch_into(client, job, &target).await;
    client.screen().clear();
    result
}

async fn fetch_into(client: &mut Client, job: &Job, target: &Target) -> Result<(), CliError> {
    outcome(job)?;
    if job.state() != JobState::Succeeded {
        return Err(CliError::NotFinished {
            job: job.id.clone(),
            state: job_state(job.state),
        });
    }
    let had = target.file.metadata().map_err(|e| target.failed(&e))?.len();
    let resumed = had > 0 && had <= job.output_bytes;
    let mut found = copy(client, job, target, if resumed { had } else { 0 }).await?;
    if resumed && found != job.output_hash {
        client
            .screen()
            .notice("the partial file is from another output, starting over");
        found = copy(client, job, target, 0).await?;
    }
    if found != job.output_hash {
        // What is there is wrong: nothing may go on from it.
        target.file.set_len(0).map_err(|e| target.failed(&e))?;
        return Err(CliError::OutputDiffers {
            job: job.id.clone(),
            found,
            promised: job.output_hash.clone(),
        });
    }
    target.finish().map_err(|error| target.failed(&error))
}

/// Brings the partial file from `start` to its full length; returns the hash
/// of all of it.
async fn copy(
    client: &mut Client,
    job: &Job,
    target: &Target,
    start: u64,
) -> Result<String, CliError> {
    use std::io::{Seek, SeekFrom};

    let mut file = &target.file;
    let mut hasher = blake3::Hasher::new();
    let prepared = file
        .set_len(start)
        .and_then(|()| hash_start(file, start, &mut hasher))
        .and_then(|()| file.seek(SeekFrom::Start(start)));
    prepared.map_err(|error| target.failed(&error))?;

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
                    // An end before the end is as good as a node that is gone.
                    Ok(None) => break Status::unavailable("the fetch was broken off by the node"),
                    Err(status) => break status,
                };
                check(&part, at, total)?;
                // Written right here: this program has nothing else to do, and
                // a write to the page cache is shorter than a hop to a thread.
                file.write_all(&part.data)
                    .map_err(|error| target.failed(&error))?;
                hasher.update(&part.data);
                at += part.data.len() as u64;
                if !part.data.is_empty() {
                    client.record_progress(&mut retries);
                }
                meter.take(Instant::now(), at);
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
        format!("bytes from {} came, not from {at}", part.offset)
    } else if end.is_none_or(|end| end > total) {
        format!("more than the output's {total} bytes came")
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
