//! MP4 and MOV: the movie's length, and the format of its first video track.

use std::{fs::File, io};

use super::bytes::{Facts, header, number, read_at};
use crate::limits::BOXES_MAX;

/// Formats by the names of `--codec`; others keep their own.
const FORMATS: [(&[u8; 4], &str); 9] = [
    (b"avc1", "h264"),
    (b"avc3", "h264"),
    (b"hvc1", "hevc"),
    (b"hev1", "hevc"),
    (b"dvh1", "hevc"),
    (b"dvhe", "hevc"),
    (b"av01", "av1"),
    (b"vp09", "vp9"),
    (b"FFV1", "ffv1"),
];

/// Bytes of a box's head, without a large size.
const HEAD: usize = 8;

pub(super) fn facts(file: &File, bytes: u64) -> io::Result<Facts> {
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        let mut head = [0; 16];
        if at >= bytes || !read_at(file, at, &mut head[..HEAD])? {
            break;
        }
        let (mut size, mut skip) = (number(&head[..4]).unwrap_or(0), HEAD as u64);
        if size == 1 && read_at(file, at, &mut head)? {
            (size, skip) = (number(&head[8..]).unwrap_or(0), 16);
        } else if size == 0 {
            size = bytes - at;
        }
        let Some(content) = size.checked_sub(skip) else {
            break;
        };
        if &head[4..8] == b"moov" {
            let movie = header(file, at + skip, content)?;
            return Ok(movie.map_or(Facts::default(), |movie| of_movie(&movie)));
        }
        let Some(next) = at.checked_add(size) else {
            break;
        };
        at = next;
    }
    Ok(Facts::default())
}

fn of_movie(movie: &[u8]) -> Facts {
    let tracks = boxes(movie).filter(|(kind, _)| kind == b"trak");
    Facts {
        codec: tracks.filter_map(|(_, track)| video_format(track)).next(),
        duration_ms: find(movie, &[b"mvhd"]).and_then(duration_ms),
    }
}

/// The boxes in a box, with their content; ends at what is none.
fn boxes(mut data: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = number(data.get(..4)?)?;
        let kind: [u8; 4] = data.get(4..HEAD)?.try_into().ok()?;
        let size = usize::try_from(size).ok().filter(|size| *size >= HEAD)?;
        let content = data.get(HEAD..size)?;
        data = &data[size..];
        Some((kind, content))
    })
}

/// The content of the first box along a path.
fn find<'a>(data: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(data, |data, wanted| {
        let found = boxes(data).find(|(kind, _)| kind == *wanted);
        found.map(|(_, content)| content)
    })
}

fn video_format(track: &[u8]) -> Option<String> {
    let media = find(track, &[b"mdia"])?;
    if find(media, &[b"hdlr"])?.get(8..12)? != b"vide" {
        return None;
    }
    // After version, flags and count comes the first entry, which is a box.
    let entries = find(media, &[b"minf", b"stbl", b"stsd"])?;
    let format: &[u8; 4] = entries.get(12..16)?.try_into().ok()?;
    let known = FORMATS.iter().find(|(four, _)| *four == format);
    Some(match known {
        Some((_, name)) => (*name).to_string(),
        None => String::from_utf8_lossy(format).trim().to_lowercase(),
    })
}

fn duration_ms(head: &[u8]) -> Option<u64> {
    let (scale, duration, unknown) = match head.first()? {
        1 => (head.get(20..24)?, head.get(24..32)?, u64::MAX),
        _ => (head.get(12..16)?, head.get(16..20)?, u64::from(u32::MAX)),
    };
    let (scale, duration) = (number(scale)?, number(duration)?);
    if scale == 0 || duration == unknown {
        return None;
    }
    u64::try_from(u128::from(duration) * 1000 / u128::from(scale)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::tests::facts_of, *};

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = (content.len() + HEAD) as u32;
        [&size.to_be_bytes()[..], kind, content].concat()
    }

    fn track(handler: &[u8; 4], format: &[u8; 4]) -> Vec<u8> {
        let entry = boxed(format, &[0; 70]);
        let entries = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &entry].concat();
        let table = boxed(b"minf", &boxed(b"stbl", &boxed(b"stsd", &entries)));
        let handler = boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
        boxed(b"trak", &boxed(b"mdia", &[handler, table].concat()))
    }

    pub fn film() -> Vec<u8> {
        let mut head = vec![0; 100];
        head[12..16].copy_from_slice(&600_u32.to_be_bytes());
        head[16..20].copy_from_slice(&1_500_u32.to_be_bytes());
        let movie = [
            boxed(b"mvhd", &head),
            track(b"soun", b"mp4a"),
            track(b"vide", b"hvc1"),
        ];
        let wide = [&[0, 0, 0, 1][..], b"mdat", &20_u64.to_be_bytes(), &[7; 4]].concat();
        let kind = boxed(b"ftyp", b"isom0000");
        [kind, wide, boxed(b"moov", &movie.concat())].concat()
    }

    #[test]
    fn a_film_says_what_it_is() {
        let wanted = Facts {
            codec: Some("hevc".into()),
            duration_ms: Some(2_500),
        };
        assert_eq!(facts_of(&film()), wanted);
        let sound = [
            boxed(b"ftyp", b"M4A 0000"),
            boxed(b"moov", &track(b"soun", b"mp4a")),
        ];
        assert_eq!(facts_of(&sound.concat()), Facts::default());
    }
}
