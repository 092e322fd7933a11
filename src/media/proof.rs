//! The proof that goes with every output (P3): JSON without clocks and names
//! of nodes, so that all homes write the same bytes.

use reelraft_model::spec::Spec;
use serde::Serialize;

use crate::{
    encode_args::{RECIPE, fps},
    index::Index,
    mux_args::{output_file, reference},
    report::{ShardReport, SoundReport},
    times::Ratio,
};

/// What the assembly found to be true.
pub(crate) struct Facts<'a> {
    pub index: &'a Index,
    pub spec: &'a Spec,
    pub single: bool,
    pub base: Ratio,
    pub reports: &'a [ShardReport],
    pub times: &'a [i64],
    pub muxed: u64,
    pub sound: Option<&'a SoundReport>,
    pub output_blake3: String,
}

#[derive(Serialize)]
struct Proof<'a> {
    proof_version: u32,
    recipe: u32,
    reference: Vec<String>,
    source_bytes: u64,
    output_blake3: &'a str,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<Audio<'a>>,
    checks: Vec<Check>,
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
    complaints_total: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    complaints: &'a [String],
}

#[derive(Serialize)]
struct Audio<'a> {
    packets: u64,
    blake3: &'a str,
    complaints_total: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    complaints: &'a [String],
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    holds: bool,
}

/// Every check that the assembly makes; one that does not hold ends it with
/// an error, so all hold in a proof that is written.
const CHECKS: [&str; 9] = [
    "no-gap-no-overlap",
    "shard-hash",
    "one-codec-header",
    "encoded-equals-decoded",
    "times-equal-decoded",
    "times-strictly-rise",
    "decode-times-rise",
    "muxed-equals-encoded",
    "muxed-times-equal-decoded",
];

const AUDIO_CHECKS: [&str; 2] = ["audio-hash", "audio-muxed-equals-encoded"];

pub(crate) fn write(facts: &Facts<'_>) -> Vec<u8> {
    let heads = || facts.reports.iter().map(|report| &report.head);
    let (width, height) = facts.index.output_size();
    let decoded = heads().map(|head| head.decoded).sum();
    let filtered = facts.times.len() as u64;
    let mut names: Vec<&'static str> = CHECKS.to_vec();
    if facts.sound.is_some() {
        names.extend(AUDIO_CHECKS);
    }
    if fps(facts.spec).is_none() {
        names.push("filtered-equals-decoded");
    }
    let proof = Proof {
        proof_version: 1,
        recipe: RECIPE,
        reference: reference(facts.index, facts.spec, "SOURCE", output_file(facts.spec)),
        source_bytes: facts.index.head.source_bytes,
        output_blake3: &facts.output_blake3,
        picture: format!("{width}x{height}"),
        pix_fmt: &facts.index.head.picture.output_pix_fmt,
        single: facts.single || facts.reports.len() == 1,
        plan_note: facts.index.plan_note(),
        frames: Frames {
            promised: facts.index.frames_total(),
            decoded,
            filtered,
            encoded: heads().map(|head| head.encoded).sum(),
            muxed: facts.muxed,
        },
        time_base: format!("{}/{}", facts.base.num, facts.base.den),
        first_pts: facts.times.first().copied().unwrap_or(0),
        last_pts: facts.times.last().copied().unwrap_or(0),
        complaints_total: heads().map(|head| head.complaints_total).sum(),
        shards: heads()
            .map(|head| Shard {
                from_pts: head.range.from_pts,
                to_pts: head.range.to_pts,
                frames: head.encoded,
                lead_in: head.lead_in,
                tries: head.tries,
                blake3: &head.blake3,
                complaints_total: head.complaints_total,
                complaints: &head.complaints,
            })
            .collect(),
        audio: facts.sound.map(|sound| Audio {
            packets: sound.packets,
            blake3: &sound.blake3,
            complaints_total: sound.complaints_total,
            complaints: &sound.complaints,
        }),
        checks: names
            .into_iter()
            .map(|name| Check { name, holds: true })
            .collect(),
    };
    let mut bytes =
        serde_json::to_vec_pretty(&proof).expect("the proof is plain structs of numbers and text");
    bytes.push(b'\n');
    bytes
}
