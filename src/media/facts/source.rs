//! What ffprobe says of a source: its format, streams, tags and chapters.
//!
//! Not here: how it is asked, and which streams a job takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::times::Ratio;

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

/// A source whose kind is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// The demuxer to force.
    pub demuxer: String,
    /// Whether its clock may jump.
    #[serde(rename = "jumping")]
    pub discontinuous: bool,
    /// Start of the earliest stream.
    pub start_us: Option<i64>,
    /// The video stream; none in a job of sound alone.
    pub video: Option<Video>,
}

impl Source {
    /// The video stream, for steps that only jobs with pictures have.
    pub fn video(&self) -> &Video {
        self.video
            .as_ref()
            .expect("a job of sound alone has no shards, so nothing asks for its pictures")
    }
}

/// Tags by their names, in the order of these.
pub(crate) type Tags = BTreeMap<String, String>;

/// All that was found out about a source, the job's choice still to be made.
#[derive(Debug)]
pub(crate) struct ProbedSource {
    /// What it is, and the video that is encoded.
    pub source: Source,
    /// All streams, in order.
    pub streams: Vec<Stream>,
    /// Tags of the file as a whole.
    pub tags: Tags,
    /// Chapters, in order.
    pub chapters: Vec<Chapter>,
}

/// A stream as ffprobe shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stream {
    /// Its number in the source.
    pub index: u32,
    /// ffmpeg's name of its codec, if it knows it.
    pub codec_name: Option<String>,
    pub profile: Option<String>,
    pub codec_type: Option<String>,
    #[serde(default)]
    pub width: u64,
    #[serde(default)]
    pub height: u64,
    pub time_base: Option<String>,
    pub sample_rate: Option<String>,
    #[serde(default)]
    pub channels: u32,
    /// What it is meant for: a word, and 1 if it applies.
    #[serde(default)]
    pub disposition: BTreeMap<String, u8>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
}

impl Stream {
    /// Whether it is `video`, `audio`, `subtitle`, `attachment` or `data`.
    pub fn is(&self, kind: &str) -> bool {
        self.codec_type.as_deref() == Some(kind)
    }

    /// Whether a disposition applies.
    pub fn has(&self, word: &str) -> bool {
        self.disposition.get(word).is_some_and(|&flag| flag != 0)
    }

    /// ffmpeg's name of its codec; empty if it knows none.
    pub fn codec(&self) -> &str {
        self.codec_name.as_deref().unwrap_or_default()
    }

    /// Whether the size of its pictures was found out.
    pub fn has_size(&self) -> bool {
        self.width > 0 && self.height > 0
    }

    /// Samples a second and channels, where both were found out.
    pub fn sound(&self) -> Option<(u32, u32)> {
        let rate = self.sample_rate.as_deref()?.parse().ok()?;
        (rate > 0 && self.channels > 0 && self.codec_name.is_some())
            .then_some((rate, self.channels))
    }
}

/// A chapter as ffprobe shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Chapter {
    /// Seconds a tick.
    pub time_base: String,
    /// First tick.
    pub start: i64,
    /// First tick after it.
    pub end: i64,
    /// Its title and the like.
    #[serde(default)]
    pub tags: Tags,
}

/// What there is, in words, for a refusal.
pub(crate) fn describe_streams(streams: &[Stream]) -> String {
    if streams.is_empty() {
        return "no streams".to_string();
    }
    let kinds = streams.iter().take(8).map(|stream| {
        if stream.has("attached_pic") {
            "a cover picture"
        } else {
            stream.codec_type.as_deref().unwrap_or("unknown data")
        }
    });
    kinds.collect::<Vec<_>>().join(", ")
}
