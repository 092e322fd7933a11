//! Size and pixel format of a job's pictures, decoded and encoded.

use serde::{Deserialize, Serialize};

use crate::limits::ADDRESS_BYTES_PER_PIXEL;

/// Empty in an audio-only job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// Decoded width and height, after rotation.
    pub source: (u32, u32),
    pub source_pix_fmt: String,
    pub scaled: (u32, u32),
    /// Output width and height: those of the canvas, if there is one.
    pub output: (u32, u32),
    pub output_pix_fmt: String,
}

impl Picture {
    /// Address space in bytes, beyond the base, that a child needs for the
    /// larger of the two pictures.
    pub fn address_bytes(&self) -> u64 {
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        pixels(self.source).max(pixels(self.output)) * ADDRESS_BYTES_PER_PIXEL
    }
}
