//! Matroska and WebM: the segment's length, and the codec of its first video
//! track.

use std::{fs::File, io};

use super::bytes::{Facts, header, number, read_at};
use crate::limits::BOXES_MAX;

pub(super) const MAGIC: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];

const SEGMENT: u64 = 0x1853_8067;
const INFO: u64 = 0x1549_a966;
const TRACKS: u64 = 0x1654_ae6b;
const CLUSTER: u64 = 0x1f43_b675;
const TIMESTAMP_SCALE: u64 = 0x2a_d7b1;
const DURATION: u64 = 0x4489;
const TRACK: u64 = 0xae;
const TRACK_TYPE: u64 = 0x83;
const CODEC_ID: u64 = 0x86;

/// Nanoseconds of a tick, unless the segment says otherwise.
const TICK_NS: u64 = 1_000_000;

/// The type of video tracks.
const VIDEO: u64 = 1;

/// Codecs by the names of `--codec`; others keep the end of their own.
const CODECS: [(&str, &str); 5] = [
    ("V_MPEG4/ISO/AVC", "h264"),
    ("V_MPEGH/ISO/HEVC", "hevc"),
    ("V_AV1", "av1"),
    ("V_VP9", "vp9"),
    ("V_FFV1", "ffv1"),
];

pub(super) fn facts(file: &File, bytes: u64) -> io::Result<Facts> {
    let mut facts = Facts::default();
    let mut at = 0;
    for _ in 0..BOXES_MAX {
        let mut head = [0; 12];
        let read = (bytes.saturating_sub(at)).min(12) as usize;
        if !read_at(file, at, &mut head[..read])? {
            break;
        }
        let Some((id, size, skip)) = element(&head[..read]) else {
            break;
        };
        at += skip as u64;
        // Its elements follow; those looked for stand before the first cluster.
        match (id, size) {
            (SEGMENT, _) => continue,
            (CLUSTER, _) | (_, None) => break,
            (INFO, Some(size)) => {
                let info = header(file, at, size)?;
                facts.duration_ms = info.and_then(|info| duration_ms(&info));
            }
            (TRACKS, Some(size)) => {
                let tracks = header(file, at, size)?;
                facts.codec = tracks.and_then(|tracks| video_codec(&tracks));
            }
            _ => {}
        }
        let Some(next) = size.and_then(|size| at.checked_add(size)) else {
            break;
        };
        at = next;
    }
    Ok(facts)
}

/// An element's id, its size unless that is unknown, and the bytes of both.
fn element(data: &[u8]) -> Option<(u64, Option<u64>, usize)> {
    let id_bytes = data.first()?.leading_zeros() as usize + 1;
    let id = number(data.get(..id_bytes).filter(|_| id_bytes <= 4)?)?;
    let rest = &data[id_bytes..];
    let size_bytes = rest.first()?.leading_zeros() as usize + 1;
    let size = number(rest.get(..size_bytes).filter(|_| size_bytes <= 8)?)?;
    let mask = (1_u64 << (7 * size_bytes)) - 1;
    let size = (size & mask != mask).then_some(size & mask);
    Some((id, size, id_bytes + size_bytes))
}

/// The elements in an element, with their content; ends at what is none.
fn elements(mut data: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, skip) = element(data)?;
        let end = usize::try_from(size?).ok()?.checked_add(skip)?;
        let content = data.get(skip..end)?;
        data = &data[end..];
        Some((id, content))
    })
}

fn find(data: &[u8], wanted: u64) -> Option<&[u8]> {
    let found = elements(data).find(|(id, _)| *id == wanted);
    found.map(|(_, content)| content)
}

fn duration_ms(info: &[u8]) -> Option<u64> {
    let tick_ns = find(info, TIMESTAMP_SCALE).map_or(Some(TICK_NS), number)?;
    let duration = find(info, DURATION)?;
    let ticks = match duration.len() {
        4 => f64::from(f32::from_be_bytes(duration.try_into().ok()?)),
        8 => f64::from_be_bytes(duration.try_into().ok()?),
        _ => return None,
    };
    let ms = ticks * tick_ns as f64 / 1e6;
    // A rule of thumb is made of it: a part of a millisecond is nothing.
    (ms.is_finite() && ms >= 0.0).then_some(ms as u64)
}

fn video_codec(tracks: &[u8]) -> Option<String> {
    let tracks = elements(tracks).filter(|(id, _)| *id == TRACK);
    let is_video = |track: &[u8]| find(track, TRACK_TYPE).and_then(number) == Some(VIDEO);
    let mut videos = tracks.filter(|(_, track)| is_video(track));
    let codec = find(videos.next()?.1, CODEC_ID)?;
    let codec = String::from_utf8_lossy(codec);
    let codec = codec.trim_end_matches('\0');
    let known = CODECS.iter().find(|(id, _)| *id == codec);
    Some(match known {
        Some((_, name)) => (*name).to_string(),
        None => codec.trim_start_matches("V_").to_lowercase(),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::tests::facts_of, *};

    fn made(id: u64, content: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes();
        let first = id.iter().position(|byte| *byte != 0).unwrap_or(7);
        // A size of eight bytes.
        let size = (content.len() as u64 | 1 << 56).to_be_bytes();
        [&id[first..], &size, content].concat()
    }

    pub fn film() -> Vec<u8> {
        let info = [
            made(TIMESTAMP_SCALE, &[0x0f, 0x42, 0x40]),
            made(DURATION, &90_500.0_f64.to_be_bytes()),
        ];
        let track = |kind: u8, codec: &str| {
            let content = [made(TRACK_TYPE, &[kind]), made(CODEC_ID, codec.as_bytes())];
            made(TRACK, &content.concat())
        };
        let tracks = [track(2, "A_OPUS"), track(1, "V_MPEG4/ISO/AVC")];
        let mut film = made(u64::from(u32::from_be_bytes(MAGIC)), b"head");
        // A segment of unknown size, as of a live recording.
        film.extend([0x18, 0x53, 0x80, 0x67, 0xff]);
        film.extend(made(INFO, &info.concat()));
        film.extend(made(TRACKS, &tracks.concat()));
        film.extend(made(CLUSTER, &[0; 50]));
        film
    }

    #[test]
    fn a_film_says_what_it_is() {
        let wanted = Facts {
            codec: Some("h264".into()),
            duration_ms: Some(90_500),
        };
        assert_eq!(facts_of(&film()), wanted);
    }
}
