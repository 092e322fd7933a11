//! ffmpeg behind one door: analysis, plan, shards, audio, assembly, proof.
//!
//! A job passes through here as
//!
//! ```text
//! analyze -> Index -+-> encode_shard (each range) -+-> assemble -> output, proof
//!                   +-> encode_audio (each track) -+
//!                   +-> take_extras (once) --------+
//! ```
//!
//! and each step is a pure function of the source's bytes, the resolved spec
//! and the encoder build (P1). Times are integers in rational time bases. Only
//! `ffmpeg/process.rs` starts children; argument lists are pure functions.
//!
//! # Map
//!
//! Each room imports only rooms to its left, and no two files import each
//! other. `error.rs` and `limits.rs` lie below all rooms.
//!
//! ```text
//! facts <- ffmpeg <- video, audio, extras <- analysis, output
//! ```
//!
//! - `facts`: the types that pass between steps and are stored.
//! - `ffmpeg`: runs the tools and parses what they print.
//! - `video`, `audio`, `extras`: arguments and checks of each kind of stream.
//! - `analysis`: finds out what a source is and plans its shards.
//! - `output`: joins, muxes and proves.
//! - `trial.rs`: all of it once, over a small clip. `benchmark.rs`: how fast it goes.
//! - `door.rs`: what other crates call.
//!
//! Two things lie lower than one might look for them. `RECIPE` and the scaler's
//! flags are in `facts`, because the probe of the encoder build in `ffmpeg`
//! hashes both and must not know how video is encoded. Listeners that serve one
//! step stay with that step; only general ones are in `ffmpeg`.
//!
//! Not here: where bytes come from and go to (an [`Input`] is a file or a
//! loopback server, a result is a file in the work folder), who runs which
//! step, and when. No gRPC, no Raft.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod analysis;
mod audio;
mod benchmark;
mod door;
mod error;
mod extras;
mod facts;
mod ffmpeg;
pub mod limits;
mod output;
#[cfg(test)]
mod spec_use;
mod trial;
mod video;

pub use analysis::early::{EarlyShards, EarlySink};
pub use door::*;
pub use error::{Class, MediaError};
pub use facts::complaints::Complaints;
pub use facts::encoded::{Encoded, MadeByEngine, Part, Parts};
pub use facts::index::Index;
pub use facts::plan::ShardRange;
pub use facts::recipe::RECIPE;
pub use ffmpeg::cancel::Cancel;
pub use ffmpeg::context::Context;
pub use ffmpeg::elsewhere::{Elsewhere, FromElsewhere, INPUT_PLACE, RunElsewhere, Said};
pub use ffmpeg::encoders::{Build, EncoderCheck, Lack};
pub use ffmpeg::given::Given;
pub use ffmpeg::input::{BytesServed, Input};
pub use ffmpeg::sandbox_check::SandboxCheck;
pub use ffmpeg::tools::Tools;
pub use output::args::reference;
pub use output::assemble::Assembled;
pub use output::join::Joining;
pub use output::measure::{FilmPart, PartMeasured, shards_of_proof};
pub use output::preview::PreviewParts;
pub use trial::{Lacks, TRIAL, Trial};
pub use video::seam::likeness;
