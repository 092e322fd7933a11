//! When the packets of a finished MP4 file come, from its own tables: for a long
//! film in a moment, where ffprobe would name each packet in a line of text.

use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::{
    error::MediaError,
    facts::times::{Ratio, rescale},
    ffmpeg::{
        mp4_boxes::{ChildBoxes, box_head, child, number},
        packet_scan::PacketScan,
    },
    limits::{PACKETS_MAX, TABLES_BYTES_MAX},
};

/// The tables of a file.
#[derive(Debug, Default)]
pub(crate) struct SampleTables {
    /// Of each track its kind as MP4 has it, and its packets.
    tracks: Vec<([u8; 4], Option<PacketScan>)>,
}

impl SampleTables {
    /// Hands out the packets of the `number`th track of a kind: `v` or `a`. None
    /// where the tables don't say when each comes.
    pub fn take(&mut self, kind: char, number: usize) -> Option<PacketScan> {
        let wanted = match kind {
            'v' => b"vide",
            'a' => b"soun",
            _ => return None,
        };
        let mut own = self.tracks.iter_mut().filter(|(kind, _)| kind == wanted);
        own.nth(number)?.1.take()
    }
}

/// Reads the tables of a file that our own ffmpeg wrote; none where it is laid
/// out in another way than the options for outputs give.
///
/// # Errors
/// [`MediaError::Disk`].
pub(crate) fn read(path: &Path) -> Result<SampleTables, MediaError> {
    let movie = movie_box(path).map_err(MediaError::disk("reading the output"))?;
    let tables = movie.and_then(|movie| tables(&movie));
    Ok(tables.unwrap_or_default())
}

/// The body of a file's `moov`.
fn movie_box(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut at = 0u64;
    while at + 8 <= bytes {
        let (kind, head, size) = box_head(&mut reader, bytes - at)?;
        if size < head.len() as u64 || size > bytes - at {
            return Ok(None);
        }
        if &kind == b"moov" {
            if size > TABLES_BYTES_MAX {
                return Ok(None);
            }
            let mut body = vec![0; size as usize - head.len()];
            reader.read_exact(&mut body)?;
            return Ok(Some(body));
        }
        at += size;
        reader.seek(SeekFrom::Start(at))?;
    }
    Ok(None)
}

fn tables(movie: &[u8]) -> Option<SampleTables> {
    if child(movie, b"mvex").is_some() {
        return None;
    }
    let clock = timescale(child(movie, b"mvhd")?)?;
    let tracks = ChildBoxes(movie).filter(|(kind, _)| kind == b"trak");
    let tracks = tracks.map(|(_, track)| {
        let media = child(track, b"mdia")?;
        let kind = child(media, b"hdlr")?.get(8..12)?.try_into().ok()?;
        Some((kind, packets(track, media, clock)))
    });
    Some(SampleTables {
        tracks: tracks.collect::<Option<_>>()?,
    })
}

/// Ticks per second, of a movie's header or of a track's.
fn timescale(header: &[u8]) -> Option<u32> {
    // Version 1 has creation and modification times of 8 bytes each.
    number(header, if *header.first()? == 1 { 20 } else { 12 })
}

/// The packets of a track, `clock` being the ticks per second of its edits.
fn packets(track: &[u8], media: &[u8], clock: u32) -> Option<PacketScan> {
    let base = Ratio {
        num: 1,
        den: timescale(child(media, b"mdhd")?)?.into(),
    };
    let table = child(child(media, b"minf")?, b"stbl")?;
    let sizes = child(table, b"stsz")?;
    // Of equal sizes are also the samples of plain sound, of which a packet has
    // many.
    let (size, count) = (number(sizes, 4)?, number(sizes, 8)? as usize);
    if size != 0 || count > PACKETS_MAX || sizes.len() != 12 + 4 * count {
        return None;
    }
    let moved = moved(track, base, clock)?;
    let durations = Runs::of(child(table, b"stts")?);
    let offsets = child(table, b"ctts").map(Runs::of);
    let mut times = Vec::with_capacity(count);
    let mut time = moved;
    for duration in durations.take(count + 1) {
        times.push(time);
        time = time.checked_add(duration.into())?;
    }
    if let Some(offsets) = offsets {
        let mut shifted = 0;
        // Signed in version 1, and never beyond 31 bits in version 0.
        for (time, offset) in times.iter_mut().zip(offsets) {
            *time = time.checked_add((offset as i32).into())?;
            shifted += 1;
        }
        if shifted != count {
            return None;
        }
    }
    (times.len() == count && base.den > 0).then(|| PacketScan::of(times, base))
}

/// By how much a track's list of edits moves it. It says where a track begins,
/// and nothing else, in files of ours.
fn moved(track: &[u8], base: Ratio, clock: u32) -> Option<i64> {
    let Some(list) = child(track, b"edts").and_then(|edits| child(edits, b"elst")) else {
        return Some(0);
    };
    let wide = *list.first()? == 1;
    let entry = |at: usize| {
        let at = 8 + at * if wide { 20 } else { 12 };
        match wide {
            true => {
                let long = |at: usize| list.get(at..at + 8)?.try_into().ok();
                let [duration, start] = [long(at)?, long(at + 8)?];
                Some((i64::from_be_bytes(duration), i64::from_be_bytes(start)))
            }
            false => Some((
                number(list, at)?.into(),
                i64::from(number(list, at + 4)? as i32),
            )),
        }
    };
    let clock = Ratio {
        num: 1,
        den: clock.into(),
    };
    match number(list, 4)? {
        1 => entry(0)
            .filter(|(_, start)| *start >= 0)
            .map(|(_, start)| -start),
        2 => {
            let ((empty, none), (_, start)) = (entry(0)?, entry(1)?);
            let plain = none == -1 && start >= 0 && clock.den > 0;
            let begins = plain.then(|| rescale(empty, clock, base))?;
            begins.checked_sub(start)
        }
        _ => None,
    }
}

/// Values of a table that says how many times each comes.
struct Runs<'a> {
    table: &'a [u8],
    at: usize,
    value: u32,
    left: u32,
}

impl<'a> Runs<'a> {
    fn of(table: &'a [u8]) -> Self {
        Runs {
            table,
            at: 8,
            value: 0,
            left: 0,
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            self.left = number(self.table, self.at)?;
            self.value = number(self.table, self.at + 4)?;
            self.at += 8;
        }
        self.left -= 1;
        Some(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    fn table(kind: &[u8; 4], values: &[i32]) -> Vec<u8> {
        let values = values.iter().flat_map(|value| value.to_be_bytes());
        boxed(kind, &values.collect::<Vec<u8>>())
    }

    /// A track of three packets of 512 ticks, the second shown last.
    fn film(edits: &[i32], sizes: &[i32], offsets: &[i32]) -> Vec<u8> {
        let samples = [
            table(b"stts", &[0, 2, 2, 512, 1, 500]),
            table(b"ctts", offsets),
            table(b"stsz", sizes),
        ];
        let samples = boxed(b"minf", &boxed(b"stbl", &samples.concat()));
        let media = [
            table(b"mdhd", &[0, 0, 0, 12_800, 0, 0]),
            boxed(b"hdlr", b"\0\0\0\0\0\0\0\0vide"),
            samples,
        ];
        let edits = boxed(b"edts", &table(b"elst", edits));
        let track = [edits, boxed(b"mdia", &media.concat())].concat();
        let header = table(b"mvhd", &[0, 0, 0, 1_000, 0]);
        let movie = boxed(b"moov", &[header, boxed(b"trak", &track)].concat());
        [boxed(b"ftyp", b"isom"), movie, boxed(b"mdat", b"media")].concat()
    }

    fn times(bytes: &[u8]) -> Option<Vec<i64>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut tables = read(file.path()).unwrap();
        assert!(tables.take('a', 0).is_none() && tables.take('v', 1).is_none());
        tables.take('v', 0).map(|scan| scan.times)
    }

    const SIZES: [i32; 6] = [0, 0, 3, 9, 9, 9];
    const OFFSETS: [i32; 8] = [0, 3, 1, 512, 1, 1_024, 1, 0];

    #[test]
    fn times_are_those_that_are_shown() {
        let begins_at_once = film(&[0, 1, 100, 512, 0x1_0000], &SIZES, &OFFSETS);
        assert_eq!(times(&begins_at_once), Some(vec![0, 1_024, 512]));
        let late = [0, 2, 50, -1, 0x1_0000, 100, 512, 0x1_0000];
        assert_eq!(
            times(&film(&late, &SIZES, &OFFSETS)),
            Some(vec![640, 1_664, 1_152])
        );
    }

    #[test]
    fn what_is_laid_out_otherwise_is_not_read() {
        let once = [0, 1, 100, 512, 0x1_0000];
        for odd in [
            film(
                &[0, 2, 50, 0, 0x1_0000, 100, 512, 0x1_0000],
                &SIZES,
                &OFFSETS,
            ),
            film(&once, &[0, 2, 3], &OFFSETS),
            film(&once, &[0, 0, 4, 9, 9, 9, 9], &OFFSETS),
            film(&once, &[0, 0, 2, 9, 9], &OFFSETS),
            film(&once, &[0, 0, 3, 9], &OFFSETS),
            film(&once, &SIZES, &OFFSETS[..6]),
            boxed(b"ftyp", b"isom"),
        ] {
            assert_eq!(times(&odd), None);
        }
        let whole = film(&once, &SIZES, &OFFSETS);
        assert_eq!(times(&whole[..whole.len() - 40]), None);
    }
}
