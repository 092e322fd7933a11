//! Settles what becomes of a source's timecode: that of the file, or of a track.
//! QuickTime's muxers make a track of it, and complain of one that is none;
//! other containers keep any text as a tag.

use reelraft_model::spec::Container;

use crate::facts::{
    file_metadata::FileMetadata,
    labels::{Label, is_storable},
    source::{ProbedSource, Stream},
    times::Ratio,
};

/// The name of its tag.
const TAG: &str = "timecode";

/// Puts the source's timecode where `container` wants it: on the video's label,
/// or among the tags. What is changed or left out is noted in `notes`. `rate`
/// is that of the film.
pub(crate) fn settle(
    container: Container,
    found: &ProbedSource,
    rate: Option<Ratio>,
    metadata: &mut FileMetadata,
    label: &mut Label,
    notes: &mut Vec<String>,
) {
    let video = found.source.video.as_ref().map(|video| video.stream);
    let own = |stream: &&Stream| Some(stream.index) == video;
    let of_track = |stream: &&Stream| stream.is("data") && !stream.in_other_program;
    let in_file = metadata.tag(TAG).map(str::to_string);
    let in_stream = || {
        let mut streams = found.streams.iter();
        let video = streams.find(own).and_then(Stream::timecode);
        let mut tracks = found.streams.iter().filter(of_track);
        video.or_else(|| tracks.find_map(Stream::timecode))
    };
    let Some(text) = in_file.or_else(|| in_stream().map(str::to_string)) else {
        return;
    };
    if !is_storable(&text) {
        return;
    }
    if !matches!(container, Container::Mp4 | Container::Mov) {
        metadata.set(TAG, &text);
        return;
    }
    // On the video alone: as a tag of the file a cover would get a track, too.
    metadata.leave(TAG);
    match fitted(&text, rate) {
        Ok((kept, note)) => {
            label.tags.insert(TAG.into(), kept);
            notes.extend(note);
        }
        Err(why) => notes.push(format!("the timecode {text:?} {why} and is left out")),
    }
}

/// The timecode as it is stored, with a note if it is changed.
fn fitted(text: &str, rate: Option<Ratio>) -> Result<(String, Option<String>), &'static str> {
    let numbers = parse(text).ok_or("is none")?;
    let rate = rate.ok_or("counts frames of a film without a rate")?;
    let per_second = (rate.num + rate.den / 2) / rate.den;
    if per_second < 1 {
        return Err("counts frames of a film without a rate");
    }
    if !numbers.drops || per_second % 30 == 0 {
        return Ok((text.to_string(), None));
    }
    let [hours, minutes, seconds, frame] = numbers.parts;
    let plain = format!("{hours:02}:{minutes:02}:{seconds:02}:{frame:02}");
    let note = format!(
        "the timecode {text} drops frames, which {per_second} a second don't: it is kept as {plain}"
    );
    Ok((plain, Some(note)))
}

struct Numbers {
    parts: [u32; 4],
    /// Whether it counts two numbers fewer a minute, as at 29.97 a second.
    drops: bool,
}

/// Parses `hh:mm:ss:ff`, of which the last mark may be `;` or `.`.
fn parse(text: &str) -> Option<Numbers> {
    let mark = text.rfind([':', ';', '.'])?;
    let (front, frame) = (&text[..mark], &text[mark + 1..]);
    let mut fields = front.split(':').chain([frame]);
    let mut number = || -> Option<u32> {
        let field = fields.next()?;
        let plain = !field.is_empty() && field.len() <= 3;
        let plain = plain && field.bytes().all(|byte| byte.is_ascii_digit());
        field.parse().ok().filter(|_| plain)
    };
    let parts = [number()?, number()?, number()?, number()?];
    let drops = !text[mark..].starts_with(':');
    fields.next().is_none().then_some(Numbers { parts, drops })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(num: i64, den: i64) -> Option<Ratio> {
        Some(Ratio { num, den })
    }

    #[test]
    fn a_timecode_is_kept_mended_or_refused_by_name() {
        let kept = |text: &str, rate| fitted(text, rate).map(|(kept, note)| (kept, note.is_some()));
        let same = |text: &str| Ok((text.to_string(), false));
        assert_eq!(kept("10:20:30:05", at(25, 1)), same("10:20:30:05"));
        assert_eq!(kept("01:00:00;02", at(30_000, 1_001)), same("01:00:00;02"));
        assert_eq!(kept("01:00:00.02", at(60_000, 1_001)), same("01:00:00.02"));
        let mended = Ok(("01:00:00:02".to_string(), true));
        assert_eq!(kept("01:00:00;02", at(25, 1)), mended);
        for text in [
            "unknown",
            "",
            "1:2:3",
            "1:2:3:4:5",
            "a:b:c:d",
            "-1:00:00:00",
        ] {
            assert_eq!(kept(text, at(25, 1)), Err("is none"), "{text}");
        }
        assert!(kept("10:20:30:05", None).is_err());
        assert!(kept("10:20:30:05", at(1, 4)).is_err());
    }
}
