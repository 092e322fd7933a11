//! Argument lists for audio: pure functions of the index and the spec, like
//! `encode_args.rs`. Not here: how tracks are joined with the pictures, which
//! is in `mux_args.rs`.

use reelraft_model::spec::{Audio, Container, Spec};

use crate::{
    audio::filters::filters,
    facts::{audio_track::Sound, containers::muxer, index::Index, source::Source, text::words},
    ffmpeg::{
        args::{beside, quiet},
        input::{Input, open},
        log::{LOG, LOG_ERRORS},
    },
    limits::SHIFT_SECONDS,
};

/// How an audio track is kept between its encoding and the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SoundForm {
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

impl SoundForm {
    /// The form for a spec and a track.
    pub fn of(spec: &Spec, sound: &Sound) -> SoundForm {
        match (spec.audio(), spec.container()) {
            (_, Container::Flac) => SoundForm::Flac,
            (_, Container::Opus) => SoundForm::Ogg,
            _ if muxed_codec(spec, sound) == "opus" => SoundForm::Ogg,
            (Audio::Copy, Container::Mkv | Container::Webm) => SoundForm::Matroska,
            // MP4 keeps neither the layout of FLAC's channels nor its end, and in
            // fragments the last packet of these codecs has no length: it would
            // fall out of the output's edit list.
            _ if ["flac", "vorbis", "dts"].contains(&muxed_codec(spec, sound)) => {
                SoundForm::Matroska
            }
            (Audio::Copy, Container::Mov) => SoundForm::Mov,
            _ => SoundForm::Mp4,
        }
    }

    /// Name in the work folder.
    pub fn file(self) -> &'static str {
        match self {
            SoundForm::Mp4 => "audio.mp4",
            SoundForm::Mov => "audio.mov",
            SoundForm::Ogg => "audio.ogg",
            SoundForm::Matroska => "audio.mkv",
            SoundForm::Flac => "audio.flac",
        }
    }

    /// ffmpeg's demuxer for it.
    pub fn demuxer(self) -> &'static str {
        match self {
            SoundForm::Mp4 | SoundForm::Mov => "mov",
            SoundForm::Ogg => "ogg",
            SoundForm::Matroska => "matroska",
            SoundForm::Flac => "flac",
        }
    }

    /// Whether its times are late by the shift.
    pub fn shifted(self) -> bool {
        !matches!(self, SoundForm::Ogg | SoundForm::Flac)
    }

    /// Muxer options.
    fn args(self) -> Vec<String> {
        match self {
            SoundForm::Mp4 | SoundForm::Mov => {
                let format = if self == SoundForm::Mp4 { "mp4" } else { "mov" };
                words(&[
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
            // packet every packet's own time can be told; see `times_of_ends`.
            SoundForm::Ogg => words(&["-page_duration", "1", "-f", "ogg"]),
            SoundForm::Matroska => words(&["-avoid_negative_ts", "disabled", "-f", "matroska"]),
            SoundForm::Flac => words(&["-f", "flac"]),
        }
    }
}

/// Behind a gap a reader of Ogg takes the end of the page before it for the
/// first packet's time. A packet begins its own length before its page ends,
/// which is where the next one is said to begin. Differences of less than the
/// shortest packet are roundings of the output's clock, and no gap.
pub(crate) fn times_of_ends(form: SoundForm, number: usize) -> Vec<String> {
    match form {
        SoundForm::Ogg => words(&[
            &format!("-bsf:a:{number}"),
            "setts=ts=if(gt((NEXT_PTS-DURATION-PTS)*TB\\,0.002)\\,NEXT_PTS-DURATION\\,TS)",
        ]),
        _ => Vec::new(),
    }
}

/// MP4's header describes these codecs by their first packets, so that in
/// fragments it must wait for them.
fn late_header(spec: &Spec, sound: &Sound) -> Vec<String> {
    match muxed_codec(spec, sound) {
        "ac3" | "eac3" if SoundForm::of(spec, sound) == SoundForm::Mp4 => {
            words(&["-movflags", "+delay_moov"])
        }
        _ => Vec::new(),
    }
}

/// Options of the audio encoder for all tracks of an output.
pub(crate) fn codec(spec: &Spec) -> Vec<String> {
    let rate = spec.audio_bitrate.to_string();
    match spec.audio() {
        Audio::Aac => words(&["-c:a", "aac", "-b:a", &rate, "-flags:a", "+bitexact"]),
        Audio::Opus => words(&["-c:a", "libopus", "-b:a", &rate, "-flags:a", "+bitexact"]),
        Audio::Flac => words(&["-c:a", "flac", "-flags:a", "+bitexact"]),
        Audio::Copy | Audio::None => words(&["-c:a", "copy"]),
    }
}

/// The codec a track has in the output.
fn muxed_codec<'s>(spec: &Spec, sound: &'s Sound) -> &'s str {
    match spec.audio() {
        Audio::Copy => &sound.codec,
        encoded => encoded.name(),
    }
}

/// What makes MP4 take a codec that ffmpeg calls experimental there.
pub(crate) fn daring(spec: &Spec, sound: &Sound) -> Vec<String> {
    match muxed_codec(spec, sound) {
        "flac" | "truehd" => words(&["-strict", "experimental"]),
        _ => Vec::new(),
    }
}

/// One whole audio track. Without `-copyts`, so that ffmpeg shifts it as a
/// single pass does.
pub(crate) fn track(input: &Input, index: &Index, spec: &Spec, sound: &Sound) -> Vec<String> {
    let source = &index.head.source;
    let form = SoundForm::of(spec, sound);
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    args.extend(words(&[
        "-map",
        &format!("0:{}", sound.stream),
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
    ]));
    args.extend(filters(spec, sound, 0));
    args.extend(codec(spec));
    args.extend(words(&["-fflags", "+bitexact"]));
    if form.shifted() {
        args.extend(words(&["-output_ts_offset", &SHIFT_SECONDS.to_string()]));
    }
    args.extend(form.args());
    args.extend(late_header(spec, sound));
    args.extend(daring(spec, sound));
    args.push(form.file().to_string());
    args.extend(beside(source, &index.mapped(), &[sound.stream]));
    args
}

/// The first packet of a track, which shows whether it can be had at all: a
/// line on stdout, and for a copy a file of the output's own kind.
pub(crate) fn first(input: &Input, source: &Source, spec: &Spec, sound: &Sound) -> Vec<String> {
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    let map = format!("0:{}", sound.stream);
    let first = |args: &mut Vec<String>| {
        args.extend(words(&["-map", &map]));
        args.extend(filters(spec, sound, 0));
        args.extend(codec(spec));
        args.extend(words(&["-frames:a", "1"]));
    };
    first(&mut args);
    args.extend(words(&["-f", "framecrc", "-"]));
    if spec.audio() == Audio::Copy {
        first(&mut args);
        args.extend(daring(spec, sound));
        args.extend(words(&["-f", muxer(spec), "first"]));
    }
    args
}

/// How loud a whole track is, told at the end.
pub(crate) fn measure(input: &Input, source: &Source, stream: u32) -> Vec<String> {
    let mut args = quiet(LOG);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    args.extend(words(&[
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
            track(&input, &index, &spec("", ""), &index.head.sounds[0]).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -max_error_rate 1 -progress pipe:1 -nostats -threads 1 -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:1 -map_metadata -1 -map_chapters -1 -c:a aac -b:a 128000 -flags:a +bitexact -fflags +bitexact -output_ts_offset 10 -movflags +empty_moov+default_base_moof+frag_discont+skip_trailer -frag_duration 6000000 -use_editlist 0 -avoid_negative_ts disabled -f mp4 audio.mp4"
        );
    }

    #[test]
    fn a_clock_that_jumps_is_started_by_all_streams_of_the_job() {
        let mut index = sample();
        index.head.source.jumping = true;
        let mut second = index.head.sounds[0].clone();
        second.stream = 4;
        index.head.sounds.push(second);
        let args = track(
            &Input::File("s".into()),
            &index,
            &spec("opus", "mkv"),
            &index.head.sounds[0],
        )
        .join(" ");
        assert!(
            args.ends_with("-page_duration 1 -f ogg audio.ogg -map 0:0 -map 0:4 -c copy -f null -"),
            "{args}"
        );
    }

    #[test]
    fn every_pair_has_a_form_that_takes_it() {
        let sound = |codec: &str| Sound {
            codec: codec.into(),
            ..sample().head.sounds[0].clone()
        };
        for (audio, container, codec, form) in [
            ("aac", "mkv", "mp3", SoundForm::Mp4),
            ("opus", "mp4", "aac", SoundForm::Ogg),
            ("copy", "mov", "pcm_s16le", SoundForm::Mov),
            ("copy", "mkv", "dts", SoundForm::Matroska),
            ("copy", "mov", "dts", SoundForm::Matroska),
            ("copy", "mp4", "vorbis", SoundForm::Matroska),
            ("copy", "mp4", "ac3", SoundForm::Mp4),
            ("copy", "mkv", "opus", SoundForm::Ogg),
            ("copy", "mp4", "opus", SoundForm::Ogg),
            ("copy", "opus", "opus", SoundForm::Ogg),
            ("copy", "flac", "flac", SoundForm::Flac),
            ("flac", "mkv", "aac", SoundForm::Matroska),
            ("", "m4a", "flac", SoundForm::Mp4),
        ] {
            assert_eq!(SoundForm::of(&spec(audio, container), &sound(codec)), form);
        }
    }
}
