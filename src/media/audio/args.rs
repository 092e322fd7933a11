//! Argument lists for audio: pure functions of the index and the spec, like
//! `encode_args.rs`. Not here: how tracks are joined with the pictures, which
//! is in `mux_args.rs`.

use reelraft_model::spec::{Audio, Container, Spec};

use crate::{
    audio::filters::filters,
    facts::{
        audio_track::AudioTrack, containers::muxer, index::Index, source::Source, text::strings,
    },
    ffmpeg::{
        args::{drain_other_streams, global_options},
        input::{Input, open_input},
        log::{LOG, LOG_ERRORS},
    },
    limits::SHIFT_SECONDS,
};

/// How an audio track is kept between its encoding and the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioIntermediate {
    /// Fragmented MP4, late by the shift.
    Mp4,
    /// The same as QuickTime has it, which takes more codecs.
    Mov,
    /// Ogg, without a shift: MP4 loses the end of Opus.
    Ogg,
    /// Matroska, late by the shift.
    Matroska,
    /// A FLAC file, without a shift: it has no times, but a sum of its sound.
    Flac,
}

impl AudioIntermediate {
    /// The form for a spec and a track.
    pub fn of(spec: &Spec, sound: &AudioTrack) -> AudioIntermediate {
        match (spec.audio(), spec.container()) {
            (_, Container::Flac) => AudioIntermediate::Flac,
            (_, Container::Opus) => AudioIntermediate::Ogg,
            _ if muxed_codec(spec, sound) == "opus" => AudioIntermediate::Ogg,
            (Audio::Copy, Container::Mkv | Container::Webm) => AudioIntermediate::Matroska,
            // MP4 keeps neither the layout of FLAC's channels nor its end, and in
            // fragments the last packet of these codecs has no length: it would
            // fall out of the output's edit list.
            _ if ["flac", "vorbis", "dts"].contains(&muxed_codec(spec, sound)) => {
                AudioIntermediate::Matroska
            }
            (Audio::Copy, Container::Mov) => AudioIntermediate::Mov,
            _ => AudioIntermediate::Mp4,
        }
    }

    /// Name in the work folder.
    pub fn file(self) -> &'static str {
        match self {
            AudioIntermediate::Mp4 => "audio.mp4",
            AudioIntermediate::Mov => "audio.mov",
            AudioIntermediate::Ogg => "audio.ogg",
            AudioIntermediate::Matroska => "audio.mkv",
            AudioIntermediate::Flac => "audio.flac",
        }
    }

    /// ffmpeg's demuxer for it.
    pub fn demuxer(self) -> &'static str {
        match self {
            AudioIntermediate::Mp4 | AudioIntermediate::Mov => "mov",
            AudioIntermediate::Ogg => "ogg",
            AudioIntermediate::Matroska => "matroska",
            AudioIntermediate::Flac => "flac",
        }
    }

    /// Whether its times are late by the shift.
    pub fn shifted(self) -> bool {
        !matches!(self, AudioIntermediate::Ogg | AudioIntermediate::Flac)
    }

    /// Muxer options.
    fn args(self) -> Vec<String> {
        match self {
            AudioIntermediate::Mp4 | AudioIntermediate::Mov => {
                let format = if self == AudioIntermediate::Mp4 {
                    "mp4"
                } else {
                    "mov"
                };
                strings(&[
                    "-movflags",
                    "+empty_moov+default_base_moof+frag_discont+skip_trailer",
                    "-frag_duration",
                    "6000000",
                    "-use_editlist",
                    "0",
                    "-avoid_negative_ts",
                    "disabled",
                    "-f",
                    format,
                ])
            }
            // Ogg tells the time of a page's end alone: with a page for each
            // packet every packet's own time can be told; see `packet_start_times`.
            AudioIntermediate::Ogg => strings(&["-page_duration", "1", "-f", "ogg"]),
            AudioIntermediate::Matroska => {
                strings(&["-avoid_negative_ts", "disabled", "-f", "matroska"])
            }
            AudioIntermediate::Flac => strings(&["-f", "flac"]),
        }
    }
}

/// Behind a gap a reader of Ogg takes the end of the page before it for the
/// first packet's time. A packet begins its own length before its page ends,
/// which is where the next one is said to begin. Differences of less than the
/// shortest packet are roundings of the output's clock, and no gap.
pub(crate) fn packet_start_times(form: AudioIntermediate, number: usize) -> Vec<String> {
    match form {
        AudioIntermediate::Ogg => strings(&[
            &format!("-bsf:a:{number}"),
            "setts=ts=if(gt((NEXT_PTS-DURATION-PTS)*TB\\,0.002)\\,NEXT_PTS-DURATION\\,TS)",
        ]),
        _ => Vec::new(),
    }
}

/// MP4's header describes these codecs by their first packets, so that in
/// fragments it must wait for them.
fn delay_header(spec: &Spec, sound: &AudioTrack) -> Vec<String> {
    match muxed_codec(spec, sound) {
        "ac3" | "eac3" if AudioIntermediate::of(spec, sound) == AudioIntermediate::Mp4 => {
            strings(&["-movflags", "+delay_moov"])
        }
        _ => Vec::new(),
    }
}

/// Options of the audio encoder for all tracks of an output.
pub(crate) fn codec(spec: &Spec) -> Vec<String> {
    let rate = spec.audio_bitrate.to_string();
    match spec.audio() {
        Audio::Aac => strings(&["-c:a", "aac", "-b:a", &rate, "-flags:a", "+bitexact"]),
        Audio::Opus => strings(&["-c:a", "libopus", "-b:a", &rate, "-flags:a", "+bitexact"]),
        Audio::Flac => strings(&["-c:a", "flac", "-flags:a", "+bitexact"]),
        Audio::Copy | Audio::None => strings(&["-c:a", "copy"]),
    }
}

/// The codec a track has in the output.
fn muxed_codec<'s>(spec: &Spec, sound: &'s AudioTrack) -> &'s str {
    match spec.audio() {
        Audio::Copy => &sound.codec,
        encoded => encoded.name(),
    }
}

/// What makes MP4 take a codec that ffmpeg calls experimental there.
pub(crate) fn allow_experimental(spec: &Spec, sound: &AudioTrack) -> Vec<String> {
    match muxed_codec(spec, sound) {
        "flac" | "truehd" => strings(&["-strict", "experimental"]),
        _ => Vec::new(),
    }
}

/// One whole audio track. Without `-copyts`, so that ffmpeg shifts it as a
/// single pass does.
pub(crate) fn track(input: &Input, index: &Index, spec: &Spec, sound: &AudioTrack) -> Vec<String> {
    let source = &index.facts.source;
    let form = AudioIntermediate::of(spec, sound);
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-threads",
        "1",
    ]));
    args.extend(open_input(input, Some(&source.demuxer)));
    args.extend(strings(&[
        "-map",
        &format!("0:{}", sound.stream),
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
    ]));
    args.extend(filters(spec, sound, 0));
    args.extend(codec(spec));
    args.extend(strings(&["-fflags", "+bitexact"]));
    if form.shifted() {
        args.extend(strings(&["-output_ts_offset", &SHIFT_SECONDS.to_string()]));
    }
    args.extend(form.args());
    args.extend(delay_header(spec, sound));
    args.extend(allow_experimental(spec, sound));
    args.push(form.file().to_string());
    args.extend(drain_other_streams(
        source,
        &index.job_streams(),
        &[sound.stream],
    ));
    args
}

/// The first packet of a track, which shows whether it can be had at all: a
/// line on stdout, and for a copy a file of the output's own kind.
pub(crate) fn first(
    input: &Input,
    source: &Source,
    spec: &Spec,
    sound: &AudioTrack,
) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&["-threads", "1"]));
    args.extend(open_input(input, Some(&source.demuxer)));
    let map = format!("0:{}", sound.stream);
    let first = |args: &mut Vec<String>| {
        args.extend(strings(&["-map", &map]));
        args.extend(filters(spec, sound, 0));
        args.extend(codec(spec));
        args.extend(strings(&["-frames:a", "1"]));
    };
    first(&mut args);
    args.extend(strings(&["-f", "framecrc", "-"]));
    if spec.audio() == Audio::Copy {
        first(&mut args);
        args.extend(allow_experimental(spec, sound));
        args.extend(strings(&["-f", muxer(spec), "first"]));
    }
    args
}

/// How loud a whole track is, told at the end.
pub(crate) fn measure(input: &Input, source: &Source, stream: u32) -> Vec<String> {
    let mut args = global_options(LOG);
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-threads",
        "1",
    ]));
    args.extend(open_input(input, Some(&source.demuxer)));
    args.extend(strings(&[
        "-map",
        &format!("0:{stream}"),
        "-af",
        "ebur128=peak=true:framelog=verbose",
        "-f",
        "null",
        "-",
    ]));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn spec(audio: &str, container: &str) -> Spec {
        resolve(&SpecRequest {
            audio: audio.into(),
            container: container.into(),
            ..Default::default()
        })
        .unwrap()
    }

    #[test]
    fn a_track_is_made_as_it_was() {
        let index = sample();
        let input = Input::File("s".into());
        assert_eq!(
            track(&input, &index, &spec("", ""), &index.facts.audio_tracks[0]).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -max_error_rate 1 -progress pipe:1 -nostats -threads 1 -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:1 -map_metadata -1 -map_chapters -1 -c:a aac -b:a 128000 -flags:a +bitexact -fflags +bitexact -output_ts_offset 10 -movflags +empty_moov+default_base_moof+frag_discont+skip_trailer -frag_duration 6000000 -use_editlist 0 -avoid_negative_ts disabled -f mp4 audio.mp4"
        );
    }

    #[test]
    fn a_clock_that_jumps_is_started_by_all_streams_of_the_job() {
        let mut index = sample();
        index.facts.source.discontinuous = true;
        let mut second = index.facts.audio_tracks[0].clone();
        second.stream = 4;
        index.facts.audio_tracks.push(second);
        let args = track(
            &Input::File("s".into()),
            &index,
            &spec("opus", "mkv"),
            &index.facts.audio_tracks[0],
        )
        .join(" ");
        assert!(
            args.ends_with("-page_duration 1 -f ogg audio.ogg -map 0:0 -map 0:4 -c copy -f null -"),
            "{args}"
        );
    }

    #[test]
    fn every_pair_has_a_form_that_takes_it() {
        let sound = |codec: &str| AudioTrack {
            codec: codec.into(),
            ..sample().facts.audio_tracks[0].clone()
        };
        for (audio, container, codec, form) in [
            ("aac", "mkv", "mp3", AudioIntermediate::Mp4),
            ("opus", "mp4", "aac", AudioIntermediate::Ogg),
            ("copy", "mov", "pcm_s16le", AudioIntermediate::Mov),
            ("copy", "mkv", "dts", AudioIntermediate::Matroska),
            ("copy", "mov", "dts", AudioIntermediate::Matroska),
            ("copy", "mp4", "vorbis", AudioIntermediate::Matroska),
            ("copy", "mp4", "ac3", AudioIntermediate::Mp4),
            ("copy", "mkv", "opus", AudioIntermediate::Ogg),
            ("copy", "mp4", "opus", AudioIntermediate::Ogg),
            ("copy", "opus", "opus", AudioIntermediate::Ogg),
            ("copy", "flac", "flac", AudioIntermediate::Flac),
            ("flac", "mkv", "aac", AudioIntermediate::Matroska),
            ("", "m4a", "flac", AudioIntermediate::Mp4),
        ] {
            assert_eq!(
                AudioIntermediate::of(&spec(audio, container), &sound(codec)),
                form
            );
        }
    }
}
