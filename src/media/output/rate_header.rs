//! Writes a frame rate into the codec header of the joined shards.
//!
//! Output headers name a frame rate (Matroska's default duration), and a single
//! pass takes the source's. A copy takes it from its input's header, which in
//! fragments has none, so ffmpeg would guess it from the frames. A table of
//! sample durations without samples states it exactly. An empty `mdat` ends the
//! header there; the option `ignidx` keeps ffmpeg from reading on before it
//! starts.
//!
//! Frames have their own times, which none of this affects.

use crate::facts::times::Ratio;

/// Path of the table of sample durations.
const PATH: [&[u8; 4]; 6] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"];

/// The header (`ftyp` and `moov`) with the rate, and the end mark. `None` if
/// the header has no such table or the rate can't be expressed.
pub(crate) fn with_frame_rate(init: &[u8], timescale: u32, rate: Ratio) -> Option<Vec<u8>> {
    let mut with_rate = rebuild(init, &PATH, &table(timescale, rate)?)?;
    with_rate.extend_from_slice(&9u32.to_be_bytes());
    // Without any byte in it, the box would be ignored.
    with_rate.extend_from_slice(b"mdat\0");
    Some(with_rate)
}

/// Durations of as many frames as the rate's numerator, which together last its
/// denominator in seconds: whole ticks, so of two lengths.
fn table(timescale: u32, rate: Ratio) -> Option<Vec<u8>> {
    let frames = u32::try_from(rate.num).ok()?;
    let ticks = u64::from(timescale).checked_mul(u64::try_from(rate.den).ok()?)?;
    let short = u32::try_from(ticks / u64::from(frames)).ok()?;
    let long_frames = u32::try_from(ticks % u64::from(frames)).ok()?;
    // ffmpeg reads durations as signed numbers.
    if short == 0 || short >= i32::MAX as u32 {
        return None;
    }
    let mut entries = vec![(frames - long_frames, short)];
    if long_frames > 0 {
        entries.push((long_frames, short + 1));
    }
    let mut body = 0u32.to_be_bytes().to_vec();
    body.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    for (count, duration) in entries {
        body.extend_from_slice(&count.to_be_bytes());
        body.extend_from_slice(&duration.to_be_bytes());
    }
    Some(body)
}

/// Copies boxes, replacing the body of the one at `path`.
fn rebuild(mut boxes: &[u8], path: &[&[u8; 4]], leaf: &[u8]) -> Option<Vec<u8>> {
    let (&wanted, below) = path.split_first()?;
    let mut out = Vec::with_capacity(boxes.len() + 32);
    let mut found = false;
    while !boxes.is_empty() {
        let size = u32::from_be_bytes(boxes.get(..4)?.try_into().ok()?) as usize;
        let (this, rest) = boxes.split_at_checked(size).filter(|_| size >= 8)?;
        boxes = rest;
        if &this[4..8] != wanted {
            out.extend_from_slice(this);
            continue;
        }
        found = true;
        let body = if below.is_empty() {
            leaf.to_vec()
        } else {
            rebuild(&this[8..], below, leaf)?
        };
        out.extend_from_slice(&u32::try_from(body.len() + 8).ok()?.to_be_bytes());
        out.extend_from_slice(wanted);
        out.extend_from_slice(&body);
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(path: &[&[u8; 4]], body: &[u8]) -> Vec<u8> {
        let inner = match path.split_first() {
            None => return body.to_vec(),
            Some((_, below)) => nested(below, body),
        };
        let mut bytes = (inner.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(path[0]);
        bytes.extend(inner);
        bytes
    }

    #[test]
    fn the_table_says_the_rate_exactly() {
        let film = Ratio {
            num: 24_000,
            den: 1_001,
        };
        let body = table(16_000, film).unwrap();
        let numbers: Vec<u32> = body
            .chunks(4)
            .map(|four| u32::from_be_bytes(four.try_into().unwrap()))
            .collect();
        assert_eq!(numbers[1], 2);
        assert_eq!(numbers[2] + numbers[4], 24_000);
        assert_eq!(
            u64::from(numbers[2]) * u64::from(numbers[3])
                + u64::from(numbers[4]) * u64::from(numbers[5]),
            16_000 * 1_001
        );
        assert_eq!(
            table(
                10_000,
                Ratio {
                    num: 20_000,
                    den: 1
                }
            ),
            None
        );
    }

    #[test]
    fn only_the_table_changes() {
        let with_rate =
            with_frame_rate(&nested(&PATH, &[0; 8]), 12_800, Ratio { num: 100, den: 1 }).unwrap();
        let mut expected = nested(&PATH, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0, 128]);
        expected.extend(b"\0\0\0\x09mdat\0");
        assert_eq!(with_rate, expected);
        assert_eq!(
            with_frame_rate(b"\0\0\0\x08free", 12_800, Ratio { num: 1, den: 1 }),
            None
        );
        assert_eq!(
            with_frame_rate(b"\0\0\0\x99free", 12_800, Ratio { num: 1, den: 1 }),
            None
        );
    }
}
