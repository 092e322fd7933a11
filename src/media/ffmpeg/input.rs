//! Where a source is read from, and the options that open it. Formats and
//! protocols are whitelisted, the demuxer is forced once it is known, and a
//! file name never stands where an option could.

use std::{path::PathBuf, sync::Arc};

use crate::{
    facts::{source::Source, text::strings},
    ffmpeg::elsewhere::{Elsewhere, INPUT_PLACE},
    limits::{LATE_STREAM_BYTES_MAX, LATE_STREAM_US_MAX, READ_WAIT},
};

/// Where a source is read from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A local file.
    File(PathBuf),
    /// A loopback server that answers byte ranges.
    Http {
        /// `http://127.0.0.1:PORT/…`
        url: String,
        /// The bytes that it has served.
        served: BytesServed,
    },
    /// What shards are encoded of by another machine, which reads it by itself.
    Elsewhere {
        /// That machine.
        machine: Arc<dyn Elsewhere>,
        /// The bytes that it has read.
        served: BytesServed,
    },
}

impl Input {
    /// Whether another machine reads it.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Input::Elsewhere { .. })
    }
}

/// Tells how many bytes of a source have been served so far.
#[derive(Clone)]
pub struct BytesServed(Arc<dyn Fn() -> u64 + Send + Sync>);

impl BytesServed {
    /// Asks `counter`.
    pub fn new(counter: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        BytesServed(Arc::new(counter))
    }

    /// The bytes so far.
    pub fn get(&self) -> u64 {
        (self.0)()
    }
}

impl std::fmt::Debug for BytesServed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes served", self.get())
    }
}

impl Input {
    /// The URL given to ffmpeg; it always begins with a protocol.
    fn address(&self) -> String {
        match self {
            Input::File(path) => format!("file:{}", path.display()),
            Input::Http { url, .. } => url.clone(),
            Input::Elsewhere { .. } => INPUT_PLACE.to_string(),
        }
    }

    /// Counts the bytes read of it, if they can be counted.
    pub(crate) fn served(&self) -> Option<&BytesServed> {
        match self {
            Input::File(_) => None,
            Input::Http { served, .. } | Input::Elsewhere { served, .. } => Some(served),
        }
    }
}

/// Options that open the input, preceded by those that limit what it may open.
/// Options of the decoder must stand before them.
pub(crate) fn open_input(input: &Input, demuxer: Option<&str>) -> Vec<String> {
    let mut args = Vec::new();
    let protocols = match input {
        Input::File(_) => "file",
        Input::Http { .. } => "http,tcp",
        // It may have no server of its own between ffmpeg and ours.
        Input::Elsewhere { .. } => "http,https,tls,tcp",
    };
    args.extend(strings(&["-protocol_whitelist", protocols]));
    match demuxer {
        Some(demuxer) => {
            args.extend(strings(&["-format_whitelist", demuxer, "-f", demuxer]));
        }
        None => args.extend(strings(&["-format_whitelist", &DEMUXERS.join(",")])),
    }
    if let Input::Http { .. } | Input::Elsewhere { .. } = input {
        let wait_us = READ_WAIT.as_micros().to_string();
        // A kept connection would save little, and since ffmpeg 9 a seek may
        // leave bytes of the film in it, which then pass for the next answer's
        // head: a hostile film could redirect ffmpeg to another host.
        args.extend(strings(&[
            "-multiple_requests",
            "0",
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

/// Options that open a source whose format is known, for all of its streams.
pub(crate) fn open_source(input: &Input, source: &Source) -> Vec<String> {
    let mut args = look_far(source.late);
    args.extend(open_input(input, Some(&source.demuxer)));
    args
}

/// Options that look for streams that are declared and come late.
pub(crate) fn look_far(late: bool) -> Vec<String> {
    match late {
        true => strings(&[
            "-analyzeduration",
            &LATE_STREAM_US_MAX.to_string(),
            "-probesize",
            &LATE_STREAM_BYTES_MAX.to_string(),
        ]),
        false => Vec::new(),
    }
}

/// Formats that we open, by ffmpeg's names. Playlists and descriptions (hls,
/// dash, concat, sdp, …) are not among them, since they name other files, nor
/// are still pictures.
pub(crate) const DEMUXERS: [&str; 62] = [
    "mov",
    "matroska",
    "mpegts",
    "mpeg",
    "avi",
    "flv",
    "ogg",
    "asf",
    "gif",
    "apng",
    "webp_anim",
    "ivf",
    "mxf",
    "wtv",
    "rm",
    "nut",
    "dv",
    "yuv4mpegpipe",
    "h264",
    "hevc",
    "m4v",
    "mpegvideo",
    "vc1",
    "obu",
    "h263",
    "dirac",
    "live_flv",
    "mjpeg",
    "h261",
    "av1",
    "cavsvideo",
    "vc1test",
    "swf",
    "pva",
    "pmp",
    "nsv",
    "gxf",
    "nuv",
    "smjpeg",
    "mtv",
    "4xm",
    "dxa",
    "film_cpk",
    "flic",
    "roq",
    "smk",
    "bink",
    "xmv",
    "dts",
    "w64",
    "flac",
    "mp3",
    "wav",
    "aac",
    "ac3",
    "eac3",
    "aiff",
    "amr",
    "ape",
    "caf",
    "tta",
    "wv",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_opened_under_whitelists_and_its_name_is_no_option() {
        let input = Input::File("-map.mp4".into());
        assert_eq!(
            open_input(&input, Some("mov")).join(" "),
            "-protocol_whitelist file -format_whitelist mov -f mov -i file:-map.mp4"
        );
        let any = open_input(&input, None).join(" ");
        for refused in ["hls", "concat", "sdp", "dash", "image2", "_pipe"] {
            assert!(!any.contains(refused), "{any}");
        }
    }

    #[test]
    fn a_server_is_asked_for_ranges_and_nothing_else_is_reachable() {
        let input = Input::Http {
            url: "http://127.0.0.1:9/t".to_string(),
            served: BytesServed::new(|| 0),
        };
        assert_eq!(
            open_input(&input, Some("mpegts")).join(" "),
            "-protocol_whitelist http,tcp -format_whitelist mpegts -f mpegts -multiple_requests 0 -short_seek_size 65536 -seekable 1 -rw_timeout 120000000 -i http://127.0.0.1:9/t"
        );
    }
}
