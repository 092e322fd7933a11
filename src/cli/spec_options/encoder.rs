//! What an encoder is told beside its quality and preset, as options.

use clap::Args;
use reelraft_proto::v1::EncoderChoice;

use super::values::{above_zero_ms, bitrate};

/// What an encoder is told beside its quality and preset; an unset option is left
/// to it.
#[derive(Args, Clone, Debug, Default)]
pub struct EncoderArgs {
    /// What the encoder is tuned for: film, animation, grain, stillimage, fastdecode,
    /// psnr or ssim for h264; all of these but film and stillimage for hevc; film or
    /// screen for vp9; vq or psnr for av1 [default: nothing special]
    #[arg(long)]
    pub tune: Option<String>,
    /// A keyframe every so many seconds, for players that jump and streams that are
    /// cut into segments [default: where the encoder wants them]
    #[arg(long, value_name = "SECONDS", value_parser = above_zero_ms, allow_negative_numbers = true)]
    pub keyint: Option<u32>,
    /// Highest rate of the pictures in bits per second, such as 4M, averaged over
    /// --bufsize; --crf holds below it [default: none]
    #[arg(long, value_name = "BITS", value_parser = bitrate, allow_negative_numbers = true)]
    pub maxrate: Option<u32>,
    /// What a player buffers to play at --maxrate, in bits [default: two seconds of it]
    #[arg(long, value_name = "BITS", value_parser = bitrate, allow_negative_numbers = true)]
    pub bufsize: Option<u32>,
}

impl EncoderArgs {
    /// The same for the wire; none where nothing is told.
    pub fn to_wire(&self) -> Option<EncoderChoice> {
        // Taken apart in full: an option that is not sent does not compile.
        let EncoderArgs {
            maxrate,
            bufsize,
            tune,
            keyint,
        } = self.clone();
        let choice = EncoderChoice {
            maxrate: maxrate.unwrap_or_default(),
            bufsize: bufsize.unwrap_or_default(),
            tune: tune.unwrap_or_default(),
            keyint_milli: keyint.unwrap_or_default(),
        };
        Some(choice).filter(|choice| *choice != EncoderChoice::default())
    }
}
