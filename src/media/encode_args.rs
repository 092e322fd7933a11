//! Argument lists for encoding and assembling, and the reference command:
//! pure functions of the index and the spec. Whatever changes the output's
//! bytes is pinned here: threads, encoder options, scaler, bit-exact muxing.
//!
//! Any change here that changes bytes raises [`RECIPE`].

use std::path::Path;

use reelraft_model::spec::{Audio, Codec, Container, Spec};

use crate::{
    args::{Input, beside, open, quiet, words},
    index::Index,
    limits::SHIFT_SECONDS,
    listen::{LOG, LOG_ERRORS},
    plan::ShardRange,
    probe::Sound,
    times::{MICROSECONDS, Ratio, rescale_up, seconds},
};

/// The number of our own planner, argument and mux rules. It is part of the
/// encoder build, so that nodes with other rules never share a job.
pub const RECIPE: u32 = 1;

/// The scaler's other modes give other pixels on other processors.
pub(crate) const SCALER: &str = "bicubic+accurate_rnd+bitexact";

/// Name of a shard in its work folder.
pub(crate) const SHARD_FILE: &str = "shard.mp4";
/// Name of the joined shards in the assembly's work folder.
pub(crate) const JOINED_FILE: &str = "joined.mp4";

/// Frames by which the encoder's decode times run behind, at its defaults:
/// x264 and x265 with a B pyramid. The others do not reorder.
pub(crate) fn reordered_frames(spec: &Spec) -> usize {
    match spec.codec() {
        Codec::H264 if spec.preset == "ultrafast" => 0,
        Codec::H264 | Codec::Hevc => 2,
        Codec::Vp9 | Codec::Av1 | Codec::Ffv1 => 0,
    }
}

/// Time base of the encoded video: the source's, or the grid's under `--fps`.
pub(crate) fn encoded_base(spec: &Spec, index: &Index) -> Ratio {
    match fps(spec) {
        Some(rate) => Ratio {
            num: rate.den,
            den: rate.num,
        },
        None => index.head.source.video.time_base,
    }
}

/// The asked-for rate in lowest terms, frames a second.
pub(crate) fn fps(spec: &Spec) -> Option<Ratio> {
    (spec.fps_num > 0).then(|| {
        let (num, den) = (i64::from(spec.fps_num), i64::from(spec.fps_den.max(1)));
        let (mut a, mut b) = (num, den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Ratio {
            num: num / a,
            den: den / a,
        }
    })
}

/// The ticks a second that ffmpeg's MP4 muxer takes for a time base.
pub(crate) fn muxer_timescale(base: Ratio) -> i64 {
    let mut scale = base.den;
    while scale < 10_000 {
        scale *= 2;
    }
    scale
}

/// Options of the video encoder.
fn codec(spec: &Spec, index: &Index) -> Vec<String> {
    let crf = spec.crf.to_string();
    let mut args = match spec.codec() {
        Codec::H264 => words(&["-c:v", "libx264", "-preset", &spec.preset, "-crf", &crf]),
        Codec::Hevc => words(&[
            "-c:v",
            "libx265",
            "-preset",
            &spec.preset,
            "-crf",
            &crf,
            "-x265-params",
            "pools=none:frame-threads=1:info=0:log-level=error",
        ]),
        Codec::Vp9 => words(&[
            "-c:v",
            "libvpx-vp9",
            "-b:v",
            "0",
            "-crf",
            &crf,
            "-deadline",
            "good",
            "-cpu-used",
            &spec.preset,
            "-row-mt",
            "0",
            "-g",
            "240",
        ]),
        Codec::Av1 => words(&[
            "-c:v",
            "libsvtav1",
            "-preset",
            &spec.preset,
            "-crf",
            &crf,
            "-svtav1-params",
            "lp=1",
            "-g",
            "240",
        ]),
        Codec::Ffv1 => {
            // Two slices a side need two chroma samples a side.
            let (width, height) = index.head.picture.output;
            let slices = if width.min(height) < 4 { "1" } else { "4" };
            words(&["-c:v", "ffv1", "-level", "3", "-slices", slices, "-g", "1"])
        }
    };
    args.extend(words(&["-threads", "1"]));
    args
}

/// Filters on the picture alone, the same in every pass.
fn picture_filters(spec: &Spec, index: &Index) -> String {
    let picture = &index.head.picture;
    let (width, height) = picture.output;
    let mut chain = format!("scale=w={width}:h={height}:flags={SCALER}");
    if spec.brightness_milli != 0 || spec.contrast_milli != 1000 {
        chain += &format!(
            ",eq=brightness={}:contrast={}",
            milli(spec.brightness_milli),
            milli(spec.contrast_milli)
        );
    }
    chain + &format!(",format={}", picture.output_pix_fmt)
}

/// Thousandths as a decimal number, exactly.
fn milli(value: i32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:03}", value / 1000, value % 1000)
}

/// Filters, timing and encoder of a pass; `before` goes to the filter chain's
/// head.
fn video(spec: &Spec, index: &Index, before: &str, watched: bool) -> Vec<String> {
    let mut chain = before.to_string();
    let rate = fps(spec);
    if let Some(rate) = rate {
        chain += &format!("fps=fps={}/{}:round=near,", rate.num, rate.den);
        if watched {
            chain += "showinfo@filtered=checksum=0,";
        }
    }
    chain += &picture_filters(spec, index);
    let mut args = words(&[
        "-map",
        &format!("0:{}", index.head.source.video.stream),
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
        "-filter_threads",
        "1",
        "-sws_flags",
        SCALER,
        "-vf",
        &chain,
        "-fps_mode:v",
        "passthrough",
    ]);
    if rate.is_none() {
        args.extend(words(&["-enc_time_base:v", "-1"]));
    }
    args.extend(codec(spec, index));
    args
}

/// Output as one fragmented file with absolute times, late by the shift.
fn fragmented(spec: &Spec) -> Vec<String> {
    // FFV1 has no place in MP4 proper; QuickTime's kin takes it.
    let format = match spec.codec() {
        Codec::Ffv1 => "mov",
        _ => "mp4",
    };
    words(&[
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-output_ts_offset",
        &SHIFT_SECONDS.to_string(),
        "-movflags",
        "+frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer",
        "-use_editlist",
        "0",
        "-avoid_negative_ts",
        "disabled",
        "-f",
        format,
        SHARD_FILE,
    ])
}

/// One shard, decoded from `start` (a source time; the beginning if `None`).
pub(crate) fn shard(
    input: &Input,
    index: &Index,
    spec: &Spec,
    range: ShardRange,
    start: Option<i64>,
) -> Vec<String> {
    let source = &index.head.source;
    let mut args = quiet(LOG);
    args.extend(words(&[
        "-progress",
        "pipe:1",
        "-nostats",
        "-copyts",
        "-threads",
        "1",
    ]));
    if let Some(start) = start {
        let start_us = rescale_up(start, source.video.time_base, MICROSECONDS);
        args.extend(words(&[
            "-seek_timestamp",
            "1",
            "-noaccurate_seek",
            "-ss",
            &seconds(start_us),
        ]));
    }
    args.extend(open(input, Some(&source.demuxer)));
    let zero = index.head.zero;
    let mut before = format!("setpts=PTS-({zero}),showinfo@decoded=checksum=0,");
    // The plan's ends stay open: a frame beyond them must be seen.
    let mut ends = Vec::new();
    if index
        .times
        .first()
        .is_some_and(|&first| first < range.from_pts)
    {
        ends.push(format!("start_pts={}", range.from_pts - zero));
    }
    if index.times.last().is_some_and(|&last| last >= range.to_pts) {
        ends.push(format!("end_pts={}", range.to_pts - zero));
    }
    if !ends.is_empty() {
        before += &format!("trim={},", ends.join(":"));
    }
    args.extend(video(spec, index, &before, true));
    if let Some(expression) = decode_times(index, spec, range) {
        args.extend(["-bsf:v".to_string(), expression]);
    }
    args.extend(fragmented(spec));
    args
}

/// Sets the first decode times of a shard to what they would be if its
/// encoder had gone on from the shard before: the encoder itself can't know,
/// and with a variable frame rate its guess would make them fall at joints.
fn decode_times(index: &Index, spec: &Spec, range: ShardRange) -> Option<String> {
    let delay = reordered_frames(spec);
    let times = &index.times;
    let first = times.partition_point(|&time| time < range.from_pts);
    let count = index.times_in(range).len().min(delay);
    if count == 0 {
        return None;
    }
    let base = encoded_base(spec, index);
    let ticks = muxer_timescale(base) / base.den * base.num;
    let run_up = times[delay.min(times.len() - 1)] - times[0];
    let mut expression = "DTS".to_string();
    for frame in (0..count).rev() {
        let time = match (first + frame).checked_sub(delay) {
            Some(behind) => times[behind],
            None => times[first + frame] - run_up,
        };
        let dts = (time - index.head.zero) * ticks;
        expression = format!("if(eq(N\\,{frame})\\,{dts}\\,{expression})");
    }
    Some(format!("setts=pts=PTS:dts={expression}"))
}

/// The whole film in one plain pass, without seeking or trimming.
pub(crate) fn single(input: &Input, index: &Index, spec: &Spec) -> Vec<String> {
    let source = &index.head.source;
    let mut args = quiet(LOG);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    args.extend(video(spec, index, "showinfo@decoded=checksum=0,", true));
    args.extend(fragmented(spec));
    args.extend(beside(source, index.head.sound.as_ref(), None));
    args
}

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
    /// The form for a spec.
    pub fn of(spec: &Spec) -> SoundForm {
        match (spec.audio(), spec.container()) {
            (Audio::Opus, _) => SoundForm::Ogg,
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
        Audio::Copy | Audio::None => words(&["-c:a", "copy"]),
    }
}

/// The whole audio track. Without `-copyts`, so that ffmpeg shifts it as a
/// single pass does.
pub(crate) fn audio(input: &Input, index: &Index, spec: &Spec, sound: &Sound) -> Vec<String> {
    let source = &index.head.source;
    let form = SoundForm::of(spec);
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
        },
    ]));
    args
}

/// Makes the one file of the joined shards and the audio; nothing is encoded.
pub(crate) fn assemble(spec: &Spec, audio: Option<&Path>) -> Vec<String> {
    let shift = format!("-{SHIFT_SECONDS}");
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-progress", "pipe:1", "-nostats", "-copyts"]));
    // The joined file's header is read up to its mark; see `rate_header`.
    args.extend(words(&["-itsoffset", &shift, "-fflags", "+ignidx"]));
    args.extend(open(&Input::File(JOINED_FILE.into()), Some("mov")));
    if let Some(audio) = audio {
        let form = SoundForm::of(spec);
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
    args.extend(video(spec, index, "", false));
    if let Some(sound) = &index.head.sound {
        args.extend(words(&["-map", &format!("0:{}", sound.stream)]));
        args.extend(sound_codec(spec));
    }
    args.extend(output(spec));
    args.push(output_path.to_string());
    args
}
