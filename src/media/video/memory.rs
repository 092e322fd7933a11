//! What the encoding of a shard takes: of a machine's memory, by a formula over what was
//! measured, and of its source and its disk at most.
//!
//! Resident memory of one ffmpeg that decodes H.264 and encodes it again with the
//! arguments of a shard, in MiB, at its highest; 8 bit, ffmpeg 5.1 with x264 164,
//! x265 3.5, libvpx 1.12 and SVT-AV1 1.4:
//!
//! ```text
//!                    640x360  1280x720  1920x1080  a million pixels
//! x264 ultrafast          63        85        116                32
//! x264 medium            108       233        430               181
//! x264 veryslow          155       417                          379
//! x265 ultrafast         103       178                          109
//! x265 medium            131       260                          187
//! x265 slow              139       280                          204
//! libvpx-vp9             111       206                          137
//! SVT-AV1 12             128       215                          126
//! SVT-AV1 8              142       242                          145
//! SVT-AV1 5              177       284                          155
//! ffv1                    91       202                          161
//! ```
//! They grow with the size of the pictures, and so are taken to do so beyond. A node
//! counts on a little more than was measured, as presets between these and other
//! films differ.

use reelraft_model::spec::{Codec, Spec};

use crate::{
    facts::{index::Index, plan::ShardRange},
    limits::{
        FILE_BYTES_MAX, SOURCE_SHARE_BYTES_MIN, SOURCE_SHARE_TIMES, SOURCE_TABLE_BYTES_A_FRAME,
    },
    video::{filters::decoded_range, seam::Given},
};

/// Bytes of a pixel before it is encoded: three samples of 16 bit.
const PIXEL_BYTES_MAX: u64 = 6;

/// Frames behind a shard that an encoder may have written as well.
const LOOK_AHEAD_FRAMES: u64 = 600;

/// What a file has besides its pictures.
const HEADERS_BYTES_MAX: u64 = 16 << 20;

/// What an encoding takes that is independent of its pictures, in MiB.
const BASE_MIB: u64 = 130;

/// The pictures that a decoder keeps, and those on their way to the encoder, in MiB a
/// million pixels.
const SOURCE_MIB: u64 = 30;

impl Index {
    /// What the encoding of one of its shards takes at most, in MiB.
    pub fn shard_memory_mib(&self, spec: &Spec) -> u32 {
        let picture = &self.facts.picture;
        let pixels = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let source = pixels(picture.source) * SOURCE_MIB * samples(&picture.source_pix_fmt);
        let output = pixels(picture.output) * encoder_mib(spec) * samples(&picture.output_pix_fmt);
        let both = (source + output) / 1_000_000;
        u32::try_from(BASE_MIB + both).unwrap_or(u32::MAX)
    }

    /// Bytes of the source that another machine may read for a shard: those of the frames
    /// that it decodes from its first two starts, if all frames of the film were as large,
    /// several times, its tables, and what every reader takes. Where in a file the packets
    /// of a shard lie only its container says, so that a few need more: members make those.
    pub fn source_bytes_max(&self, spec: &Spec, range: ShardRange) -> u64 {
        let given = Given::of(spec, self, range);
        let needed = decoded_range(spec, self, given.range);
        let starts = self.starts(needed).into_iter().take(2).flatten();
        let from = starts.min().map_or(0, |start| self.place_of(start));
        let frames = self.place_of(needed.to_pts).saturating_sub(from);
        let total = self.times.len().max(1);
        let bytes = u128::from(self.facts.source_bytes) * frames as u128 / total as u128;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        bytes
            .saturating_mul(SOURCE_SHARE_TIMES)
            .saturating_add(SOURCE_TABLE_BYTES_A_FRAME.saturating_mul(total as u64))
            .saturating_add(SOURCE_SHARE_BYTES_MIN)
    }

    /// More bytes than an encoding of so many frames ever has: what they take before
    /// they are encoded, those that are looked ahead at included.
    pub fn encoded_bytes_max(&self, frames: u64) -> u64 {
        let (width, height) = self.facts.picture.output;
        let picture = u64::from(width) * u64::from(height) * PIXEL_BYTES_MAX;
        let frames = frames.saturating_mul(2).saturating_add(LOOK_AHEAD_FRAMES);
        let pictures = picture.saturating_mul(frames);
        pictures
            .saturating_add(HEADERS_BYTES_MAX)
            .min(FILE_BYTES_MAX)
    }
}

/// What an encoder keeps of its pictures, in MiB a million pixels of 8 bit.
fn encoder_mib(spec: &Spec) -> u64 {
    match (spec.codec(), spec.preset.as_str()) {
        (Codec::None, _) => 0,
        (Codec::H264, "ultrafast" | "superfast") => 40,
        (Codec::H264, "slow" | "slower" | "veryslow" | "placebo") => 400,
        (Codec::H264, _) => 200,
        (Codec::Hevc, "slower" | "veryslow" | "placebo") => 400,
        (Codec::Hevc, _) => 220,
        (Codec::Vp9 | Codec::Av1 | Codec::Ffv1, _) => 180,
    }
}

/// How much larger a picture is than one of 8 bit at 4:2:0, at most.
fn samples(pix_fmt: &str) -> u64 {
    let deep = ["10", "12", "14", "16"]
        .iter()
        .any(|bits| pix_fmt.contains(bits));
    let dense = !pix_fmt.contains("420") && !pix_fmt.starts_with("gray") && pix_fmt != "nv12";
    (1 + u64::from(deep)) * (1 + u64::from(dense))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::facts::index::tests::sample;
    use reelraft_model::spec::{SpecRequest, resolve};

    #[test]
    fn an_engine_reads_what_its_shard_takes_and_not_the_film() {
        let spec = resolve(&SpecRequest::default()).unwrap();
        let mut index = sample();
        index.facts.source_bytes = 1 << 30;
        // Fifty of the hundred frames, from the keyframe before the first one on.
        let last = index.shards()[1];
        let bytes = index.source_bytes_max(&spec, last);
        assert_eq!(bytes, (3 << 29) + 100 * 64 + (32 << 20));
        // Of a long film that is a small part.
        index.times = (0..100_000).collect();
        assert!(index.source_bytes_max(&spec, last) < 64 << 20);
    }

    #[test]
    fn large_deep_pictures_take_much_and_small_ones_little() {
        let mib = |codec: &str, size: (u32, u32), pix_fmt: &str| {
            let spec = resolve(&SpecRequest {
                codec: codec.into(),
                ..Default::default()
            });
            let mut index = sample();
            let picture = &mut index.facts.picture;
            (picture.source, picture.output) = (size, size);
            picture.source_pix_fmt = pix_fmt.into();
            picture.output_pix_fmt = pix_fmt.into();
            index.shard_memory_mib(&spec.unwrap())
        };
        // No less than was measured.
        assert!((108..216).contains(&mib("h264", (640, 360), "yuv420p")));
        assert!((430..860).contains(&mib("h264", (1920, 1080), "yuv420p")));
        assert!((242..484).contains(&mib("av1", (1280, 720), "yuv420p")));
        assert!(mib("av1", (3840, 2160), "yuv420p10le") > 3_000);
    }
}
