//! Reads the boxes of a fragmented MP4 that our own ffmpeg wrote: its codec
//! header and the times of its packets. Media data is skipped.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use crate::{
    error::MediaError,
    ffmpeg::mp4_boxes::{ChildBoxes, box_head, child, number},
    limits::{INIT_BYTES_MAX, MOOF_BYTES_MAX, PACKETS_MAX},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Decode time in ticks of the track.
    pub dts: i64,
    /// Presentation time in ticks of the track.
    pub pts: i64,
    /// Its size.
    pub bytes: u32,
}

/// A fragmented file with one track.
#[derive(Clone, Debug)]
pub(crate) struct Fragments {
    /// `ftyp` and `moov`.
    pub init: Vec<u8>,
    /// Offset of the first fragment, in bytes.
    pub body_offset: u64,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Ticks per second.
    pub timescale: u32,
    /// In file order.
    pub samples: Vec<Sample>,
    /// Where the last of them ends, in ticks of the track's decode times.
    pub end: i64,
}

/// Reads a fragmented file.
///
/// # Errors
/// [`MediaError::BadOutput`] if it is not what our muxer options give.
pub(crate) fn read(path: &Path) -> Result<Fragments, MediaError> {
    read_samples(path, usize::MAX)
}

/// Cuts a file off behind its first samples, where a fragment ends with them, and
/// reads it. What follows may have been left unfinished.
///
/// # Errors
/// Those of [`read`].
pub(crate) fn cut(path: &Path, samples: usize) -> Result<Fragments, MediaError> {
    let found = read_samples(path, samples)?;
    let file = File::options().write(true).open(path);
    file.and_then(|file| file.set_len(found.bytes))
        .map_err(MediaError::disk("cutting an encoded shard"))?;
    Ok(found)
}

/// Reads a file up to the end of the fragment with which it has so many samples.
fn read_samples(path: &Path, samples: usize) -> Result<Fragments, MediaError> {
    let disk = || MediaError::disk("reading an encoded shard");
    let file = File::open(path).map_err(disk())?;
    let bytes = file.metadata().map_err(disk())?.len();
    let mut reader = BufReader::new(file);
    let mut found = Fragments {
        init: Vec::new(),
        body_offset: 0,
        bytes,
        timescale: 0,
        samples: Vec::new(),
        end: 0,
    };
    let mut defaults = Defaults::default();
    let mut at = 0u64;
    while at < bytes {
        let (kind, head, size) = box_head(&mut reader, bytes - at).map_err(disk())?;
        if size < head.len() as u64 || size > bytes - at {
            return Err(malformed("a box that does not fit"));
        }
        let rest = size - head.len() as u64;
        match &kind {
            b"ftyp" | b"moov" => {
                if found.init.len() as u64 + size > INIT_BYTES_MAX {
                    return Err(malformed("a codec header of unusual size"));
                }
                let body = body(&mut reader, rest)?;
                if &kind == b"moov" {
                    (found.timescale, defaults) =
                        movie(&body).ok_or_else(|| malformed("its codec header"))?;
                }
                found.init.extend_from_slice(&head);
                found.init.extend_from_slice(&body);
                found.body_offset = at + size;
            }
            b"moof" => {
                if rest > MOOF_BYTES_MAX {
                    return Err(malformed("a fragment of unusual size"));
                }
                let body = body(&mut reader, rest)?;
                found.end = fragment(&body, defaults, &mut found.samples)
                    .ok_or_else(|| malformed("a fragment's times"))?;
            }
            _ => {
                let skip = i64::try_from(rest).map_err(|_| malformed("a box that does not fit"))?;
                reader.seek_relative(skip).map_err(disk())?;
            }
        }
        at += size;
        if &kind == b"mdat" && found.samples.len() == samples {
            found.bytes = at;
            break;
        }
    }
    if found.timescale == 0 {
        return Err(malformed("no codec header"));
    }
    Ok(found)
}

fn malformed(detail: &str) -> MediaError {
    MediaError::BadOutput {
        tool: "ffmpeg".into(),
        detail: format!("{detail} in a fragmented file"),
    }
}

fn body(reader: &mut impl Read, size: u64) -> Result<Vec<u8>, MediaError> {
    let mut body = vec![0u8; size as usize];
    reader
        .read_exact(&mut body)
        .map_err(MediaError::disk("reading an encoded shard"))?;
    Ok(body)
}

/// Values of samples that have none of their own.
#[derive(Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    bytes: u32,
}

/// Timescale of the only track, and its defaults.
fn movie(moov: &[u8]) -> Option<(u32, Defaults)> {
    let track = child(moov, b"trak")?;
    let header = child(child(track, b"mdia")?, b"mdhd")?;
    // Version 1 has creation and modification times of 8 bytes each.
    let timescale = number(header, if *header.first()? == 1 { 20 } else { 12 })?;
    let defaults = child(moov, b"mvex")
        .and_then(|extends| child(extends, b"trex"))
        .and_then(|extends| {
            Some(Defaults {
                duration: number(extends, 12)?,
                bytes: number(extends, 16)?,
            })
        })
        .unwrap_or_default();
    Some((timescale, defaults))
}

fn fragment(moof: &[u8], mut defaults: Defaults, samples: &mut Vec<Sample>) -> Option<i64> {
    let track = child(moof, b"traf")?;
    let mut dts = 0i64;
    for (kind, body) in ChildBoxes(track) {
        match &kind {
            b"tfhd" => {
                let flags = number(body, 0)? & 0xff_ffff;
                let mut at = 8;
                for (flag, size) in [(0x1, 8), (0x2, 4), (0x8, 4), (0x10, 4)] {
                    if flags & flag == 0 {
                        continue;
                    }
                    match flag {
                        0x8 => defaults.duration = number(body, at)?,
                        0x10 => defaults.bytes = number(body, at)?,
                        _ => {}
                    }
                    at += size;
                }
            }
            b"tfdt" => {
                dts = if *body.first()? == 1 {
                    i64::from_be_bytes(body.get(4..12)?.try_into().ok()?)
                } else {
                    number(body, 4)?.into()
                };
            }
            b"trun" => dts = run(body, defaults, dts, samples)?,
            _ => {}
        }
    }
    Some(dts)
}

fn run(body: &[u8], defaults: Defaults, mut dts: i64, samples: &mut Vec<Sample>) -> Option<i64> {
    let flags = number(body, 0)? & 0xff_ffff;
    let count = number(body, 4)?;
    // A sample that has nothing of its own takes no byte of the table.
    if count as usize > PACKETS_MAX.saturating_sub(samples.len()) {
        return None;
    }
    let mut at = 8;
    for flag in [0x1, 0x4] {
        if flags & flag != 0 {
            at += 4;
        }
    }
    for _ in 0..count {
        let mut field = |flag: u32| -> Option<Option<u32>> {
            if flags & flag == 0 {
                return Some(None);
            }
            let value = number(body, at)?;
            at += 4;
            Some(Some(value))
        };
        let own_duration = field(0x100)?;
        let own_bytes = field(0x200)?;
        field(0x400)?;
        // Signed in version 1, and never beyond 31 bits in version 0.
        let offset = field(0x800)?.unwrap_or(0) as i32;
        samples.push(Sample {
            dts,
            pts: dts.checked_add(offset.into())?,
            bytes: own_bytes.unwrap_or(defaults.bytes),
        });
        dts = dts.checked_add(own_duration.unwrap_or(defaults.duration).into())?;
    }
    Some(dts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    fn numbers(values: &[u32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_be_bytes())
            .collect()
    }

    fn file(fragments: &[Vec<u8>]) -> tempfile::NamedTempFile {
        let header = boxed(b"mdhd", &numbers(&[0, 0, 0, 12_288, 0, 0]));
        let track = boxed(b"trak", &boxed(b"mdia", &header));
        let extends = boxed(b"mvex", &boxed(b"trex", &numbers(&[0, 1, 1, 512, 0, 0])));
        let mut bytes = boxed(b"ftyp", b"isom");
        bytes.extend(boxed(b"moov", &[track, extends].concat()));
        for fragment in fragments {
            bytes.extend(boxed(b"moof", fragment));
            bytes.extend(boxed(b"mdat", b"media"));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn times_come_from_defaults_and_from_samples() {
        let head = boxed(b"tfhd", &numbers(&[0x02_0010, 1, 5]));
        let start = boxed(
            b"tfdt",
            &[&[1, 0, 0, 0][..], &1024i64.to_be_bytes()].concat(),
        );
        let plain = boxed(b"trun", &numbers(&[0x1, 2, 0]));
        let offsets = boxed(
            b"trun",
            &numbers(&[0x0100_0b01, 2, 0, 100, 9, 7, 100, 8, (-7i32) as u32]),
        );
        let track = boxed(b"traf", &[head, start, plain, offsets].concat());
        let found = read(file(&[track]).path()).unwrap();
        assert_eq!((found.timescale, found.end), (12_288, 2248));
        let samples: Vec<_> = found
            .samples
            .iter()
            .map(|sample| (sample.dts, sample.pts, sample.bytes))
            .collect();
        assert_eq!(
            samples,
            [
                (1024, 1024, 5),
                (1536, 1536, 5),
                (2048, 2055, 9),
                (2148, 2141, 8)
            ]
        );
    }

    #[test]
    fn a_file_is_cut_where_a_fragment_ends() {
        let head = boxed(b"tfhd", &numbers(&[0x02_0000, 1]));
        let run = |count| boxed(b"trun", &numbers(&[0x1, count, 0]));
        let fragment = |count| boxed(b"traf", &[head.clone(), run(count)].concat());
        let file = file(&[fragment(3), fragment(2), fragment(4)]);
        let bytes = std::fs::read(file.path()).unwrap();
        // The encoder was ended while it wrote the fragment behind.
        std::fs::write(file.path(), &bytes[..bytes.len() - 20]).unwrap();
        let found = cut(file.path(), 5).unwrap();
        assert_eq!(found.samples.len(), 5);
        let left = std::fs::read(file.path()).unwrap();
        assert_eq!(left.len() as u64, found.bytes);
        assert_eq!(read(file.path()).unwrap().samples, found.samples);
        assert!(left.ends_with(b"media"));
        assert_ne!(cut(file.path(), 4).unwrap().samples.len(), 4);
    }

    #[test]
    fn samples_without_end_are_refused() {
        let start = |dts: i64| boxed(b"tfdt", &[&[1, 0, 0, 0][..], &dts.to_be_bytes()].concat());
        for (dts, count) in [(0, u32::MAX), (i64::MAX - 500, 2)] {
            let run = boxed(b"trun", &numbers(&[0, count]));
            let fragment = boxed(b"traf", &[start(dts), run].concat());
            assert!(read(file(&[fragment]).path()).is_err(), "{count}");
        }
    }

    #[test]
    fn a_cut_off_file_is_refused() {
        let whole = file(&[boxed(b"traf", &[])]);
        let bytes = std::fs::read(whole.path()).unwrap();
        for length in [3, 20, bytes.len() - 3] {
            std::fs::write(whole.path(), &bytes[..length]).unwrap();
            assert!(read(whole.path()).is_err(), "{length}");
        }
        std::fs::write(whole.path(), b"").unwrap();
        assert!(read(whole.path()).is_err());
    }
}
