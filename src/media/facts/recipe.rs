//! What determines the bytes of every output beyond the spec. Both values are
//! part of the encoder build, which `ffmpeg/encoders.rs` probes without knowing
//! how video is encoded.

/// The version of our own planner, argument and mux rules. It is part of the
/// encoder build, so nodes with different rules never share a job. Whatever
/// changes an output's bytes raises it.
pub const RECIPE: u32 = 11;

/// x264 chooses some of its float arithmetic by processor unless told not to, and
/// writes its header by the quality: shards of several would not be one film.
pub(crate) const X264: &str = "cpu-independent=1:stitchable=1";

/// x265 in one thread, since more would divide the picture's rows differently.
pub(crate) const X265: &str = "pools=none:frame-threads=1:info=0:log-level=error";

/// Flags of the scaler; other modes give different pixels on different
/// processors.
pub(crate) const SCALER: &str = "bicubic+accurate_rnd+bitexact";
