//! The store itself: its folders, the room that they have, and which blobs and
//! jobs are there.

use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    error::BlobError,
    journal::{self, Journal},
    journals::Journals,
    names::{QUARANTINE_FOLDER, TRASH_FOLDER, check_hash, check_job, names_in, remove_if_there},
    quota::Quota,
    space::{Space, SpaceProbe, statvfs},
    sync::{Failure, GroupSync, sync_folder},
    usage::Usage,
};

const TEMP_FOLDER: &str = "_tmp";
const JOURNAL_FILE: &str = "journal";
const BLOCKS_ENDING: &str = "blocks";

/// A blob on this disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// BLAKE3 in lower-case hex.
    pub hash: String,
    pub bytes: u64,
}

/// The blobs of this disk. Clones share one store.
#[derive(Clone)]
pub struct BlobStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) root: PathBuf,
    probe: SpaceProbe,
    pub(super) quota: Arc<Quota>,
    pub(super) failure: Arc<Failure>,
    temps: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) folders: Mutex<HashMap<String, Arc<GroupSync>>>,
    pub(super) journals: Mutex<Journals>,
    pub(super) usage: Arc<Usage>,
    /// Held by who deletes removed jobs.
    pub(super) trash: Mutex<()>,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStore")
            .field("root", &self.inner.root)
            .finish_non_exhaustive()
    }
}

impl BlobStore {
    /// Opens the store in `root`, or creates it, and removes blobs that were
    /// being written when it was last closed. What a removal has left is
    /// deleted by [`BlobStore::empty_trash`], which may take long.
    ///
    /// # Errors
    /// [`BlobError::Io`] and [`BlobError::SyncFailed`].
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        Self::open_with(root, Arc::new(statvfs))
    }

    /// [`BlobStore::open`] with another way to find out the room.
    ///
    /// # Errors
    /// As [`BlobStore::open`].
    pub fn open_with(root: &Path, probe: SpaceProbe) -> Result<Self, BlobError> {
        let failure = Arc::new(Failure::default());
        let temp = root.join(TEMP_FOLDER);
        if temp.exists() {
            fs::remove_dir_all(&temp).map_err(BlobError::io("empty", &temp))?;
        }
        for folder in [temp, root.join(QUARANTINE_FOLDER), root.join(TRASH_FOLDER)] {
            fs::create_dir_all(&folder).map_err(BlobError::io("create", &folder))?;
        }
        sync_folder(root, &failure)?;
        if let Some(parent) = root
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            sync_folder(parent, &failure)?;
        }
        Ok(BlobStore {
            inner: Arc::new(Inner {
                root: root.to_path_buf(),
                probe,
                quota: Arc::default(),
                failure,
                temps: AtomicU64::new(0),
                damaged: AtomicU64::new(0),
                folders: Mutex::default(),
                journals: Mutex::default(),
                usage: Arc::default(),
                trash: Mutex::default(),
            }),
        })
    }

    /// The sync that failed, if one has. The node must then stop for good.
    pub fn failure(&self) -> Option<String> {
        self.inner.failure.cause().map(str::to_string)
    }

    /// How many blobs were found damaged and moved aside since the store was
    /// opened. When it grows, something must be filled again.
    pub fn damaged(&self) -> u64 {
        self.inner.damaged.load(Ordering::Relaxed)
    }

    /// Has the store keep so many bytes at most; 0: what the disk has. What there is is
    /// counted on a thread, and until it is, nothing more is taken.
    pub fn limit_to(&self, bytes: u64) {
        self.inner.quota.set(&self.inner.root, bytes);
    }

    /// Whether what is kept was counted, where that is limited.
    pub fn is_counted(&self) -> bool {
        self.inner.quota.is_counted()
    }

    /// The room on this disk, as far as the store may use it.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn space(&self) -> Result<Space, BlobError> {
        let root = &self.inner.root;
        let disk = (self.inner.probe)(root).map_err(BlobError::io("ask for the room of", root))?;
        Ok(self.inner.quota.within(root, disk))
    }

    /// Refuses a put that would not leave the reserved share free.
    ///
    /// # Errors
    /// [`BlobError::DiskFull`].
    pub fn check_room(&self, wanted_bytes: u64) -> Result<(), BlobError> {
        let space = self.space()?;
        let Space {
            free_bytes,
            total_bytes,
        } = space;
        if free_bytes < space.reserved_bytes().saturating_add(wanted_bytes) {
            return Err(BlobError::DiskFull {
                free_bytes,
                total_bytes,
                wanted_bytes,
            });
        }
        Ok(())
    }

    /// Whether what is to stay free on the disk itself is nearly used up: puts take none
    /// of it, so that encoders or other programs do.
    pub fn is_disk_nearly_full(&self) -> bool {
        let disk = (self.inner.probe)(&self.inner.root);
        disk.is_ok_and(|disk| disk.free_bytes < disk.nearly_full_bytes())
    }

    /// Refuses work that writes so much to the disk before so much of it is kept: it may
    /// use up what puts leave free, but for the last of it. A limit counts what is kept.
    ///
    /// # Errors
    /// [`BlobError::DiskFull`].
    pub fn check_work_room(&self, work_bytes: u64, kept_bytes: u64) -> Result<(), BlobError> {
        self.check_room(kept_bytes)?;
        let root = &self.inner.root;
        let disk = (self.inner.probe)(root).map_err(BlobError::io("ask for the room of", root))?;
        if disk.free_bytes < disk.nearly_full_bytes().saturating_add(work_bytes) {
            return Err(BlobError::DiskFull {
                free_bytes: disk.free_bytes,
                total_bytes: disk.total_bytes,
                wanted_bytes: work_bytes,
            });
        }
        Ok(())
    }

    /// The size of a blob, if it is here. The bytes are not checked.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn stat(&self, job: &str, hash: &str) -> Result<Option<u64>, BlobError> {
        let path = self.blob_path(job, hash)?;
        let _used = self.inner.usage.enter(job);
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BlobError::io("look at", &path)(error)),
        }
    }

    /// Whether a blob is here. The bytes are not checked.
    ///
    /// # Errors
    /// As [`BlobStore::stat`].
    pub fn has(&self, job: &str, hash: &str) -> Result<bool, BlobError> {
        Ok(self.stat(job, hash)?.is_some())
    }

    /// The blobs of a job, sorted by hash; none if there is no such job here.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn list(&self, job: &str) -> Result<Vec<Stored>, BlobError> {
        check_job(job)?;
        let _used = self.inner.usage.enter(job);
        let folder = self.inner.root.join(job);
        let mut blobs = Vec::new();
        for name in names_in(&folder)? {
            if check_hash(&name).is_ok()
                && let Some(bytes) = self.stat(job, &name)?
            {
                blobs.push(Stored { hash: name, bytes });
            }
        }
        blobs.sort_by(|a, b| a.hash.cmp(&b.hash));
        Ok(blobs)
    }

    /// The jobs that have bytes here.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn jobs(&self) -> Result<Vec<String>, BlobError> {
        let mut jobs = names_in(&self.inner.root)?;
        jobs.retain(|name| check_job(name).is_ok());
        jobs.sort();
        Ok(jobs)
    }

    /// Removes one blob, if it is here.
    ///
    /// # Errors
    /// [`BlobError::BadName`] and [`BlobError::Io`].
    pub fn remove(&self, job: &str, hash: &str) -> Result<(), BlobError> {
        let path = self.blob_path(job, hash)?;
        remove_if_there(&path)?;
        remove_if_there(&blocks_path(&path))
    }

    /// How many bytes this disk takes before it counts as full; none where it
    /// can't be asked.
    pub fn room_bytes(&self) -> u64 {
        let room = |space: Space| space.free_bytes.saturating_sub(space.reserved_bytes());
        self.space().map_or(0, room)
    }

    /// How many chunks the journal of a job has; none if there is no journal.
    /// At most one look at the disk: the records are not read, and nobody's write or
    /// sync is waited for.
    pub fn chunks_known(&self, job: &str) -> u64 {
        let forgotten = match lock(&self.inner.journals).count(job) {
            Ok(count) => return count,
            Err(forgotten) => forgotten,
        };
        let file = self.inner.root.join(job).join(JOURNAL_FILE);
        let Ok(found) = fs::metadata(file) else {
            return 0;
        };
        let count = journal::records_in(found.len());
        lock(&self.inner.journals).learn(job, count, forgotten);
        count
    }

    /// The chunk journal of a job, opened with its first use.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn journal(&self, job: &str) -> Result<Arc<Journal>, BlobError> {
        check_job(job)?;
        // Keeps a removal away until it is known here.
        let _used = self.inner.usage.enter(job);
        let opening = {
            let mut journals = lock(&self.inner.journals);
            if let Some(journal) = journals.open(job) {
                return Ok(journal);
            }
            journals.opening(job)
        };
        // A disk whose syncs take seconds keeps nobody else waiting.
        let _alone = lock(&opening);
        if let Some(journal) = lock(&self.inner.journals).open(job) {
            return Ok(journal);
        }
        let folder = self.job_folder(job)?;
        let path = folder.join(JOURNAL_FILE);
        let (failure, usage) = (self.inner.failure.clone(), self.inner.usage.clone());
        let journal = Arc::new(Journal::open(&path, job, failure, usage)?);
        lock(&self.inner.journals).keep(job, &journal);
        Ok(journal)
    }

    /// The folder of a job. A new one is synced into the store.
    pub(super) fn job_folder(&self, job: &str) -> Result<PathBuf, BlobError> {
        let folder = self.inner.root.join(job);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BlobError::io("create", &folder)(error)),
        }
        // Once for each folder and run, even if it exists: the run that made it
        // may have ended before it was synced.
        if !lock(&self.inner.folders).contains_key(job) {
            sync_folder(&self.inner.root, &self.inner.failure)?;
            lock(&self.inner.folders)
                .entry(job.to_string())
                .or_default();
        }
        Ok(folder)
    }

    pub(super) fn blob_path(&self, job: &str, hash: &str) -> Result<PathBuf, BlobError> {
        check_job(job)?;
        check_hash(hash)?;
        Ok(self.inner.root.join(job).join(hash))
    }

    pub(super) fn temp_path(&self) -> PathBuf {
        let number = self.inner.temps.fetch_add(1, Ordering::Relaxed);
        self.inner.root.join(TEMP_FOLDER).join(number.to_string())
    }

    pub(super) fn full(&self, wanted_bytes: u64) -> BlobError {
        let space = self.space().unwrap_or(Space {
            free_bytes: 0,
            total_bytes: 0,
        });
        BlobError::DiskFull {
            free_bytes: space.free_bytes,
            total_bytes: space.total_bytes,
            wanted_bytes,
        }
    }

    pub(super) fn open_error(&self, job: &str, hash: &str, error: io::Error) -> BlobError {
        if error.kind() == io::ErrorKind::NotFound {
            return BlobError::Missing {
                job: job.to_string(),
                hash: hash.to_string(),
            };
        }
        BlobError::io("open", &self.inner.root.join(job).join(hash))(error)
    }
}

pub(super) fn blocks_path(blob: &Path) -> PathBuf {
    blob.with_extension(BLOCKS_ENDING)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}
