//! The size and pixel format of a job's pictures, decoded and encoded.

use serde::{Deserialize, Serialize};

use crate::limits::ADDRESS_BYTES_PER_PIXEL;

/// Pictures as they come and as they go; empty in a job of sound alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// Decoded width and height, rotation applied.
    pub source: (u32, u32),
    /// Decoded pixel format.
    pub source_pix_fmt: String,
    /// Width and height after scaling.
    pub scaled: (u32, u32),
    /// Output width and height: the canvas, where one is asked for.
    pub output: (u32, u32),
    /// Output pixel format.
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
