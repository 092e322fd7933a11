//! Records in one file, of which the end shows that it is whole.
//!
//! ```text
//! "RRBACK01"
//! record:  kind (u8), length (u32), CRC-32 of all three, payload   (big-endian)
//! end:     kind 255: number of records before it (u64), BLAKE3 of all bytes before it
//! ```
//! A flipped bit shows in its record, a file that was cut at its end. What the records
//! mean is not known here.

use std::io::{ErrorKind, Read};

use crate::limits::ARCHIVE_RECORD_BYTES_MAX;

const MAGIC: &[u8; 8] = b"RRBACK01";
const END: u8 = u8::MAX;
const HEAD_BYTES: usize = 9;
const END_BYTES: usize = 8 + blake3::OUT_LEN;

/// Why a file is none of ours, or not whole.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("can't be read: {0}")]
    Io(#[from] std::io::Error),
    /// It was cut off, or its writer was.
    #[error("it ends too early, at byte {at}")]
    Truncated { at: u64 },
    /// Some bytes are not those that were written.
    #[error("it is damaged at byte {at}: {cause}")]
    Damaged { at: u64, cause: &'static str },
}

/// Makes the bytes of a file.
#[derive(Debug, Default)]
pub struct ArchiveWriter {
    hasher: blake3::Hasher,
    records: u64,
}

impl ArchiveWriter {
    /// A writer, and what a file begins with.
    pub fn begin() -> (Self, Vec<u8>) {
        let mut writer = ArchiveWriter::default();
        writer.hasher.update(MAGIC);
        (writer, MAGIC.to_vec())
    }

    /// The bytes of one more record.
    ///
    /// # Panics
    /// For a kind that is the end's, and for one beyond
    /// [`ARCHIVE_RECORD_BYTES_MAX`]: bugs of the caller.
    pub fn record(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        assert!(kind != END && payload.len() <= ARCHIVE_RECORD_BYTES_MAX);
        self.records += 1;
        let bytes = record(kind, payload);
        self.hasher.update(&bytes);
        bytes
    }

    /// The bytes after the last record.
    pub fn end(self) -> Vec<u8> {
        let mut payload = self.records.to_be_bytes().to_vec();
        payload.extend_from_slice(self.hasher.finalize().as_bytes());
        record(END, &payload)
    }
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
    bytes.push(kind);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&checksum(kind, length, payload).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn checksum(kind: u8, length: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(&length);
    crc.update(payload);
    crc.finalize()
}

/// Reads a file from its start, record by record.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    from: R,
    hasher: blake3::Hasher,
    at: u64,
    records: u64,
    ended: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Begins with the first bytes.
    ///
    /// # Errors
    /// [`ArchiveError`], for what is no such file too.
    pub fn begin(from: R) -> Result<Self, ArchiveError> {
        let mut reader = ArchiveReader {
            from,
            hasher: blake3::Hasher::new(),
            at: 0,
            records: 0,
            ended: false,
        };
        let mut magic = [0; MAGIC.len()];
        reader.take(&mut magic)?;
        reader.hasher.update(&magic);
        match magic == *MAGIC {
            true => Ok(reader),
            false => Err(ArchiveError::Damaged {
                at: 0,
                cause: "it does not begin like a backup of this format",
            }),
        }
    }

    /// Goes on at a record of a file that was read to its end before: each record is
    /// checked by itself, and not the whole.
    pub fn at_record(from: R, at: u64) -> Self {
        ArchiveReader {
            from,
            hasher: blake3::Hasher::new(),
            at,
            records: 0,
            ended: false,
        }
    }

    /// The next record; none after the last one of a whole file.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn next_record(&mut self) -> Result<Option<(u8, Vec<u8>)>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let begun = self.at;
        let damaged = |cause| Err(ArchiveError::Damaged { at: begun, cause });
        let mut head = [0; HEAD_BYTES];
        self.take(&mut head)?;
        let kind = head[0];
        let length = [head[1], head[2], head[3], head[4]];
        let known = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let bytes = u32::from_be_bytes(length) as usize;
        if bytes > ARCHIVE_RECORD_BYTES_MAX {
            return damaged("a record that is longer than any");
        }
        let mut payload = vec![0; bytes];
        self.take(&mut payload)?;
        if checksum(kind, length, &payload) != known {
            return damaged("the checksum of a record differs");
        }
        if kind != END {
            self.hasher.update(&head);
            self.hasher.update(&payload);
            self.records += 1;
            return Ok(Some((kind, payload)));
        }
        let mut whole = self.records.to_be_bytes().to_vec();
        whole.extend_from_slice(self.hasher.finalize().as_bytes());
        if payload.len() != END_BYTES || payload != whole {
            return damaged("its hash is not that of its records");
        }
        if self.from.read(&mut [0])? != 0 {
            return damaged("bytes follow its end");
        }
        self.ended = true;
        Ok(None)
    }

    /// How many bytes were read.
    pub fn at(&self) -> u64 {
        self.at
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), ArchiveError> {
        match self.from.read_exact(bytes) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(ArchiveError::Truncated { at: self.at })
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written() -> Vec<u8> {
        let (mut writer, mut bytes) = ArchiveWriter::begin();
        for (kind, payload) in [(1, &b"head"[..]), (2, b""), (1, b"a longer record")] {
            bytes.extend(writer.record(kind, payload));
        }
        bytes.extend(writer.end());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, ArchiveError> {
        let mut reader = ArchiveReader::begin(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let records = read(&written()).unwrap();
        let longer = b"a longer record".to_vec();
        let all = [(1, b"head".to_vec()), (2, Vec::new()), (1, longer)];
        assert_eq!(records, all);
    }

    #[test]
    fn a_file_that_was_cut_anywhere_is_refused() {
        let whole = written();
        for length in 0..whole.len() {
            let error = read(&whole[..length]).unwrap_err();
            let cut = matches!(error, ArchiveError::Truncated { .. });
            assert!(cut, "at {length}: {error}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(read(&longer).is_err(), "bytes follow");
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let whole = written();
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[byte] ^= 1 << bit;
                assert!(read(&flipped).is_err(), "byte {byte}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_that_was_left_out_is_missed() {
        let (mut writer, mut bytes) = ArchiveWriter::begin();
        bytes.extend(writer.record(1, b"one"));
        writer.record(1, b"two");
        bytes.extend(writer.end());
        let error = read(&bytes).unwrap_err();
        assert!(matches!(error, ArchiveError::Damaged { .. }), "{error}");
    }
}
