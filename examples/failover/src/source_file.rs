//! A file to upload, read chunk by chunk.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use bytes::Bytes;

/// How much of the start and the end of a file goes into its fingerprint.
const FINGERPRINT_BYTES: u64 = 64 << 10;

pub(crate) struct SourceFile {
    file: File,
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

impl SourceFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let name = path.file_name().unwrap_or_default();
        Ok(SourceFile {
            bytes: file.metadata()?.len(),
            file,
            name: name.to_string_lossy().into_owned(),
        })
    }

    /// BLAKE3 over the size, the first and the last 64 KiB, in hex.
    pub(crate) fn fingerprint(&self) -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes.to_le_bytes());
        let length = self.bytes.min(FINGERPRINT_BYTES);
        for start in [0, self.bytes - length] {
            hasher.update(&self.read(start, length)?);
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The bytes of one chunk; the last one may be shorter than the others.
    pub(crate) fn chunk(&self, number: u64, chunk_bytes: u32) -> io::Result<Bytes> {
        let start = number * u64::from(chunk_bytes);
        let length = u64::from(chunk_bytes).min(self.bytes.saturating_sub(start));
        self.read(start, length).map(Bytes::from)
    }

    fn read(&self, start: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut data = vec![0; length as usize];
        self.file.read_exact_at(&mut data, start)?;
        Ok(data)
    }
}
