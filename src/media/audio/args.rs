//! Argument lists for audio: pure functions of the index and the spec. Not
//! here: how tracks are muxed with the video, which is in `output/args.rs`.

use reelraft_model::spec::{Audio, Container, Spec};

use crate::{
    audio::filters::filters,
    facts::{
        audio_track::AudioTrack, containers::muxer, encoder_names::audio_encoder, index::Index,
        source::Source, text::strings,
    },
    ffmpeg::{
        args::{clock_rule, global_options, pass_along},
        input::{Input, open_source},
        log::{LOG, LOG_ERRORS},
    },
    limits::SHIFT_SECONDS,
};

/// The container that carries an audio track from its encoding to the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioIntermediate {
    /// Fragmented MP4, shifted like the shards.
    Mp4,
    /// The same in QuickTime, which accepts more codecs.
    Mov,
    /// Ogg, unshifted. MP4 would lose the end of Opus.
    Ogg,
    /// Matroska, shifted like the shards.
    Matroska,
    /// A FLAC file, unshifted: it has no timestamps, but a checksum of its
    /// samples.
    Flac,
}

impl AudioIntermediate {
    pub fn of(spec: &Spec, track: &AudioTrack) -> AudioIntermediate {
        match (spec.audio(), spec.container()) {
            (_, Container::Flac) => AudioIntermediate::Flac,
            (_, Container::Opus) => AudioIntermediate::Ogg,
            _ if muxed_codec(spec, track) == "opus" => AudioIntermediate::Ogg,
            // Matroska would write a second codec header over the first.
            (Audio::Copy, _) if track.headers_repeat => AudioIntermediate::Mp4,
            // Matroska keeps the encoder's delay, which it needs to place the
            // first packet; a fragmented MP4 would lose it.
            (_, Container::Mkv | Container::Webm) => AudioIntermediate::Matroska,
            // MP4 keeps neither FLAC's channel layout nor its end. In
            // fragments, the last packet of these codecs has no duration and
            // would fall out of the output's edit list.
            _ if ["flac", "vorbis", "dts"].contains(&muxed_codec(spec, track)) => {
                AudioIntermediate::Matroska
            }
            (Audio::Copy, Container::Mov) => AudioIntermediate::Mov,
            _ => AudioIntermediate::Mp4,
        }
    }

    pub fn file(self) -> &'static str {
        match self {
            AudioIntermediate::Mp4 => "audio.mp4",
            AudioIntermediate::Mov => "audio.mov",
            AudioIntermediate::Ogg => "audio.ogg",
            AudioIntermediate::Matroska => "audio.mkv",
            AudioIntermediate::Flac => "audio.flac",
        }
    }

    pub fn demuxer(self) -> &'static str {
        match self {
            AudioIntermediate::Mp4 | AudioIntermediate::Mov => "mov",
            AudioIntermediate::Ogg => "ogg",
            AudioIntermediate::Matroska => "matroska",
            AudioIntermediate::Flac => "flac",
        }
    }

    /// Whether its timestamps are shifted by `SHIFT_SECONDS`.
    pub fn shifted(self) -> bool {
        !matches!(self, AudioIntermediate::Ogg | AudioIntermediate::Flac)
    }

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
            // Ogg stores only the time of a page's end. With a page per packet,
            // the time of every packet is known; see `packet_start_times`.
            AudioIntermediate::Ogg => strings(&["-page_duration", "1", "-f", "ogg"]),
            AudioIntermediate::Matroska => {
                strings(&["-avoid_negative_ts", "disabled", "-f", "matroska"])
            }
            AudioIntermediate::Flac => strings(&["-f", "flac"]),
        }
    }
}

/// Fixes packet times after a gap. An Ogg demuxer takes the end of the previous
/// page for the time of the first packet after a gap. That packet really begins
/// its own duration before the end of its page, where the next packet begins.
/// Differences below the shortest packet are rounding errors of the output's
/// clock, not gaps.
pub(crate) fn packet_start_times(form: AudioIntermediate, number: usize) -> Vec<String> {
    match form {
        AudioIntermediate::Ogg => strings(&[
            &format!("-bsf:a:{number}"),
            "setts=ts=if(gt((NEXT_PTS-DURATION-PTS)*TB\\,0.002)\\,NEXT_PTS-DURATION\\,TS)",
        ]),
        _ => Vec::new(),
    }
}

/// The header of MP4 and QuickTime describes these codecs by their first packets, so
/// in fragments it must wait for them. AAC with frame headers is described by those
/// alone, which `unframed` takes off.
fn delay_header(spec: &Spec, track: &AudioTrack) -> Vec<String> {
    let form = AudioIntermediate::of(spec, track);
    let copied = spec.audio() == Audio::Copy;
    let waits = match (muxed_codec(spec, track), form) {
        ("aac", AudioIntermediate::Mp4 | AudioIntermediate::Mov) => copied,
        ("ac3" | "eac3" | "truehd", AudioIntermediate::Mp4) => true,
        _ => false,
    };
    match waits {
        true => strings(&["-movflags", "+delay_moov"]),
        false => Vec::new(),
    }
}

/// Options of the audio encoder, for all tracks of an output.
pub(crate) fn codec(spec: &Spec) -> Vec<String> {
    let rate = spec.audio_bitrate.to_string();
    let Some(encoder) = audio_encoder(spec.audio()) else {
        return strings(&["-c:a", "copy"]);
    };
    let mut args = strings(&["-c:a", encoder]);
    if spec.audio() != Audio::Flac {
        args.extend(strings(&["-b:a", &rate]));
    }
    args.extend(strings(&["-flags:a", "+bitexact"]));
    args
}

/// The codec of a track in the output.
pub(crate) fn muxed_codec<'s>(spec: &Spec, track: &'s AudioTrack) -> &'s str {
    match spec.audio() {
        Audio::Copy => &track.codec,
        encoded => encoded.name(),
    }
}

/// Makes MP4 accept a codec whose support ffmpeg calls experimental. The muxer
/// alone: FLAC's encoder would give 32 bits, which few players read.
pub(crate) fn allow_experimental(spec: &Spec, track: &AudioTrack) -> Vec<String> {
    match muxed_codec(spec, track) {
        "flac" | "truehd" => strings(&["-strict", "experimental", "-strict:a", "normal"]),
        _ => Vec::new(),
    }
}

/// Takes the frame headers off AAC that has them (ADTS, as in MPEG-TS). A
/// fragmented MP4 would refuse them; whole files' muxers do this by themselves.
fn unframed(track: &AudioTrack) -> Vec<String> {
    match track.codec.as_str() {
        "aac" => strings(&["-bsf:a", "aac_adtstoasc"]),
        _ => Vec::new(),
    }
}

/// Keeps the processor out of decoded, resampled and encoded audio (P1):
/// floats are summed up in another order for each set of instructions. Any
/// processor of this kind has these. All of them are named: a reference scales its
/// pictures in the same process, and without MMXEXT it would round them otherwise.
pub(crate) fn same_on_every_processor(spec: &Spec) -> Vec<String> {
    match audio_encoder(spec.audio()) {
        Some(_) if cfg!(target_arch = "x86_64") => strings(&["-cpuflags", "mmx+mmxext+sse+sse2"]),
        _ => Vec::new(),
    }
}

/// One whole audio track. Without `-copyts`, so that ffmpeg shifts it as a
/// single pass does.
pub(crate) fn track(input: &Input, index: &Index, spec: &Spec, track: &AudioTrack) -> Vec<String> {
    let source = &index.facts.source;
    let form = AudioIntermediate::of(spec, track);
    let mut args = global_options(LOG_ERRORS);
    args.extend(clock_rule(source));
    args.extend(same_on_every_processor(spec));
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-threads",
        "1",
    ]));
    args.extend(open_source(input, source));
    args.extend(strings(&[
        "-map",
        &format!("0:{}", track.stream),
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
    ]));
    args.extend(filters(spec, track, 0));
    args.extend(codec(spec));
    args.extend(strings(&["-fflags", "+bitexact"]));
    if form.shifted() {
        args.extend(strings(&["-output_ts_offset", &SHIFT_SECONDS.to_string()]));
    }
    args.extend(form.args());
    args.extend(delay_header(spec, track));
    if spec.audio() == Audio::Copy {
        args.extend(allow_experimental(spec, track));
        args.extend(unframed(track));
    }
    args.push(form.file().to_string());
    args.extend(pass_along(index, spec, &[track.stream]));
    args
}

/// The first packet of a track, which shows whether it can be encoded at all: a
/// line on stdout, and for a copy also a file in the form that carries it and one in
/// the output's format.
pub(crate) fn first(
    input: &Input,
    source: &Source,
    spec: &Spec,
    track: &AudioTrack,
) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(same_on_every_processor(spec));
    args.extend(strings(&["-threads", "1"]));
    args.extend(open_source(input, source));
    let map = format!("0:{}", track.stream);
    let first = |args: &mut Vec<String>| {
        args.extend(strings(&["-map", &map]));
        args.extend(filters(spec, track, 0));
        args.extend(codec(spec));
        args.extend(strings(&["-frames:a", "1"]));
    };
    first(&mut args);
    args.extend(strings(&["-f", "framecrc", "-"]));
    if spec.audio() == Audio::Copy {
        let carried = AudioIntermediate::of(spec, track).args();
        let carried = [carried, delay_header(spec, track)].concat();
        // In files of their own: both are written at once.
        for (format, file) in [
            (carried, "carried"),
            (strings(&["-f", muxer(spec)]), "first"),
        ] {
            first(&mut args);
            args.extend(allow_experimental(spec, track));
            args.extend(unframed(track));
            args.extend(format);
            args.push(file.to_string());
        }
    }
    args
}

/// Measures the loudness of a whole track; ffmpeg prints it at the end.
pub(crate) fn measure(input: &Input, source: &Source, spec: &Spec, stream: u32) -> Vec<String> {
    let mut args = global_options(LOG);
    args.extend(same_on_every_processor(spec));
    args.extend(strings(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-threads",
        "1",
    ]));
    args.extend(open_source(input, source));
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
    #[cfg(target_arch = "x86_64")]
    fn audio_track_arguments_are_pinned() {
        let index = sample();
        let input = Input::File("s".into());
        assert_eq!(
            track(&input, &index, &spec("", ""), &index.facts.audio_tracks[0]).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -max_error_rate 1 -cpuflags mmx+mmxext+sse+sse2 -progress pipe:1 -nostats -threads 1 -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:1 -map_metadata -1 -map_chapters -1 -c:a aac -b:a 128000 -flags:a +bitexact -fflags +bitexact -output_ts_offset 10 -movflags +empty_moov+default_base_moof+frag_discont+skip_trailer -frag_duration 6000000 -use_editlist 0 -avoid_negative_ts disabled -f mp4 audio.mp4"
        );
    }

    #[test]
    fn flac_is_encoded_without_experiments_and_muxed_with_them() {
        let index = sample();
        let spec = spec("flac", "mp4");
        let own = &index.facts.audio_tracks[0];
        let encoded = track(&Input::File("s".into()), &index, &spec, own).join(" ");
        assert!(!encoded.contains("-strict"), "{encoded}");
        assert_eq!(
            allow_experimental(&spec, own).join(" "),
            "-strict experimental -strict:a normal"
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
            args.ends_with("-page_duration 1 -f ogg audio.ogg -map 0:0 -map 0:4 -c copy -copyinkf -flush_packets 1 -f framecrc -"),
            "{args}"
        );
    }

    #[test]
    fn a_clock_that_leaps_is_evened_out_by_decoding_what_the_reference_does() {
        let mut index = sample();
        index.facts.source.discontinuous = true;
        index.facts.source.leaps = true;
        let mut second = index.facts.audio_tracks[0].clone();
        second.stream = 4;
        index.facts.audio_tracks.push(second);
        let args = |audio| {
            let own = &index.facts.audio_tracks[0];
            track(&Input::File("s".into()), &index, &spec(audio, "mkv"), own).join(" ")
        };
        let copied = "-map 0:0 -map 0:4 -c copy -copyinkf -flush_packets 1 -f framecrc - -map 0:0 -filter:v select=0 -c wrapped_avframe -f null -";
        assert!(args("copy").ends_with(copied), "{}", args("copy"));
        let decoded = format!("{copied} -map 0:4 -filter:a aselect=0 -c pcm_s16le -f null -");
        assert!(args("aac").ends_with(&decoded), "{}", args("aac"));
    }

    #[test]
    fn every_pair_has_a_form_that_takes_it() {
        let track = |codec: &str| AudioTrack {
            codec: codec.into(),
            ..sample().facts.audio_tracks[0].clone()
        };
        for (audio, container, codec, form) in [
            ("aac", "mkv", "mp3", AudioIntermediate::Matroska),
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
                AudioIntermediate::of(&spec(audio, container), &track(codec)),
                form
            );
        }
    }
}
