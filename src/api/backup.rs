//! Backups: the table, and the bytes of jobs, towards one file, which whoever asks
//! writes, or this node puts into a bucket.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt, stream};
use reelraft_model::{BackupMedia, Problem};
use tokio::{
    sync::{mpsc, watch},
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{
    Api, Outgoing, bad_request,
    limits::{
        BACKUP_IN_BUCKET_BYTES_MAX, BACKUP_PART_BYTES_MAX, BACKUP_PUT_AHEAD, BACKUP_SIGN_EVERY,
        CLIENT_STALL, FETCH_STALL,
    },
};
use crate::{
    clock::unix_ms,
    data::{
        DataError,
        backup::{BackupGap, BackupPart, backup_bytes, gather},
    },
    outside::{self, BucketError, Left, OutsideError, PartedUpload},
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
        Ok(Outgoing::new(parts, pass, self.welcome(), FETCH_STALL))
    }

    /// The same into a bucket of this node, which says how far it is. It is given up
    /// when nobody listens any more.
    ///
    /// # Errors
    /// As [`Api::backup`]; `bad-url` and `backup-too-large`. The parts may end with
    /// `unknown-bucket`, `read-only-bucket`, `already-there` and `bucket-failed`.
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
        // What is kept anywhere counts, and this replica may be old.
        let table = self.table().read().await;
        let table = table.map_err(|error| error.problem())?;
        let part_bytes = part_bytes(to, backup_bytes(&table, media))?;
        drop(table);
        let (sender, told) = mpsc::channel(BACKUP_PUT_AHEAD);
        let putting = Putting {
            to: to.to_string(),
            part_bytes,
            told: sender,
            stopping: self.context().stopping.subscribe(),
            signs: interval(BACKUP_SIGN_EVERY),
            put_bytes: 0,
        };
        // Begun within the task: a client that goes meanwhile leaves nothing half begun.
        let outside = self.context().outside.clone();
        let begin = async move { PartedUpload::begin(&outside, url, over).await };
        tokio::spawn(putting.all(self.gather(media), begin));
        let parts = ReceiverStream::new(told);
        Ok(Outgoing::new(parts, pass, self.welcome(), CLIENT_STALL))
    }

    fn gather(&self, media: BackupMedia) -> Parts {
        let cluster_id = self.table().identity().cluster_id.clone();
        let data = self.context().data.clone();
        gather(data, media, (cluster_id, unix_ms()))
    }
}

/// The bytes of a backup alone, for whoever hears nothing else: what ends without its
/// last word, or has gaps (`backup-incomplete`), ends with an error.
pub fn whole_backup(
    parts: impl Stream<Item = Result<BackupPart, Problem>> + Unpin,
) -> impl Stream<Item = Result<Bytes, Problem>> {
    stream::try_unfold(parts, async |mut parts| {
        while let Some(part) = parts.next().await {
            match part? {
                BackupPart::Bytes(bytes) => return Ok(Some((bytes, parts))),
                BackupPart::Put(_) => {}
                BackupPart::Done(done) => {
                    return match done.gaps.first() {
                        None => Ok(None),
                        Some(gap) => Err(incomplete(gap)),
                    };
                }
            }
        }
        Err(cut_short().problem())
    })
    .inspect_err(|problem| tracing::warn!(%problem, "a backup is not whole"))
}

fn incomplete(gap: &BackupGap) -> Problem {
    Problem::new(
        "backup-incomplete",
        format!("job {} is not whole in it: {}", gap.job, gap.cause),
        "start the nodes that have its bytes, and take another backup",
    )
}

fn cut_short() -> DataError {
    DataError::Internal {
        cause: "the backup ended before its end".to_string(),
    }
}

fn media_of(word: &str) -> Result<BackupMedia, Problem> {
    BackupMedia::parse(word).ok_or_else(|| {
        let cause = format!("'{word}' is no kind of media");
        bad_request(cause, "give none, outputs or all")
    })
}

/// How large the parts of a backup of about so many bytes are.
///
/// # Errors
/// `backup-too-large` for one that no bucket takes in such parts.
fn part_bytes(to: &str, bytes: u64) -> Result<usize, Problem> {
    if bytes > BACKUP_IN_BUCKET_BYTES_MAX {
        let cause = format!(
            "{to} can't be put: it has about {} GiB, and {} GiB are the most that a node puts",
            bytes >> 30,
            BACKUP_IN_BUCKET_BYTES_MAX >> 30
        );
        let hint = "give the name of a file here, or ask for less with --media";
        return Err(Problem::new("backup-too-large", cause, hint));
    }
    // Twice as many bytes may come while it is made.
    let part = outside::part_bytes(bytes.saturating_mul(2));
    Ok(part.min(BACKUP_PART_BYTES_MAX) as usize)
}

fn refusal(to: &str, error: &BucketError, left: Left) -> Problem {
    let (kind, hint) = match (error, left) {
        (BucketError::Exists, _) => ("already-there", "name another, or give --overwrite"),
        (BucketError::Outside(OutsideError::NoBucket(_)), _) => {
            ("unknown-bucket", "name one in the file of --s3-buckets")
        }
        (BucketError::Outside(OutsideError::ReadOnlyBucket(_)), _) => (
            "read-only-bucket",
            "name another, or give it write = true in the file of --s3-buckets",
        ),
        (_, Left::Nothing) => (
            "bucket-failed",
            "check the bucket, its keys and what they permit; nothing was left there",
        ),
        (_, Left::Parts) => (
            "bucket-failed",
            "check the bucket, its keys and what they permit; an unfinished upload may be there",
        ),
        (_, Left::File) => (
            "bucket-failed",
            "the backup may be there: have `reelraft restore` look at it before you make another",
        ),
    };
    Problem::new(kind, format!("{to} can't be put: {error}"), hint)
}

/// A backup on its way into a bucket.
struct Putting {
    to: String,
    part_bytes: usize,
    told: mpsc::Sender<Result<BackupPart, Problem>>,
    /// Set when the node is to stop, which waits for the end of this.
    stopping: watch::Receiver<bool>,
    signs: Interval,
    put_bytes: u64,
}

/// Why no more is put.
enum Stopped {
    /// Nobody listens.
    Unheard,
    Bucket(BucketError),
    Refused(Problem),
}

impl Putting {
    async fn all(
        mut self,
        parts: Parts,
        begin: impl Future<Output = Result<PartedUpload, BucketError>>,
    ) {
        self.signs
            .set_missed_tick_behavior(MissedTickBehavior::Skip);
        // Each of these comes to its end, whoever listens: what is begun is given up.
        let (stopped, left) = match self.saying(begin).await {
            Ok(upload) => match self.put_all(parts, upload).await {
                Ok(done) => {
                    let _ = self.told.send(Ok(done)).await;
                    return;
                }
                Err(ended) => ended,
            },
            Err(error) => {
                let left = Left::of_begin(&error);
                (Stopped::Bucket(error), left)
            }
        };
        let problem = match stopped {
            Stopped::Unheard => return,
            Stopped::Bucket(error) => refusal(&self.to, &error, left),
            Stopped::Refused(problem) => problem,
        };
        let _ = self.told.send(Err(problem)).await;
    }

    /// Puts all, and gives it its name; else gives it up.
    async fn put_all(
        &mut self,
        mut parts: Parts,
        mut upload: PartedUpload,
    ) -> Result<BackupPart, (Stopped, Left)> {
        let (told, mut stopping) = (self.told.clone(), self.stopping.clone());
        let put = tokio::select! {
            put = self.put_parts(&mut parts, &mut upload) => put,
            () = told.closed() => Err(Stopped::Unheard),
            _ = stopping.wait_for(|stopping| *stopping) => Err(Stopped::Refused(stops())),
        };
        // Nobody would know of a file that gets its name now.
        let put = put.and_then(|done| match told.is_closed() {
            true => Err(Stopped::Unheard),
            false => Ok(done),
        });
        match put {
            Ok(done) => match self.saying(upload.finish()).await {
                Ok(()) => Ok(done),
                Err((error, left)) => Err((Stopped::Bucket(error), left)),
            },
            Err(stopped) => {
                let left = self.saying(upload.give_up()).await;
                Err((stopped, left))
            }
        }
    }

    /// Puts all that comes; the last word of it.
    async fn put_parts(
        &mut self,
        parts: &mut Parts,
        upload: &mut PartedUpload,
    ) -> Result<BackupPart, Stopped> {
        let mut waiting = BytesMut::with_capacity(self.part_bytes);
        loop {
            match self.saying(parts.recv()).await {
                Some(Ok(BackupPart::Bytes(mut bytes))) => {
                    while !bytes.is_empty() {
                        if waiting.len() == self.part_bytes {
                            let next = BytesMut::with_capacity(self.part_bytes);
                            let part = std::mem::replace(&mut waiting, next);
                            self.put(part.freeze(), upload).await?;
                        }
                        let fits = (self.part_bytes - waiting.len()).min(bytes.len());
                        waiting.extend_from_slice(&bytes.split_to(fits));
                    }
                }
                Some(Ok(BackupPart::Put(_))) => {}
                Some(Ok(done @ BackupPart::Done(_))) => {
                    // There is always some: the end of the file.
                    self.put(waiting.freeze(), upload).await?;
                    return Ok(done);
                }
                Some(Err(error)) => return Err(Stopped::Refused(error.problem())),
                None => return Err(Stopped::Refused(cut_short().problem())),
            }
        }
    }

    async fn put(&mut self, part: Bytes, upload: &mut PartedUpload) -> Result<(), Stopped> {
        let bytes = part.len() as u64;
        let put = self.saying(upload.put(part)).await;
        put.map_err(Stopped::Bucket)?;
        self.put_bytes += bytes;
        Ok(())
    }

    /// Waits for work, with signs of life meanwhile.
    async fn saying<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                ended = &mut work => return ended,
                _ = self.signs.tick() => {
                    // Whoever has not read the last one needs no other.
                    let _ = self.told.try_send(Ok(BackupPart::Put(self.put_bytes)));
                }
            }
        }
    }
}

fn stops() -> Problem {
    let cause = "the node that put the backup stops";
    Problem::new("stopped", cause, "begin the backup again")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::task::JoinHandle;

    use super::*;
    use crate::data::backup::BackupDone;
    use crate::outside::{
        Url,
        limits::{BUCKET_PART_BYTES, BUCKET_PARTS_MAX},
        parts_tests::{Shared, serve},
    };

    #[test]
    fn parts_are_few_enough_and_of_a_size_that_memory_has() {
        let part = |bytes| part_bytes("s3://a/b", bytes).map(|bytes| bytes as u64);
        assert_eq!(part(0).unwrap(), BUCKET_PART_BYTES);
        let terabyte = 1_u64 << 40;
        let parts = (2 * terabyte).div_ceil(part(terabyte).unwrap());
        assert!(parts <= BUCKET_PARTS_MAX, "{parts}");
        let most = BACKUP_IN_BUCKET_BYTES_MAX;
        assert_eq!(part(most).unwrap(), BACKUP_PART_BYTES_MAX);
        assert!(most.div_ceil(BACKUP_PART_BYTES_MAX) < BUCKET_PARTS_MAX);
        assert_eq!(part(most + 1).unwrap_err().kind, "backup-too-large");
    }

    #[tokio::test]
    async fn a_file_without_its_end_or_with_gaps_ends_with_an_error() {
        let gap = BackupGap {
            job: "j1".into(),
            cause: "lost".into(),
        };
        let gaps = Box::new(BackupDone {
            gaps: vec![gap],
            ..Default::default()
        });
        let last_words = [
            (Some(BackupPart::Done(Box::default())), None),
            (Some(BackupPart::Done(gaps)), Some("backup-incomplete")),
            (None, Some("internal")),
        ];
        for (last, refused) in last_words {
            let (sender, parts) = mpsc::channel(2);
            let bytes = BackupPart::Bytes(Bytes::from_static(b"0123"));
            for part in [Some(bytes), last].into_iter().flatten() {
                sender.send(Ok(part)).await.unwrap();
            }
            drop(sender);
            let said: Vec<_> = whole_backup(ReceiverStream::new(parts)).collect().await;
            assert_eq!(said[0].as_ref().unwrap(), "0123");
            let ended = said
                .get(1)
                .map(|end| end.as_ref().unwrap_err().kind.as_str());
            assert_eq!(ended, refused);
        }
    }

    #[test]
    fn a_bucket_says_no_by_name() {
        let refused = |error| refusal("s3://a/b", &error, Left::Nothing).kind;
        assert_eq!(refused(BucketError::Exists), "already-there");
        let unknown = OutsideError::NoBucket("a".into());
        assert_eq!(refused(unknown.into()), "unknown-bucket");
        let closed = OutsideError::ReadOnlyBucket("a".into());
        assert_eq!(refused(closed.into()), "read-only-bucket");
        assert_eq!(refused(BucketError::TooManyParts), "bucket-failed");
        let hint = |left| refusal("s3://a/b", &BucketError::TooManyParts, left).hint;
        assert!(hint(Left::Nothing).contains("nothing was left"));
        assert!(hint(Left::File).contains("may be there"));
    }

    /// A backup of a test on its way into a bucket of a test.
    struct Trial {
        store: Shared,
        parts: mpsc::Sender<Result<BackupPart, DataError>>,
        told: mpsc::Receiver<Result<BackupPart, Problem>>,
        stopping: watch::Sender<bool>,
        task: JoinHandle<()>,
    }

    impl Trial {
        async fn begin() -> Self {
            let store = Shared::default();
            let outside = serve(store.clone()).await;
            let (parts, read) = mpsc::channel(1);
            let (sender, told) = mpsc::channel(BACKUP_PUT_AHEAD);
            let stopping = watch::Sender::new(false);
            let putting = Putting {
                to: "s3://own/a/b".into(),
                part_bytes: 5,
                told: sender,
                stopping: stopping.subscribe(),
                signs: interval(BACKUP_SIGN_EVERY),
                put_bytes: 0,
            };
            let url = Url::parse("s3://own/a/b").unwrap();
            let begin = async move { PartedUpload::begin(&outside, url, false).await };
            let task = tokio::spawn(putting.all(read, begin));
            Trial {
                store,
                parts,
                told,
                stopping,
                task,
            }
        }

        async fn give(&self, bytes: &'static [u8]) {
            let part = BackupPart::Bytes(Bytes::from_static(bytes));
            self.parts.send(Ok(part)).await.unwrap();
        }

        /// The word after the signs of life.
        async fn last(&mut self) -> Result<BackupPart, Problem> {
            loop {
                match self.told.recv().await.unwrap() {
                    Ok(BackupPart::Put(_)) => {}
                    last => return last,
                }
            }
        }
    }

    #[tokio::test]
    async fn parts_have_one_size_whatever_they_come_in() {
        let mut trial = Trial::begin().await;
        for bytes in [&b"0123"[..], b"456789abcdef", b"g"] {
            trial.give(bytes).await;
        }
        let done = BackupPart::Done(Box::default());
        trial.parts.send(Ok(done)).await.unwrap();
        assert!(matches!(trial.last().await, Ok(BackupPart::Done(_))));
        let store = trial.store.lock().unwrap();
        let parts: Vec<&[u8]> = store.parts.iter().map(AsRef::as_ref).collect();
        assert_eq!(parts, [&b"01234"[..], b"56789", b"abcde", b"fg"]);
        assert!(store.named && !store.given_up);
    }

    #[tokio::test]
    async fn a_node_that_stops_gives_up_and_is_waited_for() {
        let mut trial = Trial::begin().await;
        trial.give(b"0123456789").await;
        trial.stopping.send_replace(true);
        assert!(trial.last().await.unwrap_err().cause.contains("stops"));
        trial.stopping.closed().await;
        let store = trial.store.lock().unwrap();
        assert!(store.given_up && !store.named);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_gets_no_name() {
        for whole in [false, true] {
            let trial = Trial::begin().await;
            drop(trial.told);
            if whole {
                // It may have ended already.
                let done = BackupPart::Done(Box::default());
                let _ = trial.parts.send(Ok(done)).await;
            }
            trial.task.await.unwrap();
            let store = trial.store.lock().unwrap();
            assert!(store.given_up && !store.named);
        }
    }
}
