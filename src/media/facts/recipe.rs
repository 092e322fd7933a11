//! What determines the bytes of every output beyond the spec. Both values are
//! part of the encoder build, which `ffmpeg/encoders.rs` probes without knowing
//! how video is encoded.

/// The version of our own planner, argument and mux rules. It is part of the
/// encoder build, so nodes with different rules never share a job. Whatever
/// changes an output's bytes raises it.
pub const RECIPE: u32 = 3;

/// Flags of the scaler; other modes give different pixels on different
/// processors.
pub(crate) const SCALER: &str = "bicubic+accurate_rnd+bitexact";
