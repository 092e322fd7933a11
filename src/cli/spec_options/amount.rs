//! How much is spent on the pictures, as options.

use clap::Args;
use reelraft_proto::v1::Amount;

use super::values::{above_zero, bitrate, size};

/// What the constant quality is found by, and whether the output is measured.
#[derive(Args, Clone, Debug, Default)]
pub struct AmountArgs {
    /// The file may have so many bytes, sound and all: 700M, 1.5G (thousands). The
    /// constant quality is found for it
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub size: Option<u64>,
    /// The pictures may have so many bits a second, on average over the film: 2M, 800k
    #[arg(long, value_name = "BITS", value_parser = bitrate, allow_negative_numbers = true)]
    pub bitrate: Option<u32>,
    /// The quality to reach, on average over the film, by the smallest file that does:
    /// ssim=0.985, psnr=42, or vmaf=95 and xpsnr=40 where the nodes' ffmpeg has them
    #[arg(long, value_name = "METRIC=VALUE")]
    pub target: Option<String>,
    /// With --target: fail where the pictures would take more than so many hundredths
    /// of the source
    #[arg(long, value_name = "PERCENT", value_parser = above_zero, allow_negative_numbers = true)]
    pub max_encoded_percent: Option<u32>,
    /// With --target: a low percentile of the frames is to reach it, and not their mean:
    /// with 5 one frame in twenty may be worse
    #[arg(long, value_name = "PERCENT", value_parser = above_zero, allow_negative_numbers = true)]
    pub target_percentile: Option<u32>,
    /// Compare the output with its source, frame by frame: see `job measure`
    #[arg(long)]
    pub measure: bool,
    /// Keep the source for an hour after the end, so that `job measure` can compare the
    /// output with it
    #[arg(long)]
    pub hold_source: bool,
}

impl AmountArgs {
    /// The same for the wire; none where nothing is said.
    pub fn to_wire(&self) -> Option<Amount> {
        // Taken apart in full: an option that is not sent does not compile.
        let AmountArgs {
            size,
            bitrate,
            target,
            max_encoded_percent,
            target_percentile,
            measure,
            hold_source,
        } = self.clone();
        let amount = Amount {
            size_bytes: size.unwrap_or_default(),
            bitrate: bitrate.unwrap_or_default(),
            target: target.unwrap_or_default(),
            max_encoded_percent: max_encoded_percent.unwrap_or_default(),
            target_percentile: target_percentile.unwrap_or_default(),
            measure,
            hold_source,
        };
        Some(amount).filter(|amount| *amount != Amount::default())
    }
}
