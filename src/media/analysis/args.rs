//! Argument lists that inspect a source: pure functions of it and the spec.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{index::Index, source::Source, text::strings},
    ffmpeg::{
        args::{clock_rule, decoded_audio, global_options, read_along},
        describe::WHOLE,
        input::{Input, look_far, open_input, open_source},
        log::{LOG, LOG_ERRORS},
    },
    limits::{FIRST_FRAMES, LOOSE_PICTURES_MIN, PROBED_PACKETS, STILL_PACKETS},
    video::{args::video, filters::Pass, rate::Rate},
};

/// ffprobe: prints all of format, streams, programs and chapters as JSON. `late`
/// looks further than usual for streams that are declared.
pub(crate) fn probe(input: &Input, late: bool) -> Vec<String> {
    let mut args = shown_whole(&[]);
    args.extend(look_far(late));
    args.extend(open_input(input, None));
    args
}

/// As [`probe`], and also the packets of all streams, up to so many that one
/// process more is cheaper.
pub(crate) fn probe_small(input: &Input) -> Vec<String> {
    let mut args = shown_whole(&[
        "-show_entries",
        "packet=stream_index,pts,dts,flags",
        "-read_intervals",
        &format!("%+#{PROBED_PACKETS}"),
    ]);
    args.extend(open_input(input, None));
    args
}

/// As [`probe`], for JPEG pictures in a row without a container; also prints
/// the first few packets.
pub(crate) fn probe_loose_pictures(input: &Input) -> Vec<String> {
    let mut args = shown_whole(&[
        "-show_entries",
        "packet=stream_index",
        "-read_intervals",
        &format!("%+#{LOOSE_PICTURES_MIN}"),
    ]);
    args.extend(open_input(input, Some("mjpeg")));
    args
}

/// ffprobe: says what it skips in a WebP file; before version 9 that is all of an
/// animated one.
pub(crate) fn probe_webp(input: &Input) -> Vec<String> {
    let mut args = strings(&["-hide_banner", "-v", LOG]);
    args.extend(open_input(input, Some("webp_pipe")));
    args
}

/// ffprobe: prints of which video each of the first packets is.
pub(crate) fn first_video_packets(input: &Input, demuxer: &str) -> Vec<String> {
    let mut args = shown("packet=stream_index");
    args.extend(strings(&[
        "-select_streams",
        "v",
        "-read_intervals",
        &format!("%+#{STILL_PACKETS}"),
    ]));
    args.extend(open_input(input, Some(demuxer)));
    args
}

fn shown(entries: &str) -> Vec<String> {
    let mut args = strings(&AS_JSON);
    args.extend(strings(&["-show_entries", entries]));
    args
}

/// What a file is as a whole, and `more`.
fn shown_whole(more: &[&str]) -> Vec<String> {
    let mut args = strings(&AS_JSON);
    args.extend(strings(&WHOLE));
    args.extend(strings(more));
    args
}

const AS_JSON: [&str; 5] = ["-hide_banner", "-v", LOG_ERRORS, "-of", "json=compact=1"];

/// ffprobe: prints `pts|dts|flags` for each packet of the video.
pub(crate) fn scan_packets(input: &Input, source: &Source) -> Vec<String> {
    let stream = source.video().stream.to_string();
    let mut args = strings(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-select_streams",
        &stream,
        "-show_entries",
        "packet=pts,dts,flags",
        "-of",
        "compact=p=0:nk=1",
    ]);
    args.extend(open_source(input, source));
    args
}

/// ffmpeg: prints the times of the pictures' packets as one pass over all streams
/// of the job reads them; see `picture_clock.rs`. Sound is decoded, since its length
/// may move the clock.
pub(crate) fn one_pass(
    input: &Input,
    source: &Source,
    spec: &Spec,
    audio: &[u32],
    other_streams: &[u32],
) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(clock_rule(source));
    args.extend(strings(&["-threads", "1"]));
    args.extend(open_source(input, source));
    args.extend(read_along(source, other_streams, &[]));
    args.extend(audio.iter().flat_map(|stream| decoded_audio(spec, *stream)));
    args
}

/// The NAL unit types that restart a bitstream, for codecs that also mark
/// other pictures as keyframes: H.264's IDR slices, HEVC's BLA and IDR
/// pictures.
pub(crate) fn refresh_units(codec: &str) -> Option<&'static str> {
    match codec {
        "h264" => Some("5"),
        "hevc" => Some("16-20"),
        _ => None,
    }
}

/// ffmpeg: prints a line for each keyframe with such a unit. Nothing is
/// decoded.
pub(crate) fn scan_refresh(input: &Input, source: &Source, types: &str) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&["-copyts", "-discard", "nokey"]));
    args.extend(open_source(input, source));
    args.extend(strings(&[
        "-map",
        &format!("0:{}", source.video().stream),
        "-c",
        "copy",
        "-bsf:v",
        &format!("filter_units=pass_types={types}"),
        // Each line at once.
        "-flush_packets",
        "1",
        "-f",
        "framecrc",
        "-",
    ]));
    args
}

/// ffmpeg: decodes the first frames and prints what they are. With `copyts` their
/// times are the source's own, otherwise those that a single pass gives them.
pub(crate) fn first_frame(
    input: &Input,
    source: &Source,
    mapped: &[u32],
    copyts: bool,
    frames: u32,
    encoder: &str,
) -> Vec<String> {
    let mut args = global_options(LOG);
    args.extend(clock_rule(source));
    if copyts {
        args.extend(strings(&["-copyts"]));
    }
    args.extend(strings(&["-threads", "1"]));
    args.extend(source.video().decoder_args());
    args.extend(open_source(input, source));
    args.extend(strings(&[
        "-map",
        &format!("0:{}", source.video().stream),
        "-filter_threads",
        "1",
        "-vf",
        "showinfo@decoded=checksum=0,scale=flags=bicubic,showinfo@filtered=checksum=0",
        "-fps_mode",
        "passthrough",
        "-frames:v",
        &frames.to_string(),
        "-c:v",
        encoder,
        "-f",
        "null",
        "-",
    ]));
    args.extend(read_along(source, mapped, &[source.video().stream]));
    args
}

/// What a stream and its frames carry beside the samples.
const SIDE_DATA: &str = "frame_side_data:stream_side_data";

/// ffprobe: prints the side data of the video and its first frames as JSON.
pub(crate) fn first_side_data(input: &Input, source: &Source) -> Vec<String> {
    let mut args = strings(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        // Each further thread would need memory for pictures of its own.
        "-threads",
        "1",
        "-select_streams",
        &source.video().stream.to_string(),
        "-read_intervals",
        &format!("%+#{FIRST_FRAMES}"),
        "-show_entries",
        SIDE_DATA,
        "-of",
        "json=compact=1",
    ]);
    args.extend(open_source(input, source));
    args
}

/// Name of the sample of the reference in the work folder.
pub(crate) const SAMPLE_FILE: &str = "sample.mkv";

/// Encodes the first frame as the reference would, for its header only.
pub(crate) fn sample(input: &Input, index: &Index, spec: &Spec) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(clock_rule(&index.facts.source));
    args.extend(strings(&["-threads", "1"]));
    args.extend(index.facts.source.video().decoder_args());
    args.extend(open_source(input, &index.facts.source));
    args.extend(video(spec, index, Pass::Sample, &Rate::of(spec)));
    args.extend(strings(&["-frames:v", "1", "-f", "matroska", SAMPLE_FILE]));
    args
}

/// Name of the sample of a shard in the work folder.
pub(crate) fn shard_sample_file(spec: &Spec) -> &'static str {
    match spec.codec() {
        Codec::Ffv1 => "sample.mov",
        _ => "sample.mp4",
    }
}

/// Encodes the first frames as the shards will be, for their side data only.
pub(crate) fn shard_sample(input: &Input, index: &Index, spec: &Spec) -> Vec<String> {
    let mut args = global_options(LOG_ERRORS);
    args.extend(strings(&["-threads", "1"]));
    args.extend(index.facts.source.video().decoder_args());
    args.extend(open_source(input, &index.facts.source));
    args.extend(video(spec, index, Pass::Sample, &Rate::of(spec)));
    args.extend(strings(&["-frames:v", &FIRST_FRAMES.to_string()]));
    args.push(shard_sample_file(spec).into());
    args
}

/// ffprobe: prints the side data of that sample as JSON.
pub(crate) fn side_data_of_sample(spec: &Spec) -> Vec<String> {
    let mut args = strings(&["-hide_banner", "-v", LOG_ERRORS, "-threads", "1"]);
    args.extend(strings(&[
        "-show_entries",
        SIDE_DATA,
        "-of",
        "json=compact=1",
    ]));
    args.extend(open_input(
        &Input::File(shard_sample_file(spec).into()),
        Some("mov"),
    ));
    args
}

/// ffprobe: prints the color and field tags of the sample's header as JSON.
pub(crate) fn sample_tags() -> Vec<String> {
    let mut args = strings(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-show_entries",
        "stream=color_range,color_space,color_transfer,color_primaries,chroma_location,field_order",
        "-of",
        "json=compact=1",
    ]);
    args.extend(open_input(
        &Input::File(SAMPLE_FILE.into()),
        Some("matroska"),
    ));
    args
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::index::tests::sample as sample_index;

    #[test]
    fn inspection_arguments_are_pinned() {
        let index = sample_index();
        let input = Input::File("s".into());
        assert_eq!(
            scan_packets(&input, &index.facts.source).join(" "),
            "-hide_banner -v repeat+level+error -select_streams 0 -show_entries packet=pts,dts,flags -of compact=p=0:nk=1 -protocol_whitelist file -format_whitelist mov -f mov -i file:s"
        );
        assert_eq!(
            scan_refresh(&input, &index.facts.source, "5").join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -max_error_rate 1 -copyts -discard nokey -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:0 -c copy -bsf:v filter_units=pass_types=5 -flush_packets 1 -f framecrc -"
        );
    }
}
