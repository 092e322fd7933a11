//! The proof of an output (P3): JSON without clocks or node names, so that all
//! homes write the same bytes. Engines are named: they are not trusted as nodes are.

use std::collections::BTreeMap;

use reelraft_model::spec::Spec;
use serde::Serialize;
use serde_json::Value;

use crate::{
    facts::{
        containers::output_file,
        encoded::MadeByEngine,
        index::Index,
        measured::MeasuredShard,
        recipe::RECIPE,
        report::{AudioReport, ExtrasReport},
        times::{MICROSECONDS, rescale},
    },
    output::{
        args::reference,
        checks::{HAS_HEADER, IN_SYNC, ONE_CLOCK},
        covers,
        join::JoinedVideo,
    },
    video::timing::fps,
};

/// What the assembly found out.
pub(crate) struct ProofInput<'a> {
    pub index: &'a Index,
    pub spec: &'a Spec,
    pub single: bool,
    /// `None` in an audio-only job.
    pub video: Option<&'a JoinedVideo>,
    /// By shard.
    pub engines: &'a BTreeMap<u32, MadeByEngine>,
    /// Frames found in the output.
    pub muxed_frames: u64,
    pub audio: &'a [AudioReport],
    /// Of the step that took the extras.
    pub extras: &'a ExtrasReport,
    /// What the encoding showed, beside what the analysis noted.
    pub notes: &'a [String],
    pub output_blake3: &'a str,
    /// What ffprobe says of the output.
    pub description: Option<&'a Value>,
}

#[derive(Serialize)]
struct Proof<'a> {
    proof_version: u32,
    recipe: u32,
    reference: Vec<String>,
    source_bytes: u64,
    output_blake3: &'a str,
    #[serde(flatten)]
    pictures: Option<Pictures<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audio: Vec<Audio<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extras: Vec<Taken<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    extras_complaints: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    measured: Vec<MeasuredShard<'a>>,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a Value>,
}

#[derive(Serialize)]
struct Pictures<'a> {
    picture: String,
    pix_fmt: &'a str,
    single: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_note: Option<&'a str>,
    frames: Frames,
    time_base: String,
    first_pts: i64,
    last_pts: i64,
    complaints_total: u64,
    shards: Vec<Shard<'a>>,
}

#[derive(Serialize)]
struct Frames {
    promised: u64,
    decoded: u64,
    filtered: u64,
    encoded: u64,
    muxed: u64,
}

#[derive(Serialize)]
struct Shard<'a> {
    from_pts: i64,
    to_pts: i64,
    frames: u64,
    lead_in: u64,
    tries: u32,
    blake3: &'a str,
    /// Whoever is not named here is a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<&'a MadeByEngine>,
    complaints_total: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    complaints: &'a [String],
}

#[derive(Serialize)]
struct Audio<'a> {
    /// Index of the stream in the source.
    stream: u32,
    packets: u64,
    blake3: &'a str,
    complaints_total: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    complaints: &'a [String],
}

#[derive(Serialize)]
struct Taken<'a> {
    /// Index of the stream in the source.
    stream: u32,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cues: Option<u64>,
    encoder: &'a str,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    holds: bool,
}

/// The checks of every assembly with video. A check that fails ends the
/// assembly with an error, so all hold in a written proof.
const CHECKS: [&str; 10] = [
    "no-gap-no-overlap",
    "joints-decoded-alike",
    "shard-hash",
    "one-codec-header",
    "encoded-equals-decoded",
    "times-equal-decoded",
    "times-strictly-rise",
    "decode-times-rise",
    "muxed-equals-encoded",
    "muxed-times-equal-decoded",
];

const EXTRAS_CHECKS: [&str; 3] = [
    "extras-hash",
    "subtitles-muxed-equal-taken",
    covers::KEPT_CHECK,
];

const AUDIO_CHECKS: [&str; 3] = ["audio-hash", "audio-muxed-equals-encoded", HAS_HEADER];

pub(crate) fn write(input: &ProofInput<'_>) -> Vec<u8> {
    let facts = &input.index.facts;
    let mut names: Vec<&'static str> = Vec::new();
    if input.video.is_some() {
        names.extend(CHECKS);
        if fps(input.spec).is_none() {
            names.push("filtered-equals-decoded");
        }
    }
    if !input.audio.is_empty() {
        names.extend(AUDIO_CHECKS);
    }
    if input.video.is_some() && !input.audio.is_empty() {
        names.push(IN_SYNC);
    }
    let beside = !input.audio.is_empty() || input.index.has_extras();
    if input.video.is_some() && beside && facts.source.discontinuous {
        names.push(ONE_CLOCK);
    }
    if input.index.has_extras() {
        names.extend(EXTRAS_CHECKS);
    }
    let proof = Proof {
        proof_version: 2,
        recipe: RECIPE,
        reference: reference(
            input.index,
            input.spec,
            input.single,
            "SOURCE",
            output_file(input.spec),
        ),
        source_bytes: facts.source_bytes,
        output_blake3: input.output_blake3,
        pictures: input.video.map(|video| pictures(input, video)),
        audio: facts
            .audio_tracks
            .iter()
            .zip(input.audio)
            .map(|(track, report)| Audio {
                stream: track.stream,
                packets: report.packets,
                blake3: &report.blake3,
                complaints_total: report.complaints_total,
                complaints: &report.complaints,
            })
            .collect(),
        extras: extras(input),
        extras_complaints: &input.extras.complaints,
        left_out: facts
            .notes
            .iter()
            .chain(input.notes)
            .map(String::as_str)
            .collect(),
        measured: input.video.map_or_else(Vec::new, measured),
        checks: names
            .into_iter()
            .map(|name| Check { name, holds: true })
            .collect(),
        description: input.description,
    };
    let mut bytes =
        serde_json::to_vec_pretty(&proof).expect("the proof is plain structs of numbers and text");
    bytes.push(b'\n');
    bytes
}

/// What was measured, with the shards' places in the output.
fn measured(video: &JoinedVideo) -> Vec<MeasuredShard<'_>> {
    let us = |time: Option<&i64>| rescale(time.copied().unwrap_or(0), video.base, MICROSECONDS);
    let origin = us(video.times.first());
    let begins = video.reports.iter().map(|report| us(report.times.first()));
    let begins: Vec<i64> = begins.collect();
    let end = us(video.times.last());
    let numbered = video.reports.iter().enumerate();
    let found = numbered.filter_map(|(shard, report)| {
        Some(MeasuredShard {
            shard,
            from_us: begins[shard] - origin,
            to_us: begins.get(shard + 1).copied().unwrap_or(end) - origin,
            measured: report.head.measured.as_ref()?,
        })
    });
    found.collect()
}

fn extras<'a>(input: &ProofInput<'a>) -> Vec<Taken<'a>> {
    // Subtitles come first, each with its cues.
    let mut cues = input.extras.cues.iter().copied();
    let extras = input.index.facts.extras.iter();
    extras
        .map(|extra| Taken {
            stream: extra.stream,
            kind: extra.kind.name(),
            cues: cues.next(),
            encoder: &extra.encoder,
        })
        .collect()
}

fn pictures<'a>(input: &ProofInput<'a>, video: &'a JoinedVideo) -> Pictures<'a> {
    let heads = || video.reports.iter().map(|report| &report.head);
    let (width, height) = input.index.output_size();
    Pictures {
        picture: format!("{width}x{height}"),
        pix_fmt: &input.index.facts.picture.output_pix_fmt,
        single: input.single || video.reports.len() == 1,
        plan_note: input.index.plan_note(),
        frames: Frames {
            promised: input.index.frames_total(),
            decoded: heads().map(|head| head.decoded).sum(),
            filtered: video.times.len() as u64,
            encoded: heads().map(|head| head.encoded).sum(),
            muxed: input.muxed_frames,
        },
        time_base: format!("{}/{}", video.base.num, video.base.den),
        first_pts: video.times.first().copied().unwrap_or(0),
        last_pts: video.times.last().copied().unwrap_or(0),
        complaints_total: heads().map(|head| head.complaints_total).sum(),
        shards: (0..)
            .zip(heads())
            .map(|(number, head)| Shard {
                from_pts: head.range.from_pts,
                to_pts: head.range.to_pts,
                frames: head.encoded,
                lead_in: head.lead_in,
                tries: head.tries,
                blake3: &head.blake3,
                engine: input.engines.get(&number),
                complaints_total: head.complaints_total,
                complaints: &head.complaints,
            })
            .collect(),
    }
}
