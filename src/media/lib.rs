//! ffmpeg behind one door: analysis, plan, shards, audio, assembly, proof.
//!
//! A job passes through here as
//!
//! ```text
//! analyze -> Index -> encode_shard (each range) -+-> assemble -> output, proof
//!                \--> encode_audio (once) -------/
//! ```
//!
//! and each step is a pure function of the source's bytes, the resolved spec
//! and the encoder build (P1). Times are integers in rational time bases. Only
//! `process.rs` starts children; argument lists are pure functions.
//!
//! Not here: where bytes come from and go to (an [`Input`] is a file or a
//! loopback server, a result is a file in the work folder), who runs which
//! step, and when. No gRPC, no Raft.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod analyze;
mod args;
mod assemble;
mod audio;
mod boxes;
mod cancel;
mod colour;
mod covers;
mod encode_args;
mod encoders;
mod error;
mod extras;
mod filters;
mod grid;
mod index;
mod labels;
pub mod limits;
mod listen;
mod loudness;
mod mux_args;
mod packets;
mod plan;
mod probe;
mod process;
mod proof;
mod rate_header;
mod record;
mod report;
mod shard;
mod sound;
mod sound_args;
mod tags;
mod times;
mod tools;
mod watch;

use std::path::Path;

use reelraft_model::spec::Spec;

pub use analyze::analyze;
pub use args::Input;
pub use assemble::{Assembled, Part, Parts, assemble};
pub use audio::encode_audio;
pub use cancel::Cancel;
pub use encode_args::RECIPE;
pub use encoders::{EncoderCheck, check_encoders, probe_build};
pub use error::{Class, MediaError};
pub use extras::take_extras;
pub use index::Index;
pub use mux_args::reference;
pub use plan::ShardRange;
pub use shard::{Encoded, encode_shard};
pub use tools::Tools;

/// What every step works with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The programs.
    pub tools: &'a Tools,
    /// The source.
    pub input: &'a Input,
    /// The resolved spec.
    pub spec: &'a Spec,
    /// A folder of this step alone, existing and empty; results are written
    /// into it. It must be absolute.
    pub work_dir: &'a Path,
    /// Ends the step at once.
    pub cancel: &'a Cancel,
}
