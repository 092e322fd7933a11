//! Backups: the table, and the bytes of jobs, towards one file, which whoever asks
//! writes, or this node puts into a bucket.

use bytes::{Bytes, BytesMut};
use reelraft_model::{BackupMedia, Problem};
use tokio::{sync::mpsc, time::interval};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    Api, Outgoing, bad_request,
    limits::{BACKUP_PART_BYTES_MIN, BACKUP_PUT_AHEAD, BACKUP_SIGN_EVERY, CLIENT_STALL},
};
use crate::{
    clock::unix_ms,
    data::{
        DataError,
        backup::{BackupPart, backup_bytes, gather},
    },
    outside::{BucketError, OutsideError, PartedUpload, limits::BUCKET_PARTS_MAX},
};

type Parts = mpsc::Receiver<Result<BackupPart, DataError>>;

impl Api {
    /// A backup with so much of the jobs' bytes, as it is made.
    ///
    /// # Errors
    /// `forbidden`, `bad-request` for an unknown kind, and `too-busy`; the parts may
    /// end with what keeps the cluster from reading.
    pub fn backup(&self, media: &str) -> Result<Outgoing<BackupPart>, Problem> {
        self.operator_only()?;
        let media = media_of(media)?;
        let pass = self.doors().backups.enter(1)?;
        let parts = ReceiverStream::new(self.gather(media));
        let parts = parts.map(|part| part.map_err(|error| error.problem()));
        Ok(Outgoing::new(parts, pass, self.welcome(), CLIENT_STALL))
    }

    /// The same into a bucket of this node, which says how far it is. It is given up
    /// when nobody listens any more.
    ///
    /// # Errors
    /// As [`Api::backup`]; `bad-url`, `unknown-bucket`, `read-only-bucket`,
    /// `already-there`, and `bucket-failed`, with which the parts may end, too.
    pub async fn backup_to(
        &self,
        media: &str,
        to: &str,
        over: bool,
    ) -> Result<Outgoing<BackupPart>, Problem> {
        self.operator_only()?;
        let media = media_of(media)?;
        let url = self.check_bucket(to)?;
        let pass = self.doors().backups.enter(1)?;
        let outside = &self.context().outside;
        let upload = PartedUpload::begin(outside, url, over).await;
        let upload = upload.map_err(|error| refusal(to, &error))?;
        let bytes = backup_bytes(&self.table().local(), media);
        let (sender, told) = mpsc::channel(BACKUP_PUT_AHEAD);
        let putting = Putting {
            to: to.to_string(),
            part_bytes: part_bytes(bytes),
            told: sender,
            put_bytes: 0,
        };
        tokio::spawn(putting.all(self.gather(media), upload));
        let parts = ReceiverStream::new(told);
        Ok(Outgoing::new(parts, pass, self.welcome(), CLIENT_STALL))
    }

    fn gather(&self, media: BackupMedia) -> Parts {
        let cluster_id = self.table().identity().cluster_id.clone();
        let data = self.context().data.clone();
        gather(data, media, (cluster_id, unix_ms()))
    }
}

fn media_of(word: &str) -> Result<BackupMedia, Problem> {
    BackupMedia::parse(word).ok_or_else(|| {
        let cause = format!("'{word}' is no kind of media");
        bad_request(cause, "give none, outputs or all")
    })
}

/// How large the parts of a backup of about so many bytes are: all alike, as some
/// servers want them, and few enough.
fn part_bytes(bytes: u64) -> usize {
    // Twice as many bytes may come while it is made.
    let least = bytes.saturating_mul(2) / BUCKET_PARTS_MAX;
    least.max(BACKUP_PART_BYTES_MIN) as usize
}

fn refusal(to: &str, error: &BucketError) -> Problem {
    let (kind, hint) = match error {
        BucketError::Exists => ("already-there", "name another, or give --overwrite"),
        BucketError::Outside(OutsideError::NoBucket(_)) => {
            ("unknown-bucket", "name one in the file of --s3-buckets")
        }
        BucketError::Outside(OutsideError::ReadOnlyBucket(_)) => (
            "read-only-bucket",
            "name another, or give it write = true in the file of --s3-buckets",
        ),
        _ => (
            "bucket-failed",
            "check the bucket, its keys and what they permit; nothing was left there",
        ),
    };
    Problem::new(kind, format!("{to} can't be put: {error}"), hint)
}

/// A backup on its way into a bucket.
struct Putting {
    to: String,
    part_bytes: usize,
    told: mpsc::Sender<Result<BackupPart, Problem>>,
    put_bytes: u64,
}

/// Why no more is put.
enum Stopped {
    /// Nobody listens.
    Unheard,
    Refused(Problem),
}

impl Putting {
    async fn all(mut self, mut parts: Parts, mut upload: PartedUpload) {
        let ended = match self.put_parts(&mut parts, &mut upload).await {
            Ok(done) => match upload.finish().await {
                Ok(()) => Ok(done),
                Err(error) => Err(Stopped::Refused(refusal(&self.to, &error))),
            },
            Err(stopped) => {
                upload.give_up().await;
                Err(stopped)
            }
        };
        let last = match ended {
            Ok(done) => Ok(done),
            Err(Stopped::Unheard) => return,
            Err(Stopped::Refused(problem)) => Err(problem),
        };
        let _ = self.told.send(last).await;
    }

    /// Puts all that comes; the last word of it.
    async fn put_parts(
        &mut self,
        parts: &mut Parts,
        upload: &mut PartedUpload,
    ) -> Result<BackupPart, Stopped> {
        let mut waiting = BytesMut::new();
        // A sign of life, also where a home is waited for.
        let mut signs = interval(BACKUP_SIGN_EVERY);
        loop {
            let part = tokio::select! {
                part = parts.recv() => part,
                _ = signs.tick() => {
                    self.tell().await?;
                    continue;
                }
            };
            match part {
                Some(Ok(BackupPart::Bytes(bytes))) => waiting.extend_from_slice(&bytes),
                Some(Ok(BackupPart::Put(_))) => {}
                Some(Ok(done @ BackupPart::Done(_))) => {
                    // There is always some: the end of the file.
                    self.put(waiting.freeze(), upload).await?;
                    return Ok(done);
                }
                Some(Err(error)) => return Err(Stopped::Refused(error.problem())),
                None => {
                    let error = DataError::Internal {
                        cause: "the backup ended before its end".to_string(),
                    };
                    return Err(Stopped::Refused(error.problem()));
                }
            }
            while waiting.len() > self.part_bytes {
                let part = waiting.split_to(self.part_bytes).freeze();
                self.put(part, upload).await?;
            }
        }
    }

    async fn put(&mut self, part: Bytes, upload: &mut PartedUpload) -> Result<(), Stopped> {
        let bytes = part.len() as u64;
        let mut signs = interval(BACKUP_SIGN_EVERY);
        let mut putting = Box::pin(upload.put(part));
        let put = loop {
            tokio::select! {
                put = &mut putting => break put,
                _ = signs.tick() => self.tell().await?,
            }
        };
        drop(putting);
        put.map_err(|error| Stopped::Refused(refusal(&self.to, &error)))?;
        self.put_bytes += bytes;
        Ok(())
    }

    async fn tell(&self) -> Result<(), Stopped> {
        let told = self.told.send(Ok(BackupPart::Put(self.put_bytes))).await;
        told.map_err(|_| Stopped::Unheard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_enough_and_none_is_too_small() {
        assert_eq!(part_bytes(0) as u64, BACKUP_PART_BYTES_MIN);
        let terabytes = 4_u64 << 40;
        let parts = terabytes.div_ceil(part_bytes(terabytes) as u64);
        assert!(parts <= BUCKET_PARTS_MAX / 2 + 1, "{parts}");
    }

    #[test]
    fn a_bucket_says_no_by_name() {
        let refused = |error| refusal("s3://a/b", &error).kind;
        assert_eq!(refused(BucketError::Exists), "already-there");
        let unknown = OutsideError::NoBucket("a".into());
        assert_eq!(refused(unknown.into()), "unknown-bucket");
        let closed = OutsideError::ReadOnlyBucket("a".into());
        assert_eq!(refused(closed.into()), "read-only-bucket");
        assert_eq!(refused(BucketError::TooManyParts), "bucket-failed");
    }
}
