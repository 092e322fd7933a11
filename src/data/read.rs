//! Reading: from the nearest home that has the bytes. What is missing or
//! damaged on this disk is mended from another home.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use reelraft_model::{Job, JobEntry, Task, home_rules::sources};
use tokio::sync::mpsc;

use super::{
    error::DataError,
    limits::{CHUNK_BYTES, PARTS_AHEAD, READ_OUTAGE, WHOLE_BYTES_MAX},
    local_store::{Parts, blocking},
    plane::DataPlane,
    retry::RetryBudget,
};

impl DataPlane {
    /// Begins to read a blob at a node: gives the blob's size with the first
    /// part, and the stream of the rest.
    async fn begin_read(
        &self,
        node: u64,
        job: &str,
        hash: &str,
        (offset, bytes): (u64, u64),
    ) -> Result<((u64, Bytes), Parts), DataError> {
        let mut parts = self.homes.read(node, job, hash, offset, bytes).await?;
        let first = parts.recv().await.ok_or_else(|| DataError::Unreachable {
            node,
            cause: "it sent nothing".to_string(),
        })??;
        Ok((first, parts))
    }

    /// The homes of a job that don't answer now.
    pub async fn silent_homes(&self, entry: &JobEntry, hash: &str) -> Vec<u64> {
        let asked = sources(&entry.job).map(async |node| {
            let read = self.begin_read(node, &entry.job.id, hash, (0, 1)).await;
            matches!(read, Err(DataError::Unreachable { .. })).then_some(node)
        });
        let asked = futures::future::join_all(asked).await;
        asked.into_iter().flatten().collect()
    }

    /// The job as this node knows it now, where its homes changed after the
    /// given row was read.
    fn latest(&self, entry: &JobEntry) -> Arc<JobEntry> {
        let state = self.table.local();
        let newer = state
            .job(&entry.job.id)
            .filter(|newer| newer.job.epoch > entry.job.epoch);
        newer.unwrap_or_else(|| Arc::new(entry.clone()))
    }

    /// Reads a range of a blob. What is one block at most is checked here by
    /// its name; of a larger blob each block was checked where it was read.
    ///
    /// # Errors
    /// [`DataError::Lost`], or [`DataError::Unavailable`] after a bounded
    /// time.
    pub async fn read_range(
        &self,
        entry: &JobEntry,
        hash: &str,
        offset: u64,
        bytes: u64,
    ) -> Result<Vec<u8>, DataError> {
        let mut budget = RetryBudget::new(READ_OUTAGE);
        loop {
            let entry = self.latest(entry);
            let nodes = self.nearest(&entry.job, hash);
            let read = self.try_range(&entry, hash, (offset, bytes), &nodes).await;
            match read {
                Ok(read) => return Ok(read),
                Err(error) => budget.wait(error).await?,
            }
        }
    }

    /// Reads a range from the first of these nodes that has the blob.
    ///
    /// # Errors
    /// [`DataError::Lost`] if every one was asked and none has it, and
    /// [`DataError::Unavailable`] if some could not be asked.
    pub(super) async fn try_range(
        &self,
        entry: &JobEntry,
        hash: &str,
        range: (u64, u64),
        nodes: &[u64],
    ) -> Result<Vec<u8>, DataError> {
        let job = &entry.job.id;
        let mut trouble = Trouble::new(&entry.job);
        for &node in nodes {
            let ((total, first), mut parts) = match self.begin_read(node, job, hash, range).await {
                Ok(begun) => begun,
                Err(error) if error.is_missing() => continue,
                Err(error) => {
                    trouble.note(node, error);
                    continue;
                }
            };
            let mut read = first.to_vec();
            let mut broken = None;
            while let Some(part) = parts.recv().await {
                match part {
                    Ok((_, part)) => read.extend_from_slice(&part),
                    Err(error) => broken = Some(error),
                }
            }
            let end = if range.1 == 0 {
                total
            } else {
                total.min(range.0.saturating_add(range.1))
            };
            let short = read.len() as u64 != end.saturating_sub(range.0);
            let whole = read.len() as u64 == total;
            // Each block of this disk's own was checked when it was read.
            let away = node != self.node();
            let forged = || whole && away && blake3::hash(&read).to_hex().as_str() != hash;
            if short || broken.is_some() || forged() {
                let forged = || DataError::Unreachable {
                    node,
                    cause: format!("it sent other bytes than those of {hash}"),
                };
                trouble.note(node, broken.unwrap_or_else(forged));
                continue;
            }
            if whole && away && entry.is_read_from(self.node()) {
                self.mend(job, hash, &read).await;
            }
            return Ok(read);
        }
        Err(trouble.missing(job, hash))
    }

    /// Reads a whole blob into memory, checked by its name: lists and reports.
    ///
    /// # Errors
    /// As [`DataPlane::read_range`].
    pub async fn read_whole(&self, entry: &JobEntry, hash: &str) -> Result<Vec<u8>, DataError> {
        let read = self.read_range(entry, hash, 0, WHOLE_BYTES_MAX).await?;
        // A shorter one was read to its end, and checked there.
        if read.len() as u64 == WHOLE_BYTES_MAX {
            return Err(DataError::Internal {
                cause: format!("blob {hash} is too large to be read at once"),
            });
        }
        Ok(read)
    }

    /// A blob as a file on this disk, checked just now; fetched from a home if
    /// it is missing or damaged here.
    ///
    /// # Errors
    /// [`DataError::Lost`], or [`DataError::Unavailable`] after a bounded
    /// time.
    pub async fn local_path(&self, entry: &JobEntry, hash: &str) -> Result<PathBuf, DataError> {
        let mut budget = RetryBudget::new(READ_OUTAGE);
        loop {
            let (store, job, name) = (self.store.clone(), entry.job.id.clone(), hash.to_string());
            let path = blocking(move || Ok(store.path_of_verified(&job, &name)?)).await;
            match path {
                Err(error) if error.is_missing() => {}
                path => return path,
            }
            match self.copy_here(entry, hash, false).await {
                // Thousands of parts that are to be made again are not waited
                // for one after the other.
                Err(error) if error.is_worth_remaking() => return Err(error),
                Err(error) => budget.wait(error).await?,
                Ok(()) => {}
            }
        }
    }

    /// Makes a blob of one job a blob of another on this disk, too: by a second name
    /// where the bytes are here, else by a copy from a home of theirs.
    ///
    /// # Errors
    /// As [`DataPlane::local_path`].
    pub async fn take_over(&self, of: &JobEntry, hash: &str, job: &str) -> Result<(), DataError> {
        let (store, other, name) = (self.store.clone(), of.job.id.clone(), hash.to_string());
        let id = job.to_string();
        let here = blocking(move || {
            store.check_room(0)?;
            let path = store.path_of_verified(&other, &name)?;
            store.link_file(&id, &path, &name)?;
            Ok(())
        });
        match here.await {
            Err(error) if error.is_missing() => self.copy_into(of, hash, job, false).await,
            linked => linked,
        }
    }

    /// A finished part as a file on this disk, and its report.
    ///
    /// # Errors
    /// As [`DataPlane::local_path`].
    pub async fn part(
        &self,
        entry: &JobEntry,
        task: &Task,
    ) -> Result<(PathBuf, Vec<u8>), DataError> {
        let path = self.local_path(entry, &task.hash).await?;
        if !task.taken_from.is_empty() {
            self.local_path(entry, &task.report).await?;
        }
        let report = self.read_whole(entry, &task.report).await?;
        Ok((path, report))
    }

    /// Copies a blob from another home to this disk; where it is that of a part which
    /// another job had made before, from that. A `paced` copy is made as fast as this
    /// node may copy: nobody waits for it.
    ///
    /// # Errors
    /// [`DataError::Lost`], [`DataError::Retired`] and [`DataError::Unavailable`].
    pub(super) async fn copy_here(
        &self,
        entry: &JobEntry,
        hash: &str,
        paced: bool,
    ) -> Result<(), DataError> {
        let job = &entry.job.id;
        let Some(of) = taken_from(entry, hash) else {
            return self.copy_into(entry, hash, job, paced).await;
        };
        let other = self.table.local().job(of);
        let cause = match other {
            Some(other) => match self.take_over(&other, hash, job).await {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            None => format!("job {of} is gone"),
        };
        // Some home of its own may have taken it by then. Else it is made again,
        // and nobody waits for another job's homes.
        match self.copy_into(entry, hash, job, paced).await {
            Err(error) if error.is_lost() => Err(DataError::Retired {
                job: job.clone(),
                hash: hash.to_string(),
                cause,
            }),
            copied => copied,
        }
    }

    /// The same, as a blob of the job `into`.
    async fn copy_into(
        &self,
        entry: &JobEntry,
        hash: &str,
        into: &str,
        paced: bool,
    ) -> Result<(), DataError> {
        let job = &entry.job.id;
        let entry = self.latest(entry);
        let mut others = self.nearest(&entry.job, hash);
        others.retain(|&node| node != self.node());
        let mut trouble = Trouble::new(&entry.job);
        let _place = match paced {
            true => self.pace.place().await,
            false => None,
        };
        for node in others {
            let (first, rest) = match self.begin_read(node, job, hash, (0, 0)).await {
                Ok(begun) => begun,
                Err(error) if error.is_missing() => continue,
                Err(error) => {
                    trouble.note(node, error);
                    continue;
                }
            };
            let total = first.0;
            let (sender, parts) = mpsc::channel(PARTS_AHEAD);
            let feed = feed(first, rest, sender, paced.then_some(self));
            let write = self.local.write_parts(into, hash, total, parts);
            match futures::join!(feed, write) {
                (Ok(()), Ok(_)) => return Ok(()),
                // This disk's own refusal would be the same with any home.
                (Ok(()), Err(error)) if error.kind() != "hash-mismatch" => return Err(error),
                (Ok(()), Err(error)) | (Err(error), _) => trouble.note(node, error),
            }
        }
        Err(trouble.missing(job, hash))
    }

    /// Puts back here what had to be read elsewhere. It is only worth a try:
    /// the bytes were read all the same.
    async fn mend(&self, job: &str, hash: &str, bytes: &[u8]) {
        if bytes.len() > CHUNK_BYTES {
            return;
        }
        let (store, name, id, bytes) = (
            self.store.clone(),
            hash.to_string(),
            job.to_string(),
            bytes.to_vec(),
        );
        if let Err(error) = blocking(move || Ok(store.put_bytes(&id, Some(&name), &bytes)?)).await {
            tracing::debug!(job, hash, %error, "could not be mended here");
        }
    }

    /// Nodes to read a blob from: this one, then the homes, those that retire
    /// too, beginning at another one for each blob so that they share the load.
    fn nearest(&self, job: &Job, hash: &str) -> Vec<u64> {
        let mut homes: Vec<u64> = sources(job).collect();
        if !homes.is_empty() {
            let spread = hash.bytes().map(usize::from).sum::<usize>();
            let count = homes.len();
            homes.rotate_left(spread % count);
        }
        homes.retain(|&node| node != self.node());
        homes.insert(0, self.node());
        homes
    }
}

/// The homes of a job's epoch, to which its new bytes go.
pub(super) fn home_ids(job: &Job) -> Vec<u64> {
    job.current_homes().map(|home| home.node).collect()
}

/// The job that made a part of this one before, to which a blob belongs.
fn taken_from<'a>(entry: &'a JobEntry, hash: &str) -> Option<&'a str> {
    let of = |task: &&Arc<Task>| !task.taken_from.is_empty();
    let mut taken = entry.parts().filter(of);
    let task = taken.find(|task| task.hash == hash || task.report == hash)?;
    Some(&task.taken_from)
}

/// What kept the asked homes from giving a blob.
struct Trouble<'a> {
    job: &'a Job,
    latest: Option<DataError>,
    /// Whether it may pass soon: all but homes that retire and can't be reached,
    /// which may be gone for good.
    current: bool,
}

impl<'a> Trouble<'a> {
    fn new(job: &'a Job) -> Self {
        Trouble {
            job,
            latest: None,
            current: false,
        }
    }

    fn note(&mut self, node: u64, error: DataError) {
        let retires = self.job.retiring_homes().any(|home| home.node == node);
        let silent = matches!(error, DataError::Unreachable { .. });
        self.current |= !(retires && silent);
        self.latest = Some(error);
    }

    fn missing(self, job: &str, hash: &str) -> DataError {
        let (job, hash) = (job.to_string(), hash.to_string());
        let cause = match self.latest {
            None => return DataError::Lost { job, hash },
            Some(DataError::Unavailable { cause, .. }) => cause,
            Some(error) => error.to_string(),
        };
        match self.current {
            true => DataError::Unavailable { job, hash, cause },
            false => DataError::Retired { job, hash, cause },
        }
    }
}

/// Hands on what a home sends, until it ends or fails.
async fn feed(
    first: (u64, Bytes),
    mut rest: Parts,
    sender: mpsc::Sender<Bytes>,
    paced: Option<&DataPlane>,
) -> Result<(), DataError> {
    let mut next = Some(Ok(first));
    while let Some(part) = next {
        let part = part?.1;
        if let Some(data) = paced {
            data.pace.take(part.len() as u64).await;
            data.upkeep.copied(part.len() as u64);
        }
        // The writer may end first, with an error that says more.
        if sender.send(part).await.is_err() {
            return Ok(());
        }
        next = rest.recv().await;
    }
    Ok(())
}
