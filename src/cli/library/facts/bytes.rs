//! What is known of a film, and the bounded reads that it is learned by.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::limits::HEADER_BYTES_MAX;

/// What is known of a film.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Of its first video track, by the names of `--codec` where it has one.
    pub codec: Option<String>,
    pub duration_ms: Option<u64>,
}

impl Facts {
    /// Bits a second of a film of so many bytes.
    pub fn bitrate(&self, bytes: u64) -> Option<u64> {
        let duration_ms = self.duration_ms.filter(|ms| *ms > 0)?;
        let bits = u128::from(bytes) * 8 * 1000 / u128::from(duration_ms);
        u64::try_from(bits).ok()
    }
}

/// Fills the buffer; false where the file ends before.
pub(super) fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// A header of so many bytes; none where it is too large or cut off.
pub(super) fn header(file: &File, at: u64, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    if bytes > HEADER_BYTES_MAX {
        return Ok(None);
    }
    let mut data = vec![0; bytes as usize];
    Ok(read_at(file, at, &mut data)?.then_some(data))
}

/// A number in big endian; none of more than eight bytes.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let fits = bytes.len() <= 8;
    fits.then(|| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    })
}
