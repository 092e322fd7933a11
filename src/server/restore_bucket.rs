//! A backup that lies in a bucket, read like a file: `reelraft restore s3://NAME/KEY`.

use std::{
    fmt,
    io::{self, Read},
    path::Path,
    sync::Arc,
    thread::sleep,
};

use reelraft_model::Problem;
use tokio::runtime::{Builder, Runtime};

use crate::{
    data::backup::BackupFile,
    limits::{BUCKET_READ_PAUSE, BUCKET_READ_TRIES_MAX},
    outside::{
        Buckets, Found, Outside, Remote, SourceError, SystemLookup, Url,
        addresses::AllowedAddresses, check, look,
    },
};

/// A file in a bucket, as it was found.
pub struct BucketFile {
    outside: Outside,
    url: Url,
    found: Found,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for BucketFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BucketFile").field(&self.name()).finish()
    }
}

impl BucketFile {
    /// Looks for one, in a bucket that the file of buckets names.
    ///
    /// # Errors
    /// `bad-config`, `bad-url`, `unknown-bucket`, and those of a source that can't be
    /// had.
    pub fn find(text: &str, buckets: Option<&Path>) -> Result<Self, Problem> {
        let hint = "give --s3-buckets the file that the nodes have";
        let bad = |cause: String| Problem::new("bad-config", cause, hint);
        let path = buckets.ok_or_else(|| bad("nobody says what the bucket is".into()))?;
        let buckets = Buckets::read(path);
        let buckets = buckets.map_err(|cause| bad(format!("{}: {cause}", path.display())))?;
        let url = check("backup", text, true)?;
        let name = url.host_str().unwrap_or_default();
        if buckets.may(name, "").is_none() {
            let cause = format!("{} names no bucket '{name}'", path.display());
            return Err(Problem::new("unknown-bucket", cause, hint));
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| bad(error.to_string()))?;
        let lookup = Arc::new(SystemLookup);
        let outside = Outside::new(AllowedAddresses::default(), buckets, lookup);
        let found = runtime.block_on(look(&outside, &url));
        let found = found.map_err(|error| error.problem(text))?;
        Ok(BucketFile {
            outside,
            url,
            found,
            runtime: Arc::new(runtime),
        })
    }
}

impl BackupFile for BucketFile {
    fn name(&self) -> String {
        self.url.to_string()
    }

    fn open_at(&self, at: u64) -> io::Result<Box<dyn Read>> {
        let (url, bytes) = (self.url.clone(), self.found.bytes);
        Ok(Box::new(BucketReader {
            remote: Remote::new(&self.outside, url, bytes, &self.found.validator),
            at,
            end: bytes,
            runtime: self.runtime.clone(),
        }))
    }
}

struct BucketReader {
    remote: Remote,
    at: u64,
    end: u64,
    runtime: Arc<Runtime>,
}

impl Read for BucketReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let bytes = (into.len() as u64).min(left) as usize;
        if bytes == 0 {
            return Ok(0);
        }
        let mut tries = 1;
        let read = loop {
            match self.runtime.block_on(self.remote.read(self.at, bytes)) {
                Ok(read) => break read,
                Err(error) if tries < BUCKET_READ_TRIES_MAX && may_pass(&error) => tries += 1,
                Err(error) => return Err(io::Error::other(error.problem("").cause)),
            }
            sleep(BUCKET_READ_PAUSE);
        };
        into[..bytes].copy_from_slice(&read);
        self.at += bytes as u64;
        Ok(bytes)
    }
}

fn may_pass(error: &SourceError) -> bool {
    match error {
        SourceError::Later(_) => true,
        SourceError::Status(status) => *status >= 500 || *status == 429,
        SourceError::Never(_) => false,
    }
}
