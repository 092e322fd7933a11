//! Selects the video of a job, and with it the program that its other streams
//! come from.
//!
//! Not here: which of the other streams are taken; see `audio` and `extras`.

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    facts::source::{Program, Stream, describe_streams},
};

/// The video that a spec asks for; by default the one that ffmpeg itself would
/// take: the largest picture, with a preference for the default stream, never a
/// cover. A still is taken only where there is nothing else: it may have more
/// pixels than the film that it lies beside.
///
/// # Errors
/// [`MediaError::NoSuchVideoTrack`] and [`MediaError::NoSuchProgram`] for what
/// the source lacks, [`MediaError::Undecodable`] for a codec that this ffmpeg
/// has no name for, [`MediaError::NoVideo`] if there is none.
pub(crate) fn video<'s>(
    spec: &Spec,
    streams: &'s [Stream],
    programs: &[Program],
    stills: &[u32],
) -> Result<&'s Stream, MediaError> {
    let program = program(spec, programs)?;
    let score = |stream: &Stream| {
        let film = !stills.contains(&stream.index);
        let known = stream.codec_name.is_some();
        let pixels = stream.width * stream.height;
        let preference = 5_000_000 * u64::from(stream.has("default"));
        (known, film, pixels + preference)
    };
    let films = streams.iter().filter(|stream| stream.is_film());
    let mut best: Option<&Stream> = None;
    let mut tracks = 0;
    for (number, stream) in (1..).zip(films) {
        tracks = number;
        let asked = match spec.video_track {
            0 => program.is_none_or(|program| program.has(stream)),
            track => track == number,
        };
        if asked && best.is_none_or(|best| score(stream) > score(best)) {
            best = Some(stream);
        }
    }
    match best {
        Some(stream) if stream.codec_name.is_some() => Ok(stream),
        Some(stream) => Err(MediaError::Undecodable {
            what: "video",
            codec: stream.codec_or_tag().to_string(),
        }),
        None if spec.video_track > 0 => Err(MediaError::NoSuchVideoTrack {
            number: spec.video_track,
            tracks,
        }),
        None => Err(MediaError::NoVideo {
            found: describe_streams(streams),
        }),
    }
}

/// The program that a spec asks for.
fn program<'p>(spec: &Spec, programs: &'p [Program]) -> Result<Option<&'p Program>, MediaError> {
    let asked = spec.program;
    let found = programs.iter().find(|program| program.number == asked);
    match (asked, found) {
        (0, _) => Ok(None),
        (_, Some(program)) => Ok(Some(program)),
        (number, None) => Err(MediaError::NoSuchProgram {
            number,
            found: numbers(programs),
        }),
    }
}

fn numbers(programs: &[Program]) -> String {
    if programs.is_empty() {
        return "none".into();
    }
    let numbers = programs.iter().take(NAMED_MAX);
    let numbers: Vec<String> = numbers.map(|program| program.number.to_string()).collect();
    numbers.join(", ")
}

/// Programs named in an error; a multiplex has about ten.
const NAMED_MAX: usize = 16;

/// Marks the streams of other programs than the one asked for, or else that of
/// the chosen video. A program without sound of its own leaves all sound there
/// is.
///
/// # Errors
/// [`MediaError::NoSuchProgram`] if the source lacks the one asked for.
pub(crate) fn mark_other_programs(
    spec: &Spec,
    streams: &mut [Stream],
    programs: &[Program],
    video: Option<u32>,
) -> Result<(), MediaError> {
    let asked = program(spec, programs)?;
    let of_video = |program: &&Program| program.streams.iter().any(|own| Some(own.index) == video);
    let Some(chosen) = asked.or_else(|| programs.iter().find(of_video)) else {
        return Ok(());
    };
    for stream in streams.iter_mut() {
        let elsewhere = programs.iter().any(|program| program.has(stream));
        stream.in_other_program = elsewhere && !chosen.has(stream);
    }
    let mut sounds = streams.iter().filter(|stream| stream.is("audio"));
    if sounds.all(|stream| stream.in_other_program) {
        for stream in streams.iter_mut().filter(|stream| stream.is("audio")) {
            stream.in_other_program = false;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn streams() -> Vec<Stream> {
        serde_json::from_str(
            r#"[{"index":0,"codec_type":"video","codec_name":"h264","width":64,"height":64},
            {"index":1,"codec_type":"audio","codec_name":"aac"},
            {"index":2,"codec_type":"video","codec_name":"png","width":9,"height":9,"disposition":{"attached_pic":1}},
            {"index":3,"codec_type":"video","codec_name":"h264","width":128,"height":64},
            {"index":4,"codec_type":"audio","codec_name":"aac"},
            {"index":5,"codec_type":"subtitle","codec_name":"dvb_subtitle"},
            {"index":6,"codec_type":"video","codec_tag_string":"vvc1","width":999,"height":999}]"#,
        )
        .unwrap()
    }

    fn programs() -> Vec<Program> {
        serde_json::from_str(
            r#"[{"program_id":1,"streams":[{"index":0},{"index":1}]},
            {"program_id":20,"streams":[{"index":3},{"index":4}]},
            {"program_id":30,"streams":[{"index":6}]}]"#,
        )
        .unwrap()
    }

    fn chosen(program: u32, video_track: u32, stills: &[u32]) -> Result<u32, MediaError> {
        let spec = Spec {
            program,
            video_track,
            ..Default::default()
        };
        video(&spec, &streams(), &programs(), stills).map(|stream| stream.index)
    }

    #[test]
    fn a_still_does_not_beat_the_film_and_what_is_asked_for_is_taken() {
        assert_eq!(chosen(0, 0, &[]).unwrap(), 3);
        assert_eq!(chosen(0, 0, &[3]).unwrap(), 0, "the larger is a still");
        assert_eq!(chosen(0, 0, &[0, 3]).unwrap(), 3, "nothing but stills");
        assert_eq!(chosen(1, 0, &[]).unwrap(), 0);
        assert_eq!(chosen(0, 2, &[3]).unwrap(), 3, "asked for, still or not");
        let error = chosen(7, 0, &[]).unwrap_err();
        assert_eq!(error.kind(), "no-program");
        assert!(error.to_string().contains("1, 20, 30"), "{error}");
        let error = chosen(0, 4, &[]).unwrap_err();
        assert_eq!(error.kind(), "no-video-track");
        assert!(error.to_string().contains("has 3"), "{error}");
        let error = chosen(30, 0, &[]).unwrap_err();
        assert_eq!(error.kind(), "no-decoder");
        assert!(error.to_string().contains("VVC (H.266)"), "{error}");
    }

    #[test]
    fn sound_comes_from_the_pictures_program_if_it_has_any() {
        let marked = |spec: &Spec, video| {
            let mut streams = streams();
            mark_other_programs(spec, &mut streams, &programs(), video).unwrap();
            let others = streams.iter().filter(|stream| stream.in_other_program);
            others.map(|stream| stream.index).collect::<Vec<u32>>()
        };
        let any = Spec::default();
        assert_eq!(marked(&any, Some(3)), [0, 1, 6]);
        assert_eq!(marked(&any, Some(6)), [0, 3], "it has no sound");
        let none: [u32; 0] = [];
        assert_eq!(marked(&any, None), none);
        let first = Spec {
            program: 1,
            ..Default::default()
        };
        assert_eq!(marked(&first, None), [3, 4, 6]);
    }
}
