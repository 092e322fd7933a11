//! Finds out what a source is: its format, from a whitelist, and its streams.
//! Not here: its packets; see `packets.rs`.

use std::collections::BTreeMap;

use reelraft_model::spec::Spec;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    analysis::{args, select},
    error::{Class, MediaError},
    facts::{
        source::{Chapter, ProbedSource, Program, ShownPacket, Source, Stream, Tags, Video},
        times::{Ratio, parse_microseconds},
    },
    ffmpeg::{
        abilities,
        context::Context,
        describe,
        listeners::TextListener,
        process::{Exit, LineEffect, Listener},
    },
    limits::{
        CLOCK_TICKS_MAX, LOOSE_PICTURES_MIN, PROBED_PACKETS, SMALL_SOURCE_BYTES, SOURCE_PIXELS_MAX,
        STREAMS_MAX,
    },
};

/// Formats whose timestamps may jump. ffmpeg evens out the jumps as it reads,
/// and starts the film where the streams in use start, not where all do: demuxers with
/// `AVFMT_TS_DISCONT`. `live_flv` are recordings of a live server. Raw MPEG-4 has the
/// mark too, but a picture alone has nothing to lie beside.
const JUMPING: [&str; 4] = ["mpegts", "mpeg", "ogg", "live_flv"];

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    programs: Vec<Program>,
    #[serde(default)]
    chapters: Vec<Chapter>,
    /// The first packets, if they were requested.
    #[serde(skip)]
    packets: Vec<ShownPacket>,
    format: Format,
    /// All but the packets.
    #[serde(skip)]
    description: Option<Value>,
    /// Whether it had to be looked for further than usual.
    #[serde(skip)]
    late: bool,
    /// Whether the packets are all that there are.
    #[serde(skip)]
    complete: bool,
}
#[derive(Deserialize)]
struct FirstPackets {
    #[serde(default)]
    packets: Vec<PacketOf>,
}
#[derive(Deserialize)]
struct PacketOf {
    stream_index: u32,
}
#[derive(Deserialize)]
struct Format {
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    tags: Tags,
}

impl Shown {
    fn demuxer(&self) -> &str {
        let names = &self.format.format_name;
        names.split(',').next().unwrap_or_default()
    }

    /// Whether the file was ended as one: Matroska says only then how long it is, and
    /// FLV where its keyframes are. What was streamed to a file (a browser's recorder, a
    /// live server, a pipe) has no index, and is read from its beginning to any time.
    fn indexed(&self) -> bool {
        match self.demuxer() {
            "matroska" => self.format.duration.is_some(),
            "flv" => {
                let mut tags = self.format.tags.iter();
                tags.any(|(name, value)| name == "hasKeyframes" && value == "true")
            }
            _ => true,
        }
    }

    fn discontinuous(&self) -> bool {
        JUMPING.contains(&self.demuxer())
    }

    /// Whether no stream lacks packets that it declares. A table that leads astray
    /// in one track ends the reading of all of them.
    fn has_declared_packets(&self) -> bool {
        let mut counts = BTreeMap::new();
        for packet in &self.packets {
            *counts.entry(packet.stream_index).or_insert(0) += 1;
        }
        let read = |stream: &Stream| counts.get(&stream.index).copied().unwrap_or(0);
        let mut streams = self.streams.iter();
        streams.all(|stream| {
            stream
                .packets()
                .is_none_or(|declared| read(stream) >= declared)
        })
    }

    /// Streams that are declared and of which nothing more is known.
    fn unknown(&self) -> usize {
        let unknown = |stream: &&Stream| match stream.codec_type.as_deref() {
            Some("video") => stream.codec_name.is_some() && !stream.has_size(),
            Some("audio") => stream.codec_name.is_some() && stream.audio_params().is_none(),
            _ => false,
        };
        self.streams.iter().filter(unknown).count()
    }
}

/// Formats of which ffprobe says the same whether it reads packets or not.
const STEADY: [&str; 2] = ["mov", "matroska"];

/// Opens a source, and reads its packets too if it is small.
async fn open(context: &Context<'_>, source_bytes: u64) -> Result<Shown, MediaError> {
    if source_bytes <= SMALL_SOURCE_BYTES {
        let mut shown = show(context, &args::probe_small(context.input)).await?;
        if STEADY.contains(&shown.demuxer()) {
            // As many as were asked for are not all of them, and none is no answer.
            let all = (1..PROBED_PACKETS).contains(&shown.packets.len());
            shown.complete = all && shown.has_declared_packets();
            return Ok(shown);
        }
    }
    show(context, &args::probe(context.input, false)).await
}

/// Opens the source under the whitelist and selects the video.
pub(crate) async fn probe(
    context: &Context<'_>,
    source_bytes: u64,
) -> Result<ProbedSource, MediaError> {
    match open(context, source_bytes).await {
        Ok(shown) if shown.unknown() > 0 && shown.discontinuous() => {
            let arguments = args::probe(context.input, true);
            let further = show(context, &arguments).await?;
            match further.unknown() < shown.unknown() {
                true => {
                    choose(
                        context,
                        Shown {
                            late: true,
                            ..further
                        },
                    )
                    .await
                }
                false => choose(context, shown).await,
            }
        }
        Ok(shown) => choose(context, shown).await,
        // A film of bare JPEG pictures looks like a single one. A photo stays
        // refused.
        Err(MediaError::NoVideo { found }) if found.ends_with("jpeg_pipe") => {
            let arguments = args::probe_loose_pictures(context.input);
            match show(context, &arguments).await {
                Ok(shown) if shown.packets.len() >= LOOSE_PICTURES_MIN => {
                    choose(context, shown).await
                }
                Err(error) if error.class() != Class::Final => Err(error),
                _ => Err(MediaError::NoVideo { found }),
            }
        }
        Err(MediaError::NoVideo { found }) if found.ends_with("webp_pipe") => {
            Err(match is_animated_webp(context).await? {
                true => MediaError::Undecodable {
                    what: "video",
                    codec: "webp_anim".into(),
                },
                false => MediaError::NoVideo { found },
            })
        }
        Err(MediaError::Unreadable { detail }) => {
            let missing = abilities::missing_demuxers(context).await?;
            Err(match missing.is_empty() {
                true => MediaError::Unreadable { detail },
                false => MediaError::DemuxerMissing {
                    demuxers: missing.join(", "),
                },
            })
        }
        Err(error) => Err(error),
    }
}

/// Whether a WebP file is a film, which an ffprobe without a demuxer for those
/// takes for a still.
async fn is_animated_webp(context: &Context<'_>) -> Result<bool, MediaError> {
    let mut skipped = SkippedChunks { animation: false };
    let arguments = args::probe_webp(context.input);
    context.ffprobe(&arguments, &mut skipped).await?;
    Ok(skipped.animation)
}

struct SkippedChunks {
    animation: bool,
}

impl Listener for SkippedChunks {
    fn stdout(&mut self, _: &str) -> Result<LineEffect, MediaError> {
        Ok(LineEffect::Neutral)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.animation |= line.ends_with("chunk: ANIM");
        Ok(match self.animation {
            true => LineEffect::Stop,
            false => LineEffect::Neutral,
        })
    }
}

/// What ffprobe shows of a source.
async fn show(context: &Context<'_>, arguments: &[String]) -> Result<Shown, MediaError> {
    let mut all: Value = ask_ffprobe(context, arguments).await?;
    let packets = all.get_mut("packets").map(Value::take).unwrap_or_default();
    if let Some(sections) = all.as_object_mut() {
        sections.remove("packets");
    }
    let packets = Option::<Vec<ShownPacket>>::deserialize(packets).map_err(unlike)?;
    Ok(Shown {
        packets: packets.unwrap_or_default(),
        description: describe::kept(all.clone()),
        ..Shown::deserialize(all).map_err(unlike)?
    })
}

fn unlike(error: serde_json::Error) -> MediaError {
    MediaError::BadOutput {
        tool: "ffprobe".into(),
        detail: error.to_string(),
    }
}

async fn ask_ffprobe<Answer: DeserializeOwned>(
    context: &Context<'_>,
    arguments: &[String],
) -> Result<Answer, MediaError> {
    let mut text = TextListener::default();
    let exit = context.ffprobe(arguments, &mut text).await?;
    if matches!(exit, Exit::Failure(_)) {
        return Err(match text.diagnostics.check_exit("ffprobe", exit) {
            Ok(()) | Err(MediaError::ToolFailed { .. }) => refusal(&text),
            Err(error) => error,
        });
    }
    serde_json::from_str(&text.out).map_err(unlike)
}

fn refusal(text: &TextListener) -> MediaError {
    let errors = text.diagnostics.last_errors();
    if let Some(kind) = text
        .diagnostics
        .messages()
        .find(|message| message.contains("not on whitelist"))
    {
        let found = kind.split(':').next().unwrap_or("").to_string();
        if found.ends_with("_pipe") || found == "image2" {
            return MediaError::NoVideo {
                found: format!("a still picture, {found}"),
            };
        }
        return MediaError::RefusedFormat { detail: found };
    }
    MediaError::Unreadable { detail: errors }
}

/// Puts together what was found, and selects the video.
async fn choose(context: &Context<'_>, shown: Shown) -> Result<ProbedSource, MediaError> {
    let demuxer = shown.demuxer().to_string();
    let stills = match context.spec.container().sound_alone() {
        true => Vec::new(),
        false => find_stills(context, &shown.streams, &demuxer).await?,
    };
    assemble(context.spec, shown, demuxer, &stills)
}

fn assemble(
    spec: &Spec,
    mut shown: Shown,
    demuxer: String,
    stills: &[u32],
) -> Result<ProbedSource, MediaError> {
    if shown.streams.len() > STREAMS_MAX {
        return Err(MediaError::OverLimit {
            what: "the number of streams",
            found: shown.streams.len() as u64,
            max: STREAMS_MAX as u64,
        });
    }
    let video = match spec.container().sound_alone() {
        true => None,
        false => {
            let chosen = select::video(spec, &shown.streams, &shown.programs, stills)?;
            Some(described(chosen)?)
        }
    };
    let indexed = shown.indexed();
    let stream = video.as_ref().map(|video| video.stream);
    select::mark_other_programs(spec, &mut shown.streams, &shown.programs, stream)?;
    let source = Source {
        discontinuous: JUMPING.contains(&demuxer.as_str()),
        leaps: false,
        late: shown.late,
        demuxer,
        start_us: shown
            .format
            .start_time
            .as_deref()
            .and_then(parse_microseconds),
        video,
    };
    Ok(ProbedSource {
        source,
        indexed,
        description: shown.description,
        packets: shown.complete.then_some(shown.packets),
        streams: shown.streams,
        programs: shown.programs,
        tags: shown.format.tags,
        chapters: shown.chapters,
    })
}

/// Videos of a single picture, where there are several videos. Their packets are
/// counted in the source, or else the first of all videos are looked at.
async fn find_stills(
    context: &Context<'_>,
    streams: &[Stream],
    demuxer: &str,
) -> Result<Vec<u32>, MediaError> {
    let films: Vec<&Stream> = streams.iter().filter(|stream| stream.is_film()).collect();
    if films.len() < 2 || films.len() > STREAMS_MAX {
        return Ok(Vec::new());
    }
    let mut first = FirstPackets {
        packets: Vec::new(),
    };
    if films.iter().any(|stream| stream.packets().is_none()) {
        let arguments = args::first_video_packets(context.input, demuxer);
        first = ask_ffprobe(context, &arguments).await?;
    }
    let single = films.iter().filter(|stream| is_still(stream, &first));
    Ok(single.map(|stream| stream.index).collect())
}

/// Whether a video is a single picture. What has no packet yet may still become a
/// film.
fn is_still(stream: &Stream, first: &FirstPackets) -> bool {
    let mut own = first
        .packets
        .iter()
        .filter(|packet| packet.stream_index == stream.index);
    match stream.packets() {
        Some(told) => told == 1,
        None => own.next().is_some() && own.next().is_none(),
    }
}

fn described(video: &Stream) -> Result<Video, MediaError> {
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
    if time_base.den > CLOCK_TICKS_MAX {
        return Err(MediaError::OverLimit {
            what: "the ticks a second of the film's clock",
            found: time_base.den.unsigned_abs(),
            max: CLOCK_TICKS_MAX.unsigned_abs(),
        });
    }
    Ok(Video {
        stream: video.index,
        codec: video.codec().to_string(),
        decoder: String::new(),
        profile: video.profile.clone().unwrap_or_default(),
        time_base,
        pixels,
        has_alpha_layer: video.has_alpha_layer(),
        intra_only: false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use reelraft_model::spec::{SpecRequest, resolve};

    fn shown(text: &str, container: &str) -> Result<ProbedSource, MediaError> {
        let request = SpecRequest {
            container: container.into(),
            ..Default::default()
        };
        assemble(
            &resolve(&request).unwrap(),
            serde_json::from_str(text).unwrap(),
            "mov".into(),
            &[],
        )
    }

    #[test]
    fn the_largest_video_is_taken_and_never_a_cover() {
        let found = shown(
            r#"{"streams":[
            {"index":0,"codec_type":"video","codec_name":"mjpeg","width":4000,"height":4000,"time_base":"1/90000","disposition":{"attached_pic":1}},
            {"index":1,"codec_type":"video","codec_name":"h264","width":320,"height":180,"time_base":"1/12800"},
            {"index":2,"codec_type":"video","codec_name":"h264","width":640,"height":360,"time_base":"1/12800"},
            {"index":3,"codec_type":"audio","codec_name":"aac","sample_rate":"48000","channels":2}],
            "chapters":[{"id":7,"time_base":"1/1000","start":0,"end":900,"tags":{"title":"One"}}],
            "format":{"format_name":"mov,mp4","start_time":"-0.021000","tags":{"title":"T"}}}"#,
            "mp4",
        )
        .unwrap();
        assert_eq!(found.source.video().stream, 2);
        assert_eq!(found.source.demuxer, "mov");
        assert_eq!(found.source.start_us, Some(-21_000));
        assert_eq!(found.streams[3].audio_params(), Some((48_000, 2)));
        assert_eq!(found.tags["title"], "T");
        assert_eq!(found.chapters[0].tags["title"], "One");
    }

    #[test]
    fn a_film_that_begins_slowly_is_no_still() {
        let first = |streams: &[u32]| FirstPackets {
            packets: streams
                .iter()
                .map(|&stream_index| PacketOf { stream_index })
                .collect(),
        };
        let still = |more: &str, packets: &[u32]| {
            let stream = serde_json::from_str(&format!(r#"{{"index":1{more}}}"#)).unwrap();
            is_still(&stream, &first(packets))
        };
        assert!(still("", &[0, 1, 0]));
        assert!(!still("", &[0, 1, 0, 1]) && !still("", &[0, 0]));
        for (told, one) in [("1", true), ("90", false)] {
            let tag = format!(r#","tags":{{"NUMBER_OF_FRAMES-eng":"{told}"}}"#);
            assert_eq!(still(&tag, &[0, 1, 0]), one);
            assert_eq!(still(&format!(r#","nb_frames":"{told}""#), &[]), one);
        }
    }

    #[test]
    fn audio_alone_is_not_a_video_and_neither_is_a_cover() {
        let text = r#"{"streams":[
            {"index":0,"codec_type":"audio","codec_name":"flac","sample_rate":"44100","channels":2},
            {"index":1,"codec_type":"video","codec_name":"png","width":9,"height":9,"time_base":"1/9","disposition":{"attached_pic":1}}],
            "format":{"format_name":"flac"}}"#;
        let error = shown(text, "mp4").unwrap_err();
        assert_eq!(error.kind(), "no-video");
        assert!(
            error.to_string().contains("audio flac, a cover picture"),
            "{error}"
        );
        assert_eq!(shown(text, "m4a").unwrap().source.video, None);
    }
}
