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

mod analysis;
mod audio;
mod error;
mod extras;
mod facts;
mod ffmpeg;
pub mod limits;
mod output;
mod video;

pub use analysis::analyze::analyze;
pub use audio::encode::encode_audio;
pub use error::{Class, MediaError};
pub use extras::take::take_extras;
pub use facts::encoded::{Encoded, Part, Parts};
pub use facts::index::Index;
pub use facts::plan::ShardRange;
pub use facts::recipe::RECIPE;
pub use ffmpeg::cancel::Cancel;
pub use ffmpeg::context::Context;
pub use ffmpeg::encoders::{EncoderCheck, check_encoders, probe_build};
pub use ffmpeg::input::Input;
pub use ffmpeg::tools::Tools;
pub use output::args::reference;
pub use output::assemble::{Assembled, assemble};
pub use video::shard::encode_shard;
