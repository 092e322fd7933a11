//! `reelraft restore`: a cluster made anew from a backup, and what a person sees of it.

use std::{path::Path, sync::Arc, time::Instant};

use reelraft_consensus::plant;
use reelraft_model::{
    NamedJob, Problem, Restored, RestoredOn, State,
    check::{Violation, check_jobs},
};
use reelraft_proto::{bucket::is_bucket_url, utc};
use reelraft_storage::{Restoring, StorageError};

use super::{place::new_cluster_id, restore_bucket::BucketFile};
use crate::{
    clock::unix_ms,
    data::backup::{Backup, BackupFile},
    limits::RESTORE_NAMES_SHOWN,
};

/// The backup that a name is of: a file, or one in a bucket of those that `buckets` names.
///
/// # Errors
/// Where nothing can be asked for in a bucket. A file is opened when it is read.
pub fn find(file: &Path, buckets: Option<&Path>) -> Result<Arc<dyn BackupFile>, Problem> {
    match file.to_str().filter(|name| is_bucket_url(name)) {
        Some(url) => Ok(Arc::new(BucketFile::find(url, buckets)?)),
        None => Ok(Arc::new(file.to_path_buf())),
    }
}

/// Says what a backup has, after all of it was checked.
///
/// # Errors
/// `backup-damaged`, `backup-truncated`, `newer-format`, and what the disk refuses.
pub fn look(file: Arc<dyn BackupFile>) -> Result<String, Problem> {
    let name = file.name();
    let backup = Backup::read(file).map_err(|error| error.problem())?;
    let (_, restored) = made_of(&backup, 1)?;
    let mut said = description(&backup, &name);
    said += &report(&restored);
    said += &format!("to do it: reelraft restore {name} --data DIR\n");
    Ok(said)
}

/// Makes a cluster of one node in an empty folder, with what a backup has.
///
/// # Errors
/// As [`look`]; `not-a-data-folder` for a folder with anything in it, and `disk-full`.
pub fn restore(file: Arc<dyn BackupFile>, data: &Path, node: u64) -> Result<String, Problem> {
    let begun = Instant::now();
    let storage = |error: StorageError| Problem::new(error.kind(), error.to_string(), error.hint());
    let backup = Backup::read(file).map_err(|error| error.problem())?;
    let (state, restored) = made_of(&backup, node)?;
    let folder = Restoring::begin(data).map_err(storage)?;
    let blobs = folder.blobs();
    let blobs =
        blobs.map_err(|error| Problem::new(error.kind(), error.to_string(), error.hint()))?;
    let wanted = |job: &str| {
        let entry = state.job(job);
        entry.is_some_and(|entry| !entry.backup_blobs().blobs.is_empty())
    };
    let put = backup.put_blobs(&blobs, wanted);
    put.map_err(|error| error.problem())?;
    drop(blobs);
    let id = new_cluster_id();
    let planted = plant(folder, (&id, node), backup.index, state.rows());
    planted.map_err(|error| error.problem())?;
    let mut said = format!(
        "{} is node {node} of the new cluster {id}, restored in {:.1} s\n",
        data.display(),
        begun.elapsed().as_secs_f64()
    );
    said += &report(&restored);
    said += "next: start it with the secrets that the cluster had (`reelraft node --data DIR …`), then let \
             other machines in with `reelraft cluster token create`\n";
    Ok(said)
}

/// The table that is made of a backup.
fn made_of(backup: &Backup, node: u64) -> Result<(State, Restored), Problem> {
    let damaged = |cause: String| {
        let hint = "take another backup; nothing was restored";
        Problem::new("backup-damaged", cause, hint)
    };
    let on = RestoredOn {
        node,
        index: backup.index.max(1),
        unix_ms: unix_ms(),
    };
    let made = backup
        .state
        .restored(on, |entry| backup.has_bytes_of(entry));
    let (state, restored) = made.map_err(|error| damaged(error.to_string()))?;
    match check_jobs(&state).first() {
        None => Ok((state, restored)),
        Some(Violation(wrong)) => Err(damaged(format!("its table can't be gone on with: {wrong}"))),
    }
}

fn description(backup: &Backup, name: &str) -> String {
    format!(
        "{name} is whole: cluster {}, backed up {} by reelraft {} with media {}\n\
         table: index {}, hash {}\n\
         films and sources: {} bytes\n",
        backup.cluster_id,
        utc::rfc3339(backup.unix_ms),
        backup.version,
        backup.media,
        backup.index,
        backup.table_hash,
        backup.blob_bytes
    )
}

/// What becomes of all that the cluster had. What is given up is named.
fn report(restored: &Restored) -> String {
    let mut said = format!(
        "finished jobs with their films: {}\nended jobs without one: {}\nkeys: {}\n",
        restored.finished, restored.ended, restored.keys
    );
    let mut list = |what: &str, jobs: &[NamedJob]| {
        if jobs.is_empty() {
            return;
        }
        said += &format!("{what}: {}\n", jobs.len());
        for NamedJob { id, name } in jobs.iter().take(RESTORE_NAMES_SHOWN) {
            said += &format!("  {id}  {}\n", name.escape_debug());
        }
        let more = jobs.len().saturating_sub(RESTORE_NAMES_SHOWN);
        if more > 0 {
            said += &format!("  and {more} more\n");
        }
    };
    list("made again from their sources", &restored.again);
    list(
        "waiting for their sources, which are sent or fetched from the beginning",
        &restored.waiting,
    );
    list(
        "given up, failed as output-not-in-backup",
        &restored.without_output,
    );
    list(
        "given up, failed as source-not-in-backup",
        &restored.without_source,
    );
    if restored.sources_gone > 0 {
        let gone = restored.sources_gone;
        said += &format!("failed jobs that can't be tried again any more: {gone}\n");
    }
    said
}
