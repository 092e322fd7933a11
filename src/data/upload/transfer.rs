//! The steps of one upload: settle, transfer, seal.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use blake3::Hash;
use bytes::Bytes;
use futures::{
    Stream, StreamExt, TryStreamExt,
    future::{join_all, try_join_all},
    stream::{self, FuturesUnordered},
};
use reelraft_model::{
    Command, Job, JobEntry, SealSource, home_rules::touch_due, limits::RETRY_LEVEL,
};
use reelraft_storage::journal::Chunk;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::{
    ahead::Ahead,
    messages::{BrokenOff, SafeChunk, Turn, UploadReply, UploadRequest, next_request},
    taking::taking_bytes,
};
use crate::data::{
    error::DataError,
    limits::{APPLY_WAIT, CHUNK_BYTES, COPY_WINDOW, PLAN_CHUNKS_MAX, UPLOAD_OUTAGE, UPLOAD_WINDOW},
    local_store::{PutTicket, blocking},
    manifest::{Manifest, chunk_bytes, chunk_count},
    merge::{Merged, merge},
    peers::Payload,
    plane::DataPlane,
    put::ticket,
    read::home_ids,
    retry::RetryBudget,
};

/// The way back to the client.
pub(super) type Out = mpsc::Sender<Result<UploadReply, DataError>>;

/// One upload stream.
pub(super) struct Upload<'a> {
    data: Arc<DataPlane>,
    out: &'a Out,
    job: String,
    source_bytes: u64,
    /// The homes as they were last settled, and their epoch.
    ticket: Arc<PutTicket>,
    nodes: Arc<[u64]>,
    /// Chunks on all these homes.
    safe: BTreeMap<u64, Hash>,
    /// Chunks that came and are not safe yet.
    held: BTreeMap<u64, Bytes>,
    /// Chunks asked for that have not come.
    asked: BTreeSet<u64>,
    /// All chunks below are safe, held or asked for.
    next: u64,
    turn: Turn,
    ahead: Ahead,
    /// Says in the table that the upload goes on, one at a time.
    touching: Option<JoinHandle<()>>,
}

impl<'a> Upload<'a> {
    /// An upload that knows nothing of its job yet.
    pub fn new(data: Arc<DataPlane>, out: &'a Out, job: String, turn: Turn, ahead: Ahead) -> Self {
        Upload {
            data,
            out,
            job,
            source_bytes: 0,
            ticket: Arc::default(),
            nodes: Arc::default(),
            safe: BTreeMap::new(),
            held: BTreeMap::new(),
            asked: BTreeSet::new(),
            next: 0,
            turn,
            ahead,
            touching: None,
        }
    }

    /// Learns which chunks are safe on the homes of now; gives the root if the
    /// source is sealed already.
    pub async fn settle(&mut self) -> Result<Option<String>, DataError> {
        let mut budget = RetryBudget::new(UPLOAD_OUTAGE);
        loop {
            match self.try_settle().await {
                Ok(sealed) => return Ok(sealed),
                Err(error) => budget.wait(error).await?,
            }
        }
    }

    async fn try_settle(&mut self) -> Result<Option<String>, DataError> {
        let entry = self.entry().await?;
        let job = &entry.job;
        if !job.source_root.is_empty() {
            return Ok(Some(job.source_root.clone()));
        }
        if job.homes.is_empty() {
            return Err(DataError::NoHomes {
                job: self.job.clone(),
            });
        }
        let log_index = *self.data.table.applied().borrow();
        self.source_bytes = job.source_bytes;
        self.ticket = Arc::new(ticket(job, log_index));
        self.nodes = home_ids(job).into();
        let journals = self
            .nodes
            .iter()
            .map(|&node| self.data.homes.journal(node, &self.job, log_index));
        let journals = try_join_all(journals).await?;
        // Those of a long source take seconds.
        let job_id = self.job.clone();
        let (journals, merged) = blocking(move || {
            let merged = merge(&job_id, &journals)?;
            Ok((journals, merged))
        })
        .await?;
        let Merged { on_all, on_some } = merged;
        self.safe = on_all;
        let here = self.nodes.iter().copied().zip(journals);
        let mut journals: BTreeMap<u64, _> = here.collect();
        let on_some = self.add_retiring(job, on_some, &mut journals).await;
        let copied = self.copy(&entry, on_some, &journals).await?;
        self.safe.extend(copied);
        self.held
            .retain(|number, _| !self.safe.contains_key(number));
        self.next = 0;
        Ok(None)
    }

    /// Adds what the former homes hold that answer: what was acknowledged
    /// before they were lost may be nowhere else.
    async fn add_retiring(
        &self,
        job: &Job,
        mut on_some: BTreeMap<u64, Hash>,
        journals: &mut BTreeMap<u64, BTreeMap<u64, Chunk>>,
    ) -> BTreeMap<u64, Hash> {
        let asked = job.retiring_homes().map(|home| async {
            let journal = self.data.homes.journal(home.node, &self.job, job.epoch);
            Some((home.node, journal.await.ok()?))
        });
        for (node, mut journal) in join_all(asked).await.into_iter().flatten() {
            journal.retain(|number, chunk| {
                let hash = Hash::from_hex(&chunk.hash).ok();
                let known = self.safe.get(number).or_else(|| on_some.get(number));
                match (known.copied(), hash) {
                    (Some(known), Some(hash)) => known == hash,
                    (None, Some(hash)) => on_some.insert(*number, hash).is_none(),
                    (_, None) => false,
                }
            });
            journals.insert(node, journal);
        }
        on_some
    }

    /// The job as it is now, if it still takes bytes.
    async fn entry(&self) -> Result<Arc<JobEntry>, DataError> {
        let state = self.data.table.read().await.map_err(DataError::Table)?;
        taking_bytes(&state, &self.job)
    }

    /// Copies chunks to the homes that lack them; gives those that are safe
    /// now. One that no home can give any more is asked of the client again.
    async fn copy(
        &self,
        entry: &JobEntry,
        on_some: BTreeMap<u64, Hash>,
        journals: &BTreeMap<u64, BTreeMap<u64, Chunk>>,
    ) -> Result<Vec<(u64, Hash)>, DataError> {
        let copies = on_some.into_iter().map(|(number, hash)| {
            let has = |node: &u64| journals[node].contains_key(&number);
            let (have, mut lack): (Vec<u64>, Vec<u64>) =
                journals.keys().partition(|&node| has(node));
            lack.retain(|node| self.nodes.contains(node));
            self.copy_chunk(entry, number, hash, have, lack)
        });
        let copied = stream::iter(copies).buffer_unordered(COPY_WINDOW);
        copied
            .try_filter_map(|copied| async move { Ok(copied) })
            .try_collect()
            .await
    }

    async fn copy_chunk(
        &self,
        entry: &JobEntry,
        number: u64,
        hash: Hash,
        have: Vec<u64>,
        lack: Vec<u64>,
    ) -> Result<Option<(u64, Hash)>, DataError> {
        let name = hash.to_hex();
        let bytes = match self.data.try_range(entry, &name, (0, 0), &have).await {
            Err(error) if error.is_worth_remaking() => return Ok(None),
            bytes => Bytes::from(bytes?),
        };
        let puts = lack.iter().map(|&node| {
            self.data
                .homes
                .put_chunk(node, &self.ticket, number, &name, bytes.clone())
        });
        try_join_all(puts).await?;
        Ok(Some((number, hash)))
    }

    /// Tells the client what is safe, so that it can compare.
    pub async fn send_plan(&self) -> Result<(), DataError> {
        let step = self.safe.len().div_ceil(PLAN_CHUNKS_MAX).max(1);
        let named = self.safe.iter().step_by(step);
        let have = named.map(|(number, hash)| SafeChunk {
            number: *number,
            hash: hash.to_hex().to_string(),
        });
        self.send(UploadReply::Plan {
            chunk_bytes: CHUNK_BYTES as u32,
            have: have.collect(),
        })
        .await
    }

    async fn send(&self, answer: UploadReply) -> Result<(), DataError> {
        self.out
            .send(Ok(answer))
            .await
            .map_err(|_| DataError::ClientLost {
                cause: "hung up".to_string(),
            })
    }

    /// Asks for chunks and puts them until all are safe; gives the root if the
    /// source was sealed by another stream meanwhile.
    pub async fn transfer<S>(&mut self, incoming: &mut S) -> Result<Option<String>, DataError>
    where
        S: Stream<Item = Result<UploadRequest, BrokenOff>> + Unpin,
    {
        let count = chunk_count(self.source_bytes);
        let mut budget = RetryBudget::new(UPLOAD_OUTAGE);
        let mut puts = FuturesUnordered::new();
        let mut trouble: Option<DataError> = None;
        puts.extend(
            self.held
                .iter()
                .map(|(number, data)| self.put(*number, data.clone())),
        );
        while (self.safe.len() as u64) < count || !puts.is_empty() {
            if puts.is_empty()
                && let Some(error) = trouble.take()
            {
                budget.wait(error).await?;
                let waiting: Vec<u64> = self.held.keys().copied().collect();
                if let Some(root) = self.settle().await? {
                    return Ok(Some(root));
                }
                // Some had reached a home, and were copied on from there.
                for number in waiting
                    .into_iter()
                    .filter(|number| !self.held.contains_key(number))
                {
                    self.ack(number).await?;
                }
                puts.extend(
                    self.held
                        .iter()
                        .map(|(number, data)| self.put(*number, data.clone())),
                );
                // What was copied may have been all that was missing.
                continue;
            }
            if trouble.is_none() {
                self.ask(count).await?;
            }
            match puts.is_empty() && trouble.is_none() {
                true => self.turn.begin(),
                false => self.turn.end(),
            }
            tokio::select! {
                Some((number, result)) = puts.next() => match result {
                    Ok((hash, awaited)) => {
                        self.ahead.want(awaited);
                        budget = RetryBudget::new(UPLOAD_OUTAGE);
                        self.note_safe(number, hash).await?;
                    }
                    Err(error) => trouble = Some(error),
                },
                request = next_request(incoming), if trouble.is_none() && !self.asked.is_empty() => {
                    let (number, data) = self.take(request?)?;
                    self.ahead.came(Instant::now());
                    if !self.safe.contains_key(&number) {
                        self.held.insert(number, data.clone());
                        puts.push(self.put(number, data));
                    }
                }
                else => return Err(DataError::Internal {
                    cause: format!("the upload of job {} waits for nothing", self.job),
                }),
            }
        }
        self.turn.end();
        Ok(None)
    }

    /// A chunk is on all homes.
    async fn note_safe(&mut self, number: u64, hash: Hash) -> Result<(), DataError> {
        self.held.remove(&number);
        self.safe.insert(number, hash);
        self.ack(number).await?;
        self.touch();
        Ok(())
    }

    /// Notes that the upload makes progress, where the last such note is old.
    fn touch(&mut self) {
        if self
            .touching
            .as_ref()
            .is_some_and(|last| !last.is_finished())
        {
            return;
        }
        let table = &self.data.table;
        let state = table.local();
        let due = state
            .job(&self.job)
            .and_then(|entry| touch_due(&state, &entry.job));
        let Some(due) = due else { return };
        let data = self.data.clone();
        self.touching = Some(tokio::spawn(async move {
            // The next chunk tries again.
            let _ = data.table.propose(vec![Command::TouchUpload(due)]).await;
        }));
    }

    /// Asks for as many chunks as there is room for, those first that are waited
    /// for.
    async fn ask(&mut self, count: u64) -> Result<(), DataError> {
        let mut numbers = Vec::new();
        while self.asked.len() + self.held.len() < UPLOAD_WINDOW
            && self.asked.len() < self.ahead.window()
        {
            let wanted = self.ahead.next_wanted().filter(|number| *number < count);
            let number = match wanted {
                Some(number) => number,
                None if self.next < count => {
                    self.next += 1;
                    self.next - 1
                }
                None => break,
            };
            let known = self.safe.contains_key(&number) || self.held.contains_key(&number);
            if !known && self.asked.insert(number) {
                numbers.push(number);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        self.send(UploadReply::Ask { numbers }).await
    }

    async fn ack(&self, number: u64) -> Result<(), DataError> {
        self.send(UploadReply::Acked {
            number,
            chunks_safe: self.safe.len() as u64,
        })
        .await
    }

    /// Takes a chunk that was asked for.
    fn take(&mut self, request: UploadRequest) -> Result<(u64, Bytes), DataError> {
        let (number, data) = match request {
            UploadRequest::Chunk { number, data } => (number, data),
            UploadRequest::Gone(problem) => return Err(DataError::SourceGone(problem)),
            UploadRequest::Open { .. } => {
                return Err(DataError::ClientLost {
                    cause: "named a job again within one stream".to_string(),
                });
            }
        };
        let bad = |cause: String| DataError::BadChunk {
            job: self.job.clone(),
            number,
            cause,
        };
        let expected = chunk_bytes(self.source_bytes, number);
        if data.len() as u64 != expected {
            return Err(bad(format!(
                "has {} bytes where {expected} were asked for",
                data.len()
            )));
        }
        if !self.asked.contains(&number) {
            return Err(bad("was not asked for".to_string()));
        }
        self.asked.remove(&number);
        Ok((number, data))
    }

    /// Puts one chunk on all homes; gives its hash, and what is waited for there.
    fn put(
        &self,
        number: u64,
        data: Bytes,
    ) -> impl Future<Output = (u64, Result<(Hash, Vec<u64>), DataError>)> + Send + use<> {
        let (plane, ticket, nodes) = (self.data.clone(), self.ticket.clone(), self.nodes.clone());
        async move {
            let hash = blake3::hash(&data);
            let name = hash.to_hex();
            let puts = nodes.iter().map(|&node| {
                plane
                    .homes
                    .put_chunk(node, &ticket, number, &name, data.clone())
            });
            let answers: Result<Vec<_>, DataError> = join_all(puts).await.into_iter().collect();
            let awaited = answers.map(|answers| answers.into_iter().flatten().collect());
            (number, awaited.map(|awaited| (hash, awaited)))
        }
    }

    /// Puts the manifest on all homes and seals the source; gives nothing if
    /// the homes changed meanwhile.
    pub async fn seal(&self) -> Result<Option<String>, DataError> {
        let chunks: Vec<Hash> = self.safe.values().copied().collect();
        let (source_bytes, job) = (self.source_bytes, self.job.clone());
        // That of a long source has many MiB.
        let (root, bytes, hash) = blocking(move || {
            let manifest =
                Manifest::new(source_bytes, chunks).ok_or_else(|| DataError::Internal {
                    cause: format!(
                        "job {job} was to be sealed with other chunks than its source has"
                    ),
                })?;
            let bytes = Bytes::from(manifest.encode());
            let hash = blake3::hash(&bytes).to_hex().to_string();
            Ok((manifest.root(), bytes, hash))
        })
        .await?;
        let puts = self.nodes.iter().map(|&node| {
            let payload = Payload::Bytes(bytes.clone());
            self.data
                .homes
                .put(node, &self.ticket, &hash, bytes.len() as u64, payload)
        });
        try_join_all(puts).await?;
        let seal = Command::SealSource(SealSource {
            job: self.job.clone(),
            epoch: self.ticket.epoch,
            manifest: hash.clone(),
            root: root.clone(),
            keep_source: self.data.table.local().feature_level() >= RETRY_LEVEL,
        });
        let table = &self.data.table;
        let committed = table.propose(vec![seal]).await.map_err(DataError::Table)?;
        let applied = table.wait_applied(committed.index, APPLY_WAIT).await;
        applied.map_err(DataError::Table)?;
        let entry = taking_bytes(&table.local(), &self.job)?;
        match entry.job.source_root.as_str() {
            "" => Ok(None),
            sealed if sealed == root => Ok(Some(root)),
            sealed => Err(DataError::SourceChanged {
                job: self.job.clone(),
                cause: format!("it was sealed as {sealed}, and this client sent {root}"),
            }),
        }
    }
}
