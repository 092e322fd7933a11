//! What ffprobe reports of a source: its format, streams, tags and chapters.
//!
//! Not here: how it is asked, and which streams a job uses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    facts::times::{Ratio, parse_clock, parse_microseconds},
    limits::ADDRESS_BYTES_PER_PIXEL,
};

/// The video stream that is encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Video {
    /// Index of the stream in the source.
    pub stream: u32,
    pub codec: String,
    /// The decoder that is asked for by name; empty where ffmpeg's own choice
    /// is the right one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub decoder: String,
    pub profile: String,
    pub time_base: Ratio,
    /// Pixels of its picture, as declared; of use during the analysis only.
    #[serde(skip)]
    pub pixels: u64,
    /// Whether it has a second picture that says how far it can be seen
    /// through; of use during the analysis only.
    #[serde(skip)]
    pub has_alpha_layer: bool,
    /// Whether ffmpeg says of its codec that each picture stands for itself; of
    /// use during the analysis only.
    #[serde(skip)]
    pub intra_only: bool,
}

impl Video {
    /// Address space in bytes, beyond the base, that decoding it needs.
    pub fn address_bytes(&self) -> u64 {
        self.pixels.saturating_mul(ADDRESS_BYTES_PER_PIXEL)
    }

    /// Options that choose its decoder, before those that open the source. Decoders
    /// of older formats round in other ways on some processors unless they are told
    /// to be exact (P1).
    pub fn decoder_args(&self) -> Vec<String> {
        let mut args = vec![format!("-flags:{}", self.stream), "+bitexact".to_string()];
        if !self.decoder.is_empty() {
            args.extend([format!("-c:{}", self.stream), self.decoder.clone()]);
        }
        args
    }
}

/// A source whose format is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub demuxer: String,
    /// Whether its timestamps may jump.
    #[serde(rename = "jumping")]
    pub discontinuous: bool,
    /// Whether they do, so that one pass moves parts of the film.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaps: bool,
    /// Whether a declared stream comes so late that it must be looked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Start of the earliest stream.
    pub start_us: Option<i64>,
    /// `None` in an audio-only job.
    pub video: Option<Video>,
}

impl Source {
    /// The video stream, for steps that only jobs with video have.
    pub fn video(&self) -> &Video {
        self.video
            .as_ref()
            .expect("an audio-only job has no shards, so nothing asks for its video")
    }

    /// Address space in bytes, beyond the base, that opening it needs: ffmpeg
    /// decodes some of its pictures.
    pub fn address_bytes(&self) -> u64 {
        self.video.as_ref().map_or(0, Video::address_bytes)
    }
}

/// Tags by name, sorted.
pub(crate) type Tags = BTreeMap<String, String>;

/// Everything ffprobe found in a source, before the job selects from it.
#[derive(Debug)]
pub(crate) struct ProbedSource {
    pub source: Source,
    /// All of it as ffprobe says it, for people.
    pub description: Option<serde_json::Value>,
    /// All packets, if the source has so few that they were read with the rest.
    pub packets: Option<Vec<ShownPacket>>,
    /// Whether ffmpeg finds a time in it without reading all that lies before.
    pub indexed: bool,
    pub streams: Vec<Stream>,
    pub programs: Vec<Program>,
    pub tags: Tags,
    pub chapters: Vec<Chapter>,
}

/// A packet, as ffprobe prints it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShownPacket {
    pub stream_index: u32,
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    #[serde(default)]
    pub flags: String,
}

/// A program of a broadcast, as ffprobe prints it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Program {
    #[serde(rename = "program_id")]
    pub number: u32,
    #[serde(default)]
    pub streams: Vec<ProgramStream>,
}

/// A stream of a program; a stream may belong to several, or to none.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ProgramStream {
    pub index: u32,
}

impl Program {
    pub fn has(&self, stream: &Stream) -> bool {
        self.streams.iter().any(|own| own.index == stream.index)
    }
}

/// A stream, as ffprobe prints it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stream {
    pub index: u32,
    pub codec_name: Option<String>,
    pub profile: Option<String>,
    pub codec_type: Option<String>,
    /// The container's name for its codec.
    pub codec_tag_string: Option<String>,
    /// Packets, where the container counts them.
    pub nb_frames: Option<String>,
    /// Where it begins and how long it lasts, in seconds.
    pub start_time: Option<String>,
    pub duration: Option<String>,
    #[serde(default)]
    pub width: u64,
    #[serde(default)]
    pub height: u64,
    pub time_base: Option<String>,
    pub sample_rate: Option<String>,
    #[serde(default)]
    pub channels: u32,
    pub channel_layout: Option<String>,
    /// Each disposition, and 1 if it applies.
    #[serde(default)]
    pub disposition: BTreeMap<String, u8>,
    #[serde(default)]
    pub tags: Tags,
    #[serde(default)]
    pub side_data_list: Vec<BTreeMap<String, serde_json::Value>>,
    /// Whether it belongs to programs that are not taken, and to no other.
    #[serde(skip)]
    pub in_other_program: bool,
}

impl Stream {
    /// Whether its type is `video`, `audio`, `subtitle`, `attachment` or
    /// `data`.
    pub fn is(&self, kind: &str) -> bool {
        self.codec_type.as_deref() == Some(kind)
    }

    pub fn has(&self, word: &str) -> bool {
        self.disposition.get(word).is_some_and(|&flag| flag != 0)
    }

    /// Its codec, or an empty string if ffmpeg knows none.
    pub fn codec(&self) -> &str {
        self.codec_name.as_deref().unwrap_or_default()
    }

    /// A name for its codec: ffmpeg's, else the container's.
    pub fn codec_or_tag(&self) -> &str {
        match self.codec() {
            "" => self.tag().unwrap_or("unknown"),
            codec => codec,
        }
    }

    /// The container's name for its codec, where it is text.
    pub fn tag(&self) -> Option<&str> {
        let tag = self.codec_tag_string.as_deref();
        tag.filter(|tag| !tag.is_empty() && !tag.contains('['))
    }

    /// Its side data of a kind, by ffprobe's name.
    pub fn side_data(&self, kind: &str) -> Option<&BTreeMap<String, serde_json::Value>> {
        let mut sides = self.side_data_list.iter();
        sides.find(|side| side.get("side_data_type").and_then(|own| own.as_str()) == Some(kind))
    }

    /// Its first timecode, as text.
    pub fn timecode(&self) -> Option<&str> {
        self.tags.get("timecode").map(String::as_str)
    }

    /// Its packets, where the container counts them or a tag of Matroska does.
    pub fn packets(&self) -> Option<u64> {
        const TAG: &str = "NUMBER_OF_FRAMES";
        let mut tags = self.tags.iter();
        let tag = tags.find(|(key, _)| key.split('-').next() == Some(TAG));
        let told = self.nb_frames.as_ref().or(tag.map(|(_, value)| value));
        told.and_then(|told| told.parse().ok())
    }

    /// How long it lasts by what a container says that counts each track by itself:
    /// MP4 in its table, Matroska by the time of its end. Other durations are
    /// ffmpeg's estimates.
    pub fn declared_us(&self, demuxer: &str) -> Option<i64> {
        match demuxer {
            "mov" => parse_microseconds(self.duration.as_deref()?),
            "matroska" => {
                let mut tags = self.tags.iter();
                let (_, end) = tags.find(|(key, _)| key.split('-').next() == Some("DURATION"))?;
                let start = parse_microseconds(self.start_time.as_deref()?)?;
                Some(parse_clock(end)? - start)
            }
            _ => None,
        }
    }

    /// Whether it may be the film: a video, and no cover.
    pub fn is_film(&self) -> bool {
        self.is("video") && !self.has("attached_pic")
    }

    /// Whether the size of its pictures is known.
    pub fn has_size(&self) -> bool {
        self.width > 0 && self.height > 0
    }

    /// Whether Matroska says that each picture comes with its alpha.
    pub fn has_alpha_layer(&self) -> bool {
        let mut tags = self.tags.iter();
        tags.any(|(key, value)| key.eq_ignore_ascii_case("alpha_mode") && value == "1")
    }

    /// Sample rate and number of channels, if both are known.
    pub fn audio_params(&self) -> Option<(u32, u32)> {
        let rate = self.sample_rate.as_deref()?.parse().ok()?;
        (rate > 0 && self.channels > 0 && self.codec_name.is_some())
            .then_some((rate, self.channels))
    }
}

/// A chapter, as ffprobe prints it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Chapter {
    pub time_base: String,
    pub start: i64,
    pub end: i64,
    #[serde(default)]
    pub tags: Tags,
}

/// Lists the kinds of streams, for an error message.
pub(crate) fn describe_streams(streams: &[Stream]) -> String {
    if streams.is_empty() {
        return "no streams".to_string();
    }
    let kinds = streams.iter().take(8).map(|stream| {
        let kind = stream.codec_type.as_deref().unwrap_or("unknown data");
        match stream.has("attached_pic") {
            true => "a cover picture".to_string(),
            false => format!("{kind} {}", stream.codec_or_tag()),
        }
    });
    kinds.collect::<Vec<_>>().join(", ")
}
