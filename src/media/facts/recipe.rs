//! What pins the bytes of every output beyond single options. Both values are
//! part of the encoder build, which `ffmpeg/encoders.rs` probes without knowing
//! how video is encoded.

/// The number of our own planner, argument and mux rules. It is part of the
/// encoder build, so that nodes with other rules never share a job.
pub const RECIPE: u32 = 3;

/// The scaler's other modes give other pixels on other processors.
pub(crate) const SCALER: &str = "bicubic+accurate_rnd+bitexact";
