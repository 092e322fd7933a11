//! Names the streams that a job takes nothing from: other videos, programs and
//! data.
//!
//! Not here: audio, subtitles, attachments and covers, whose steps name what
//! they leave out.

use reelraft_model::spec::Spec;

use crate::facts::source::{ProbedSource, Program, Stream};

/// Notes of the streams that are left out, except those that were not asked
/// for: of sound alone that is every picture.
pub(crate) fn streams(spec: &Spec, found: &ProbedSource) -> Vec<String> {
    let mut notes = Vec::new();
    if !spec.container().sound_alone() {
        notes.extend(videos(found));
    }
    notes.extend(programs(found));
    notes.extend(data(spec, found));
    notes
}

/// Videos beside the film, of no program that is left out as a whole.
fn videos(found: &ProbedSource) -> impl Iterator<Item = String> {
    let chosen = found.source.video.as_ref().map(|video| video.stream);
    let films = found.streams.iter().filter(|stream| stream.is_film());
    (1..)
        .zip(films)
        .filter(move |(_, stream)| Some(stream.index) != chosen && !stream.in_other_program)
        .map(|(number, stream)| {
            let size = match stream.has_size() {
                true => format!(", {}x{}", stream.width, stream.height),
                false => String::new(),
            };
            let codec = stream.codec_or_tag();
            format!(
                "video track {number} ({codec}{size}) is left out; --video-track {number} takes it"
            )
        })
}

fn programs(found: &ProbedSource) -> impl Iterator<Item = String> {
    let left_out = |program: &&Program| {
        let mut own = found.streams.iter().filter(|stream| program.has(stream));
        own.any(|stream| stream.in_other_program)
    };
    found.programs.iter().filter(left_out).map(|program| {
        let number = program.number;
        let own = found.streams.iter().filter(|stream| program.has(stream));
        let kinds: Vec<&str> = own.map(kind).collect();
        format!(
            "program {number} ({}) is left out; --program {number} takes it",
            kinds.join(", ")
        )
    })
}

fn kind(stream: &Stream) -> &str {
    stream.codec_type.as_deref().unwrap_or("unknown data")
}

/// Tracks of data. A timecode track is no more than its first timecode, which
/// `timecode.rs` settles, and QuickTime's chapters are kept as chapters.
fn data(spec: &Spec, found: &ProbedSource) -> Vec<String> {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for stream in &found.streams {
        let known = match stream.tag().unwrap_or_default() {
            "tmcd" => stream.timecode().is_some() || spec.strip_metadata,
            "text" => !found.chapters.is_empty(),
            _ => false,
        };
        let is_data = !["video", "audio", "subtitle", "attachment"].contains(&kind(stream));
        if known || !is_data || stream.in_other_program {
            continue;
        }
        // ffmpeg calls most of them the same.
        let codec = stream.tag().unwrap_or(stream.codec_or_tag());
        let name = match stream.tags.get("handler_name").map(|name| name.trim()) {
            Some(name) if !name.is_empty() && name.len() <= HANDLER_BYTES_MAX => {
                format!("{codec}, {name}")
            }
            _ => codec.to_string(),
        };
        match kinds.iter_mut().find(|(kind, _)| *kind == name) {
            Some((_, count)) => *count += 1,
            None => kinds.push((name, 1)),
        }
    }
    let named = kinds.into_iter().map(|(name, count)| match count {
        1 => format!("a data track ({name}) is left out"),
        count => format!("{count} data tracks ({name}) are left out"),
    });
    named.collect()
}

/// Longest name of a track's handler that is quoted: those of cameras are
/// words, such as "GoPro MET".
const HANDLER_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn found(streams: &str) -> ProbedSource {
        ProbedSource {
            indexed: true,
            description: None,
            packets: None,
            source: sample().facts.source,
            streams: serde_json::from_str(streams).unwrap(),
            programs: Vec::new(),
            tags: Default::default(),
            chapters: Vec::new(),
        }
    }

    fn notes(container: &str, found: &ProbedSource) -> Vec<String> {
        let request = SpecRequest {
            container: container.into(),
            ..Default::default()
        };
        streams(&resolve(&request).unwrap(), found)
    }

    #[test]
    fn each_stream_that_is_left_out_is_named_once() {
        let mut camera = found(
            r#"[{"index":0,"codec_type":"video","codec_name":"h264"},
            {"index":1,"codec_type":"video","codec_name":"mjpeg","width":64,"height":48},
            {"index":2,"codec_type":"data","codec_tag_string":"gpmd","codec_name":"bin_data","tags":{"handler_name":"GoPro MET"}},
            {"index":3,"codec_type":"data","codec_tag_string":"tmcd","tags":{"timecode":"01:00:00:00"}},
            {"index":4,"codec_type":"data","codec_tag_string":"mett"},
            {"index":5,"codec_type":"data","codec_tag_string":"mett"},
            {"index":6,"codec_tag_string":"[0][0][0][0]"},
            {"index":7,"codec_type":"video","codec_name":"png","disposition":{"attached_pic":1}}]"#,
        );
        let data = [
            "a data track (gpmd, GoPro MET) is left out",
            "2 data tracks (mett) are left out",
            "a data track (unknown) is left out",
        ];
        let video = "video track 2 (mjpeg, 64x48) is left out; --video-track 2 takes it";
        assert_eq!(notes("mp4", &camera), [&[video], &data[..]].concat());
        camera.source.video = None;
        assert_eq!(notes("m4a", &camera), data);
    }

    #[test]
    fn a_program_is_named_as_a_whole() {
        let mut broadcast = found(
            r#"[{"index":0,"codec_type":"video","codec_name":"h264"},
            {"index":1,"codec_type":"video","codec_name":"h264"},
            {"index":2,"codec_type":"audio","codec_name":"aac"}]"#,
        );
        broadcast.programs =
            serde_json::from_str(r#"[{"program_id":7,"streams":[{"index":1},{"index":2}]}]"#)
                .unwrap();
        for stream in &mut broadcast.streams[1..] {
            stream.in_other_program = true;
        }
        let program = "program 7 (video, audio) is left out; --program 7 takes it";
        assert_eq!(notes("mp4", &broadcast), [program]);
    }
}
