//! What rules need to know of a film without a node: its video codec and how long
//! it is, read from the headers of the two families of containers that nearly all
//! films of a library are in. The files are hostile: all that is read is bounded,
//! and what is not understood is not known.
//!
//! ```text
//! mod ──▶ mp4, matroska ──▶ bytes
//! ```

mod bytes;
mod matroska;
mod mp4;

use std::{fs::File, io};

pub use self::bytes::Facts;
use self::bytes::read_at;

impl Facts {
    /// Of an open file.
    ///
    /// # Errors
    /// The system's own, where it can't be read.
    pub fn of(file: &File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let mut head = [0; 12];
        let known = read_at(file, 0, &mut head)?;
        Ok(if known && &head[4..8] == b"ftyp" {
            mp4::facts(file, bytes)?
        } else if known && head[..4] == matroska::MAGIC {
            matroska::facts(file, bytes)?
        } else {
            Facts::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    pub fn facts_of(bytes: &[u8]) -> Facts {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Facts::of(&file).unwrap()
    }

    #[test]
    fn a_bit_rate_follows_from_size_and_length() {
        let facts = Facts {
            codec: None,
            duration_ms: Some(2_000),
        };
        assert_eq!(facts.bitrate(500_000), Some(2_000_000));
        assert_eq!(Facts::default().bitrate(5), None);
        assert_eq!(facts_of(b"text"), Facts::default());
    }

    fn noise(state: &mut u64) -> u8 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state as u8
    }

    #[test]
    fn no_bytes_do_any_harm() {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for whole in [mp4::tests::film(), matroska::tests::film()] {
            for round in 0..2_000_usize {
                let mut bytes = whole.clone();
                for _ in 0..=round % 4 {
                    let at = usize::from(noise(&mut state)) * bytes.len() / 256;
                    bytes[at] = noise(&mut state);
                }
                bytes.truncate(bytes.len() - round % 7);
                let _ = facts_of(&bytes);
            }
        }
    }
}
