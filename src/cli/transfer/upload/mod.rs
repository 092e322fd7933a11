//! An upload from the client's side: over gRPC the node asks for chunks and we
//! send them, over HTTP we ask how far it is and send the rest. When a
//! connection breaks it goes on at another node.
//!
//! ```text
//! mod ──▶ over_grpc, over_http ──▶ sending
//! ```
//! Whether this file belongs to the job at all is decided in
//! [`crate::transfer::submit`].

mod over_grpc;
mod over_http;
mod sending;

use std::sync::Arc;

use reelraft_proto::v1::{GetRequest, Job, JobRef, JobState};

use self::sending::{Broken, Upload};
use crate::{
    client::{Client, RetryBudget},
    error::CliError,
    job_end::outcome,
    transfer::{
        compare::refuse_other,
        source::{Change, Source},
    },
};

/// Uploads all of the job's source, and checks that it was sealed as this very
/// file: another client may have sent other bytes under the same request.
///
/// # Errors
/// [`CliError::SourceChanged`] (the job is then cancelled),
/// [`CliError::SourceDiffers`], the job's own failure, or that no node serves.
pub async fn upload(client: &mut Client, job: &str, source: &Arc<Source>) -> Result<(), CliError> {
    let mut upload = Upload::new(job, source);
    client.follow_job();
    let mut retries = RetryBudget::default();
    loop {
        match upload.once(client, &mut retries).await {
            Ok(root) => {
                client.screen().clear();
                return upload.check_sealed(client, &root).await;
            }
            Err(Broken::Final(error)) => return Err(error),
            Err(Broken::Changed(change)) => return Err(upload.give_up(client, change).await),
            Err(Broken::Status(status)) => {
                if let Err(refusal) = client.retry_or_fail(&mut retries, &status).await {
                    return Err(upload.explain(client, refusal).await);
                }
            }
        }
    }
}

impl Upload {
    /// Goes on over one connection, until it breaks or all is sealed.
    async fn once(
        &mut self,
        client: &mut Client,
        retries: &mut RetryBudget,
    ) -> Result<String, Broken> {
        match client.http().await? {
            Some(door) => self.over_one_request(client, &door, retries).await,
            None => self.over_one_connection(client, retries).await,
        }
    }

    /// Compares the root that the source was sealed under with this file's. What
    /// was never asked of us, as others sent it, is read now.
    async fn check_sealed(&self, client: &Client, root: &str) -> Result<(), CliError> {
        let chunks = self.source.chunks(self.chunk_bytes);
        let hashes: Option<Vec<_>> = (0..chunks).map(|at| self.known.get(&at)).collect();
        let Some(hashes) = hashes else {
            return refuse_other(client, &self.source, &self.job, root, self.chunk_bytes).await;
        };
        let mut own = blake3::Hasher::new();
        for hash in hashes {
            own.update(hash.as_bytes());
        }
        match own.finalize().to_hex().as_str() == root {
            true => Ok(()),
            false => Err(self.differs()),
        }
    }

    /// Cancels the job: the file is no longer what it was made from.
    async fn give_up(&self, client: &mut Client, change: Change) -> CliError {
        client.screen().clear();
        let job = self.job.clone();
        let cancelled = client
            .call(JobRef { job }, async |mut jobs, request| {
                jobs.cancel(request).await
            })
            .await;
        let job = &self.job;
        let job_fate = match cancelled {
            Ok(_) => format!(
                "job {job} was cancelled; submit the file again once nothing writes to it any more"
            ),
            Err(_) => format!(
                "job {job} could not be cancelled and still waits for the file; cancel it with \
                 `reelraft job cancel {job}`"
            ),
        };
        CliError::SourceChanged {
            path: self.source.path.clone(),
            how: change.0,
            job_fate,
        }
    }

    /// An upload refused because its job ended is reported as the job's end.
    async fn explain(&self, client: &mut Client, refusal: CliError) -> CliError {
        client.screen().clear();
        if !matches!(refusal, CliError::Refused { .. }) {
            return refusal;
        }
        let get = GetRequest {
            job: self.job.clone(),
            local: false,
        };
        let job: Result<Job, CliError> = client
            .call(get, async |mut jobs, request| jobs.get(request).await)
            .await;
        match job {
            Ok(job) if matches!(job.state(), JobState::Failed | JobState::Cancelled) => {
                outcome(&job).err().unwrap_or(refusal)
            }
            _ => refusal,
        }
    }
}
