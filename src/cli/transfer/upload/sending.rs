//! What both ways of an upload share: the file, what is known of its chunks,
//! and how an attempt ends.

use std::{collections::HashMap, sync::Arc, time::Instant};

use bytes::Bytes;
use tonic::Status;

use crate::{
    client::Client,
    error::CliError,
    limits::CHUNK_BYTES,
    render::progress::{Meter, bytes_line},
    transfer::{
        on_thread::on_thread,
        source::{Change, Source},
    },
};

/// One upload, over as many connections as it takes.
pub(super) struct Upload {
    pub(super) job: String,
    pub(super) source: Arc<Source>,
    /// The hashes of this file's chunks that we have sent, or compared with the
    /// cluster's.
    pub(super) known: HashMap<u64, blake3::Hash>,
    /// How large the cluster's chunks are.
    pub(super) chunk_bytes: u32,
    /// How far it was when it was last asked over HTTP.
    pub(super) reached: u64,
    meter: Meter,
}

/// Why one connection's part of an upload ended.
pub(super) enum Broken {
    /// To be retried at another node, unless it is a refusal.
    Status(Status),
    /// Not to be retried.
    Final(CliError),
    /// The file is no longer what it was.
    Changed(Change),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Broken::Status(status)
    }
}

impl Upload {
    /// An upload of which nothing is known yet.
    pub(super) fn new(job: &str, source: &Arc<Source>) -> Self {
        Upload {
            job: job.to_string(),
            source: source.clone(),
            known: HashMap::new(),
            chunk_bytes: CHUNK_BYTES,
            reached: 0,
            meter: Meter::default(),
        }
    }

    /// Reads one chunk, and remembers its hash.
    pub(super) async fn read_chunk(&mut self, number: u64) -> Result<Bytes, Broken> {
        let (source, chunk_bytes) = (self.source.clone(), self.chunk_bytes);
        let read = move || {
            let data = source.chunk(number, chunk_bytes)?;
            Ok((blake3::hash(&data), data))
        };
        let (hash, data) = blocking(read).await?.map_err(Broken::Changed)?;
        self.known.insert(number, hash);
        Ok(data)
    }

    pub(super) fn differs(&self) -> CliError {
        CliError::SourceDiffers {
            path: self.source.path.clone(),
            job: self.job.clone(),
        }
    }

    /// Shows how many bytes are there.
    pub(super) fn show(&mut self, client: &Client, safe: u64) {
        let total = self.source.bytes;
        client.screen().uploaded(safe);
        self.meter.record(Instant::now(), safe);
        if client.screen().due() {
            let speed = self.meter.milli_per_second();
            let line = bytes_line("uploading", safe, total, speed);
            client.screen().progress(&line);
        }
    }
}

pub(super) fn nonsense(what: impl Into<String>) -> Broken {
    Broken::Final(CliError::Nonsense { what: what.into() })
}

/// Reads from disk on another thread, so that the connection's pings continue.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Change> + Send + 'static,
) -> Result<Result<T, Change>, Broken> {
    let done = on_thread("reading the source", work).await;
    done.map_err(Broken::Final)
}
