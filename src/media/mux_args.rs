//! Argument lists for audio and for the one output file, and the reference
//! command: pure functions of the index and the spec, like `encode_args.rs`.

use std::path::Path;

use reelraft_model::spec::{Audio, Codec, Container, Spec};

use crate::{
    args::{Input, open, quiet, words},
    encode_args::video,
    filters::Pass,
    index::Index,
    limits::SHIFT_SECONDS,
    listen::LOG_ERRORS,
    probe::Sound,
};

/// Name of the joined shards in the assembly's work folder.
pub(crate) const JOINED_FILE: &str = "joined.mp4";

/// How the audio is kept between its encoding and the assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SoundForm {
    /// Fragmented MP4, late by the shift.
    Mp4,
    /// Ogg, without a shift: MP4 loses the end of Opus.
    Ogg,
    /// Matroska, late by the shift.
    Matroska,
}

impl SoundForm {
    /// The form for a spec and the source's audio.
    pub fn of(spec: &Spec, sound: &Sound) -> SoundForm {
        match (spec.audio(), spec.container()) {
            (Audio::Opus, _) => SoundForm::Ogg,
            (Audio::Copy, _) if sound.codec == "opus" => SoundForm::Ogg,
            (Audio::Copy, Container::Mkv | Container::Webm) => SoundForm::Matroska,
            _ => SoundForm::Mp4,
        }
    }

    /// Name in the work folder.
    pub fn file(self) -> &'static str {
        match self {
            SoundForm::Mp4 => "audio.mp4",
            SoundForm::Ogg => "audio.ogg",
            SoundForm::Matroska => "audio.mkv",
        }
    }

    /// ffmpeg's demuxer for it.
    pub fn demuxer(self) -> &'static str {
        match self {
            SoundForm::Mp4 => "mov",
            SoundForm::Ogg => "ogg",
            SoundForm::Matroska => "matroska",
        }
    }

    /// Whether its times are late by the shift.
    pub fn shifted(self) -> bool {
        self != SoundForm::Ogg
    }
}

/// Options of the audio encoder.
fn sound_codec(spec: &Spec) -> Vec<String> {
    let rate = spec.audio_bitrate.to_string();
    match spec.audio() {
        Audio::Aac => words(&["-c:a", "aac", "-b:a", &rate, "-flags:a", "+bitexact"]),
        // Opus knows the layouts of Vorbis alone; "5.1(side)" is not one.
        Audio::Opus => words(&[
            "-af",
            "aformat=channel_layouts=mono|stereo|3.0|quad|5.0|5.1|6.1|7.1",
            "-c:a",
            "libopus",
            "-b:a",
            &rate,
            "-flags:a",
            "+bitexact",
        ]),
        Audio::Flac => words(&["-c:a", "flac", "-flags:a", "+bitexact"]),
        Audio::Copy | Audio::None => words(&["-c:a", "copy"]),
    }
}

/// The whole audio track. Without `-copyts`, so that ffmpeg shifts it as a
/// single pass does.
pub(crate) fn audio(input: &Input, index: &Index, spec: &Spec, sound: &Sound) -> Vec<String> {
    let source = &index.head.source;
    let form = SoundForm::of(spec, sound);
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    args.extend(words(&[
        "-map",
        &format!("0:{}", sound.stream),
        "-vn",
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
    ]));
    args.extend(sound_codec(spec));
    args.extend(words(&["-fflags", "+bitexact"]));
    if form.shifted() {
        args.extend(words(&["-output_ts_offset", &SHIFT_SECONDS.to_string()]));
    }
    match form {
        SoundForm::Mp4 => args.extend(words(&[
            "-movflags",
            "+empty_moov+default_base_moof+frag_discont+skip_trailer",
            "-frag_duration",
            "6000000",
            "-use_editlist",
            "0",
            "-avoid_negative_ts",
            "disabled",
            "-f",
            "mp4",
        ])),
        SoundForm::Ogg => args.extend(words(&["-f", "ogg"])),
        SoundForm::Matroska => {
            args.extend(words(&["-avoid_negative_ts", "disabled", "-f", "matroska"]))
        }
    }
    args.push(form.file().to_string());
    if source.jumping {
        // The picture's stream counts for the film's start; see `beside`.
        args.extend(words(&[
            "-map",
            &format!("0:{}", source.video.stream),
            "-c",
            "copy",
            "-f",
            "null",
            "-",
        ]));
    }
    args
}

/// Name of the output in the assembly's work folder.
pub(crate) fn output_file(spec: &Spec) -> &'static str {
    match spec.container() {
        Container::Mp4 => "output.mp4",
        Container::Mkv => "output.mkv",
        Container::Webm => "output.webm",
        Container::Mov => "output.mov",
        Container::M4a => "output.m4a",
        Container::Opus => "output.opus",
        Container::Flac => "output.flac",
    }
}

/// Muxer options of the one output file.
fn output(spec: &Spec) -> Vec<String> {
    let mut args = words(&[
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-flags:a",
        "+bitexact",
    ]);
    if spec.container() == Container::Mp4 {
        args.extend(words(&["-movflags", "+faststart"]));
        if spec.codec() == Codec::Hevc {
            // The one of two spellings that every player takes.
            args.extend(words(&["-tag:v", "hvc1"]));
        }
    }
    args.extend(words(&[
        "-f",
        match spec.container() {
            Container::Mp4 => "mp4",
            Container::Mkv => "matroska",
            Container::Webm => "webm",
            Container::Mov => "mov",
            Container::M4a => "ipod",
            Container::Opus => "opus",
            Container::Flac => "flac",
        },
    ]));
    args
}

/// Makes the one file of the joined shards and the audio; nothing is encoded.
pub(crate) fn assemble(
    index: &Index,
    spec: &Spec,
    audio: Option<(&Path, SoundForm)>,
) -> Vec<String> {
    let shift = format!("-{SHIFT_SECONDS}");
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-copyts"]));
    // The joined file's header is read up to its mark; see `rate_header`.
    args.extend(words(&["-itsoffset", &shift, "-fflags", "+ignidx"]));
    args.extend(open(&Input::File(JOINED_FILE.into()), Some("mov")));
    if let Some((audio, form)) = audio {
        if form.shifted() {
            args.extend(words(&["-itsoffset", &shift]));
        }
        args.extend(open(&Input::File(audio.into()), Some(form.demuxer())));
    }
    args.extend(words(&["-map", "0:v:0"]));
    if audio.is_some() {
        args.extend(words(&["-map", "1:a:0"]));
    }
    args.extend(words(&["-c", "copy"]));
    args.extend(index.head.told.options(spec.container()));
    args.extend(output(spec));
    args.push(output_file(spec).to_string());
    args
}

/// ffprobe: a line `pts|dts|flags` for each packet of a stream of a file of
/// our own; `stream` as `v:0`.
pub(crate) fn scan_own(path: &Path, demuxer: &str, stream: &str) -> Vec<String> {
    let mut args = words(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-select_streams",
        stream,
        "-show_entries",
        "packet=pts,dts,flags:stream=time_base",
        "-of",
        "compact=p=0:nk=1",
    ]);
    args.extend(open(&Input::File(path.into()), Some(demuxer)));
    args
}

/// The reference (P3): the one plain ffmpeg command whose frames and times
/// the job's output has. Paths are put in as they are given.
pub fn reference(index: &Index, spec: &Spec, input: &str, output_path: &str) -> Vec<String> {
    // One decoder thread: with more, damaged pictures are patched up in
    // other ways.
    let mut args = words(&["ffmpeg", "-nostdin", "-threads", "1", "-i", input]);
    args.extend(video(spec, index, Pass::Reference));
    if let Some(sound) = &index.head.sound {
        args.extend(words(&["-map", &format!("0:{}", sound.stream)]));
        args.extend(sound_codec(spec));
    }
    args.extend(output(spec));
    args.push(output_path.to_string());
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    #[test]
    fn audio_and_assembly_are_as_they_were() {
        let index = sample();
        let spec = resolve(&SpecRequest::default()).unwrap();
        let sound = index.head.sound.as_ref().unwrap();
        let input = Input::File("s".into());
        assert_eq!(
            audio(&input, &index, &spec, sound).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -progress pipe:1 -nostats -threads 1 -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:1 -vn -map_metadata -1 -map_chapters -1 -c:a aac -b:a 128000 -flags:a +bitexact -fflags +bitexact -output_ts_offset 10 -movflags +empty_moov+default_base_moof+frag_discont+skip_trailer -frag_duration 6000000 -use_editlist 0 -avoid_negative_ts disabled -f mp4 audio.mp4"
        );
        assert_eq!(
            assemble(&index, &spec, Some((Path::new("a.mp4"), SoundForm::Mp4))).join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -progress pipe:1 -nostats -copyts -itsoffset -10 -fflags +ignidx -protocol_whitelist file -format_whitelist mov -f mov -i file:joined.mp4 -itsoffset -10 -protocol_whitelist file -format_whitelist mov -f mov -i file:a.mp4 -map 0:v:0 -map 1:a:0 -c copy -map_metadata -1 -map_chapters -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -movflags +faststart -f mp4 output.mp4"
        );
    }

    #[test]
    fn the_reference_is_one_plain_command() {
        let index = sample();
        let spec = resolve(&SpecRequest::default()).unwrap();
        assert_eq!(
            reference(&index, &spec, "in.mp4", "out.mp4").join(" "),
            "ffmpeg -nostdin -threads 1 -i in.mp4 -map 0:0 -map_metadata -1 -map_chapters -1 -filter_threads 1 -sws_flags bicubic+accurate_rnd+bitexact -vf scale=w=640:h=360:flags=bicubic+accurate_rnd+bitexact,format=yuv420p -fps_mode:v passthrough -enc_time_base:v -1 -c:v libx264 -preset medium -crf 23 -threads 1 -map 0:1 -c:a aac -b:a 128000 -flags:a +bitexact -map_metadata -1 -map_chapters -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -movflags +faststart -f mp4 out.mp4"
        );
    }
}
