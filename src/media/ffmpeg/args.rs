//! Argument lists for opening and inspecting a source: pure functions. Names
//! of files never stand where an option could; formats and protocols are
//! whitelisted, and the demuxer is forced once it is known.
//!
//! Not here: what encodes and assembles, which is in `encode_args.rs`.

use std::path::PathBuf;

use crate::{
    analysis::probe::{DEMUXERS, Source},
    ffmpeg::log::{LOG, LOG_ERRORS},
    limits::{LOOSE_PICTURES_MIN, READ_WAIT},
};

/// Where a source is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file on this machine, under a name of our own or a user's.
    File(PathBuf),
    /// A server on loopback that answers byte ranges.
    Http {
        /// `http://127.0.0.1:PORT/…`
        url: String,
    },
}

impl Input {
    /// The name that is given to ffmpeg; it always begins with its protocol.
    fn address(&self) -> String {
        match self {
            Input::File(path) => format!("file:{}", path.display()),
            Input::Http { url } => url.clone(),
        }
    }
}

/// A list of arguments from words.
pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_string()).collect()
}

/// ffmpeg calls a pass failed where two thirds of the frames are damaged, though
/// it has decoded what it could. Here complaints are counted and proven instead.
pub(crate) const TO_THE_END: [&str; 2] = ["-max_error_rate", "1"];

/// Options of ffmpeg itself: no questions, no stdin, a log we can read.
pub(crate) fn quiet(log: &str) -> Vec<String> {
    let mut args = words(&["-nostdin", "-hide_banner", "-y", "-v", log]);
    args.extend(words(&TO_THE_END));
    args
}

/// Opens the input with a demuxer; the options stand before it, so they come
/// after those that apply to the decoder.
pub(crate) fn open(input: &Input, demuxer: Option<&str>) -> Vec<String> {
    let mut args = Vec::new();
    let protocols = match input {
        Input::File(_) => "file",
        Input::Http { .. } => "http,tcp",
    };
    args.extend(words(&["-protocol_whitelist", protocols]));
    match demuxer {
        Some(demuxer) => {
            args.extend(words(&["-format_whitelist", demuxer, "-f", demuxer]));
        }
        None => args.extend(words(&["-format_whitelist", &DEMUXERS.join(",")])),
    }
    if let Input::Http { .. } = input {
        let wait_us = READ_WAIT.as_micros().to_string();
        args.extend(words(&[
            "-multiple_requests",
            "1",
            "-short_seek_size",
            "65536",
            "-seekable",
            "1",
            "-rw_timeout",
            &wait_us,
        ]));
    }
    args.extend(["-i".to_string(), input.address()]);
    args
}

/// What [`probe`] asks for.
const PROBED: &str = "format=format_name,start_time:format_tags:stream=index,codec_name,profile,codec_type,width,height,time_base,sample_rate,channels:stream_disposition:stream_tags:chapter=time_base,start,end:chapter_tags";

/// ffprobe: format and streams as JSON.
pub(crate) fn probe(input: &Input) -> Vec<String> {
    let mut args = shown(PROBED);
    args.extend(open(input, None));
    args
}

/// As [`probe`], of JPEG pictures that follow one another without a format;
/// the first few are counted.
pub(crate) fn probe_loose_pictures(input: &Input) -> Vec<String> {
    let mut args = shown(&format!("{PROBED}:packet=size"));
    args.extend(words(&[
        "-read_intervals",
        &format!("%+#{LOOSE_PICTURES_MIN}"),
    ]));
    args.extend(open(input, Some("mjpeg")));
    args
}

fn shown(entries: &str) -> Vec<String> {
    words(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-of",
        "json=compact=1",
        "-show_entries",
        entries,
    ])
}

/// ffprobe: a line `pts|dts|flags` for each packet of the video.
pub(crate) fn scan_packets(input: &Input, source: &Source) -> Vec<String> {
    let stream = source.video().stream.to_string();
    let mut args = words(&[
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
    args.extend(open(input, Some(&source.demuxer)));
    args
}

/// The units of a bitstream that begin it afresh, for codecs that mark
/// keyframes which do not: H.264's IDR slices; HEVC's BLA and IDR ones.
pub(crate) fn refresh_units(codec: &str) -> Option<&'static str> {
    match codec {
        "h264" => Some("5"),
        "hevc" => Some("16-20"),
        _ => None,
    }
}

/// ffmpeg: a line for each keyframe that has such a unit. Nothing is decoded.
pub(crate) fn scan_refresh(input: &Input, source: &Source, types: &str) -> Vec<String> {
    let mut args = quiet(LOG_ERRORS);
    args.extend(words(&["-copyts", "-discard", "nokey"]));
    args.extend(open(input, Some(&source.demuxer)));
    args.extend(words(&[
        "-map",
        &format!("0:{}", source.video().stream),
        "-c",
        "copy",
        "-bsf:v",
        &format!("filter_units=pass_types={types}"),
        "-f",
        "framecrc",
        "-",
    ]));
    args
}

/// ffmpeg: decodes one frame and says what it is. With `copyts` its time is
/// the source's own, without it is what a single pass makes of it.
pub(crate) fn first_frame(
    input: &Input,
    source: &Source,
    mapped: &[u32],
    copyts: bool,
    encoder: &str,
) -> Vec<String> {
    let mut args = quiet(LOG);
    if copyts {
        args.extend(words(&["-copyts"]));
    }
    args.extend(words(&["-threads", "1"]));
    args.extend(open(input, Some(&source.demuxer)));
    args.extend(words(&[
        "-map",
        &format!("0:{}", source.video().stream),
        "-filter_threads",
        "1",
        "-vf",
        "showinfo@decoded=checksum=0,scale=flags=bicubic,showinfo@filtered=checksum=0",
        "-fps_mode",
        "passthrough",
        "-frames:v",
        "1",
        "-c:v",
        encoder,
        "-f",
        "null",
        "-",
    ]));
    args.extend(beside(source, mapped, &[source.video().stream]));
    args
}

/// ffprobe: the side data of the first frames as JSON. A decoder may need a
/// few packets for its first.
pub(crate) fn first_side_data(input: &Input, source: &Source) -> Vec<String> {
    let mut args = words(&[
        "-hide_banner",
        "-v",
        LOG_ERRORS,
        "-select_streams",
        &source.video().stream.to_string(),
        "-read_intervals",
        "%+#16",
        "-show_entries",
        "frame_side_data",
        "-of",
        "json=compact=1",
    ]);
    args.extend(open(input, Some(&source.demuxer)));
    args
}

/// A second output that takes the job's other streams and drops them: in
/// formats with jumping clocks the streams in use decide what the film's start
/// is. `mapped` are all streams of the job, `own` those in use already.
pub(crate) fn beside(source: &Source, mapped: &[u32], own: &[u32]) -> Vec<String> {
    let mut args = Vec::new();
    for stream in mapped.iter().filter(|stream| !own.contains(stream)) {
        args.extend(words(&["-map", &format!("0:{stream}")]));
    }
    if !source.jumping || args.is_empty() {
        return Vec::new();
    }
    args.extend(words(&["-c", "copy", "-f", "null", "-"]));
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::index::tests::sample;

    #[test]
    fn a_file_is_opened_under_whitelists_and_its_name_is_no_option() {
        let input = Input::File("-map.mp4".into());
        assert_eq!(
            open(&input, Some("mov")).join(" "),
            "-protocol_whitelist file -format_whitelist mov -f mov -i file:-map.mp4"
        );
        let any = open(&input, None).join(" ");
        for refused in ["hls", "concat", "sdp", "dash", "image2", "_pipe"] {
            assert!(!any.contains(refused), "{any}");
        }
    }

    #[test]
    fn a_server_is_asked_for_ranges_and_nothing_else_is_reachable() {
        let url = "http://127.0.0.1:9/t".to_string();
        assert_eq!(
            open(&Input::Http { url }, Some("mpegts")).join(" "),
            "-protocol_whitelist http,tcp -format_whitelist mpegts -f mpegts -multiple_requests 1 -short_seek_size 65536 -seekable 1 -rw_timeout 120000000 -i http://127.0.0.1:9/t"
        );
    }

    #[test]
    fn inspection_is_as_it_was() {
        let index = sample();
        let input = Input::File("s".into());
        assert_eq!(
            scan_packets(&input, &index.head.source).join(" "),
            "-hide_banner -v repeat+level+error -select_streams 0 -show_entries packet=pts,dts,flags -of compact=p=0:nk=1 -protocol_whitelist file -format_whitelist mov -f mov -i file:s"
        );
        assert_eq!(
            scan_refresh(&input, &index.head.source, "5").join(" "),
            "-nostdin -hide_banner -y -v repeat+level+error -max_error_rate 1 -copyts -discard nokey -protocol_whitelist file -format_whitelist mov -f mov -i file:s -map 0:0 -c copy -bsf:v filter_units=pass_types=5 -f framecrc -"
        );
    }
}
