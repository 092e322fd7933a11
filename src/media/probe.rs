//! What a source is: its format, found under a whitelist, and the streams the
//! job takes from it. Not here: its packets, which `packets.rs` reads.

use serde::{Deserialize, Serialize};

use crate::{
    Context, args,
    error::MediaError,
    limits::{SOURCE_PIXELS_MAX, STREAMS_MAX},
    listen::Text,
    process::{self, Ended, Run},
    times::{Ratio, parse_microseconds},
};

/// Formats that are opened, by ffmpeg's names. Playlists and descriptions
/// (hls, dash, concat, sdp, …) name other files and are not among them, nor
/// are formats of still pictures. The sound formats are here so that a sound
/// file is refused as such.
pub(crate) const DEMUXERS: [&str; 30] = [
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
    "flac",
    "mp3",
    "wav",
    "aac",
];

/// Formats whose clocks may jump. ffmpeg evens the jumps out as it reads, and
/// takes the start of the streams in use, not of all, as the film's.
const JUMPING: [&str; 3] = ["mpegts", "mpeg", "ogg"];

/// The video stream that is encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Video {
    /// Number of the stream in the source.
    pub stream: u32,
    /// ffmpeg's name of its codec.
    pub codec: String,
    /// Profile, as ffmpeg words it.
    pub profile: String,
    /// Its time base.
    pub time_base: Ratio,
}

/// The audio stream that is encoded or copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sound {
    /// Number of the stream in the source.
    pub stream: u32,
    /// ffmpeg's name of its codec.
    pub codec: String,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u32,
}

/// A source whose kind is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The demuxer to force.
    pub demuxer: String,
    /// Whether its clock may jump.
    pub jumping: bool,
    /// Start of the earliest stream.
    pub start_us: Option<i64>,
    /// The video stream.
    pub video: Video,
    /// The first audio stream.
    pub sound: Option<Sound>,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    streams: Vec<Stream>,
    format: Format,
}
#[derive(Deserialize)]
struct Format {
    format_name: String,
    start_time: Option<String>,
}
#[derive(Deserialize)]
struct Stream {
    index: u32,
    codec_name: Option<String>,
    profile: Option<String>,
    codec_type: Option<String>,
    #[serde(default)]
    width: u64,
    #[serde(default)]
    height: u64,
    time_base: Option<String>,
    sample_rate: Option<String>,
    #[serde(default)]
    channels: u32,
    #[serde(default)]
    disposition: Disposition,
}
#[derive(Default, Deserialize)]
struct Disposition {
    #[serde(default)]
    default: u8,
    #[serde(default)]
    attached_pic: u8,
}

/// Opens the source under the whitelist and chooses its streams.
pub(crate) async fn probe(context: &Context<'_>) -> Result<Source, MediaError> {
    let arguments = args::probe(context.input);
    let mut text = Text::default();
    let ended = process::run(
        Run {
            program: &context.tools.ffprobe,
            args: &arguments,
            folder: context.work_dir,
            address_bytes_extra: 0,
            time_max: None,
        },
        context.cancel,
        &mut text,
    )
    .await?;
    if matches!(ended, Ended::Badly(_)) {
        text.complaints
            .judge("ffprobe", Ended::Enough)
            .and(Err(refusal(&text)))?;
    }
    let shown: Shown = serde_json::from_str(&text.out).map_err(|error| MediaError::BadOutput {
        tool: "ffprobe".into(),
        detail: error.to_string(),
    })?;
    choose(shown)
}

fn refusal(text: &Text) -> MediaError {
    let words = text.complaints.last_words();
    if let Some(kind) = text
        .complaints
        .kept
        .iter()
        .find(|said| said.contains("not on whitelist"))
    {
        let found = kind.split(':').next().unwrap_or("").to_string();
        if found.ends_with("_pipe") || found == "image2" {
            return MediaError::NoVideo {
                found: format!("a still picture, {found}"),
            };
        }
        return MediaError::RefusedFormat { detail: found };
    }
    MediaError::Unreadable { detail: words }
}

/// Takes the stream that ffmpeg itself would: the largest picture, preferring
/// one marked as default; never a cover picture.
fn choose(shown: Shown) -> Result<Source, MediaError> {
    if shown.streams.len() > STREAMS_MAX {
        return Err(MediaError::OverLimit {
            what: "the number of streams",
            found: shown.streams.len() as u64,
            max: STREAMS_MAX as u64,
        });
    }
    let score = |stream: &Stream| {
        stream.width * stream.height + 5_000_000 * u64::from(stream.disposition.default)
    };
    let mut video: Option<&Stream> = None;
    for stream in shown.streams.iter().filter(|stream| {
        stream.codec_type.as_deref() == Some("video")
            && stream.disposition.attached_pic == 0
            && stream.codec_name.is_some()
    }) {
        if video.is_none_or(|best| score(stream) > score(best)) {
            video = Some(stream);
        }
    }
    let Some(video) = video else {
        let found = match shown.streams.len() {
            0 => "no streams".to_string(),
            _ => shown
                .streams
                .iter()
                .take(8)
                .map(|stream| stream.codec_type.as_deref().unwrap_or("unknown data"))
                .collect::<Vec<_>>()
                .join(", "),
        };
        return Err(MediaError::NoVideo { found });
    };
    let pixels = video.width * video.height;
    if pixels > SOURCE_PIXELS_MAX {
        return Err(MediaError::OverLimit {
            what: "the picture's size in pixels",
            found: pixels,
            max: SOURCE_PIXELS_MAX,
        });
    }
    let time_base = video
        .time_base
        .as_deref()
        .and_then(Ratio::parse)
        .ok_or_else(|| MediaError::BadOutput {
            tool: "ffprobe".into(),
            detail: format!("the time base {:?}", video.time_base),
        })?;
    let sound = shown
        .streams
        .iter()
        .find(|stream| stream.codec_type.as_deref() == Some("audio") && stream.codec_name.is_some())
        .map(|stream| Sound {
            stream: stream.index,
            codec: stream.codec_name.clone().unwrap_or_default(),
            sample_rate: stream
                .sample_rate
                .as_deref()
                .and_then(|rate| rate.parse().ok())
                .unwrap_or(0),
            channels: stream.channels,
        })
        // Declared, but never found out: there is nothing to decode.
        .filter(|sound| sound.sample_rate > 0 && sound.channels > 0);
    let demuxer = shown
        .format
        .format_name
        .split(',')
        .next()
        .unwrap_or_default()
        .to_string();
    Ok(Source {
        jumping: JUMPING.contains(&demuxer.as_str()),
        demuxer,
        start_us: shown
            .format
            .start_time
            .as_deref()
            .and_then(parse_microseconds),
        video: Video {
            stream: video.index,
            codec: video.codec_name.clone().unwrap_or_default(),
            profile: video.profile.clone().unwrap_or_default(),
            time_base,
        },
        sound,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(text: &str) -> Result<Source, MediaError> {
        choose(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_largest_video_is_taken_and_never_a_cover() {
        let source = shown(
            r#"{"streams":[
            {"index":0,"codec_type":"video","codec_name":"mjpeg","width":4000,"height":4000,"time_base":"1/90000","disposition":{"attached_pic":1}},
            {"index":1,"codec_type":"video","codec_name":"h264","width":320,"height":180,"time_base":"1/12800"},
            {"index":2,"codec_type":"video","codec_name":"h264","width":640,"height":360,"time_base":"1/12800"},
            {"index":3,"codec_type":"audio","codec_name":"aac","sample_rate":"48000","channels":2}],
            "format":{"format_name":"mov,mp4","start_time":"-0.021000"}}"#,
        )
        .unwrap();
        assert_eq!(source.video.stream, 2);
        assert_eq!(source.demuxer, "mov");
        assert_eq!(source.start_us, Some(-21_000));
        assert_eq!(source.sound.unwrap().stream, 3);
    }

    #[test]
    fn sound_alone_is_refused_by_what_it_is() {
        let error = shown(
            r#"{"streams":[{"index":0,"codec_type":"audio","codec_name":"flac","sample_rate":"44100","channels":2}],
            "format":{"format_name":"flac"}}"#,
        )
        .unwrap_err();
        assert_eq!(error.kind(), "no-video");
        assert!(error.to_string().contains("audio"), "{error}");
    }
}
