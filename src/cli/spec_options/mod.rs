//! A job's spec as command line options, and how they go onto the wire.
//!
//! Only what the wire can't express is refused here (a width of 0 would mean
//! "keep the source's"). Ranges and combinations are checked by the cluster, in
//! one place.

mod amount;
mod encoder;
mod values;

use std::path::Path;

use clap::Args;
use reelraft_proto::v1::{Crop, Spec};

pub use self::values::{bitrate, codec, size};
use self::{
    amount::AmountArgs,
    encoder::EncoderArgs,
    values::{above_zero, above_zero_ms, crop, frame_rate, milli, pad},
};
use crate::error::CliError;

/// Those for sound alone.
const SOUND_CONTAINERS: [&str; 3] = ["m4a", "opus", "flac"];

const CONTAINERS: [&str; 7] = ["mp4", "mkv", "webm", "mov", "m4a", "opus", "flac"];

/// What the output is to be; an unset option takes the cluster's default.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct SpecArgs {
    /// Picture width in pixels, an even number; alone it keeps the aspect ratio
    #[arg(long, value_name = "PIXELS", value_parser = above_zero, allow_negative_numbers = true)]
    pub width: Option<u32>,
    /// Picture height in pixels, an even number; alone it keeps the aspect ratio
    #[arg(long, value_name = "PIXELS", value_parser = above_zero, allow_negative_numbers = true)]
    pub height: Option<u32>,
    /// Constant frame rate: 25, 30000/1001 or 12.5 (taken exactly as written).
    /// Without it every source frame keeps its own timestamp
    #[arg(long, value_name = "RATE", value_parser = frame_rate, allow_negative_numbers = true)]
    pub fps: Option<(u32, u32)>,
    /// Video codec [default: h264; vp9 in webm]; ffv1 is lossless
    #[arg(long, value_parser = codec())]
    pub codec: Option<String>,
    /// Constant quality, lower is better [default: h264 23, hevc 28, vp9 31, av1 35]
    #[arg(long, allow_negative_numbers = true)]
    pub crf: Option<u32>,
    #[command(flatten)]
    pub amount: AmountArgs,
    /// Speed against file size: medium, slow, … for h264 and hevc; 0 to 8 for
    /// vp9, 0 to 13 for av1
    #[arg(long, visible_alias = "preset", value_name = "PRESET")]
    pub encoder_preset: Option<String>,
    #[command(flatten)]
    pub encoder: EncoderArgs,
    /// Pixel format by ffmpeg's name, such as yuv420p or yuv420p10le
    #[arg(long, value_name = "NAME")]
    pub pix_fmt: Option<String>,
    /// Brightness from -1 to 1, up to three decimals; 0 changes nothing
    #[arg(long, value_name = "VALUE", value_parser = milli, allow_negative_numbers = true)]
    pub brightness: Option<i32>,
    /// Contrast from 0 to 2, up to three decimals; 1 changes nothing
    #[arg(long, value_name = "VALUE", value_parser = milli, allow_negative_numbers = true)]
    pub contrast: Option<i32>,
    /// Saturation from 0 to 3, up to three decimals; 1 changes nothing
    #[arg(long, value_name = "VALUE", value_parser = milli, allow_negative_numbers = true)]
    pub saturation: Option<i32>,
    /// Deinterlace; auto: only frames marked as interlaced [default: off]
    #[arg(long, value_parser = ["off", "auto", "on"])]
    pub deinterlace: Option<String>,
    /// Keep only this part of the picture, before scaling; even numbers
    #[arg(long, value_name = "W:H:X:Y", value_parser = crop)]
    pub crop: Option<Crop>,
    /// Center the scaled picture on a black canvas of this size; even numbers
    #[arg(long, value_name = "W:H", value_parser = pad)]
    pub pad: Option<(u32, u32)>,
    /// Remove noise [default: off]
    #[arg(long, value_parser = ["off", "light", "medium", "strong"])]
    pub denoise: Option<String>,
    /// Audio codec [default: aac; opus in webm and opus, flac in flac]; copy keeps
    /// the source's packets
    #[arg(long, value_parser = ["aac", "opus", "flac", "copy", "none"])]
    pub audio: Option<String>,
    /// Audio bits per second, such as 128k
    #[arg(long, value_name = "BITS", value_parser = bitrate, allow_negative_numbers = true)]
    pub audio_bitrate: Option<u32>,
    /// Normalize each audio track to this loudness in LUFS, -70 to -5 (EBU R 128);
    /// -16 is usual on the web, -23 in broadcasting
    #[arg(long, value_name = "LUFS", value_parser = milli, allow_negative_numbers = true)]
    pub loudness: Option<i32>,
    /// Audio tracks to keep, by number from 1, in this order [default: all]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub audio_tracks: Vec<u32>,
    /// Video track to take, by number from 1 [default: the best, never a still
    /// beside a film]
    #[arg(long, value_name = "N", value_parser = above_zero, allow_negative_numbers = true)]
    pub video_track: Option<u32>,
    /// Program of a broadcast to take, by its number [default: that of the best
    /// video]
    #[arg(long, value_name = "N", value_parser = above_zero, allow_negative_numbers = true)]
    pub program: Option<u32>,
    /// Subtitles: keep them, converted where the container needs another format,
    /// or leave them out [default: keep]
    #[arg(long, value_parser = ["keep", "none"])]
    pub subtitles: Option<String>,
    /// Leave out tags, chapters and attachments
    #[arg(long)]
    pub strip_metadata: bool,
    /// Keep tags that say where it was filmed; they are left out otherwise
    #[arg(long)]
    pub keep_location: bool,
    /// Refuse a source that has decode errors, or a track that ends before its time,
    /// instead of continuing past them
    #[arg(long)]
    pub strict: bool,
    /// Take pictures as they are that only Dolby Vision gives their colors
    /// (profile 5); refused otherwise
    #[arg(long)]
    pub ignore_dolby_vision: bool,
    /// Container [default: from OUT's extension, else mp4]
    #[arg(long, value_parser = CONTAINERS)]
    pub container: Option<String>,
    /// Target length of a shard; shorter ones spread over more nodes and cost more
    /// [default: 10, less where a film begins, more where it has few frames a second]
    #[arg(long, value_name = "SECONDS", value_parser = above_zero_ms, allow_negative_numbers = true)]
    pub shard_seconds: Option<u32>,
}

impl SpecArgs {
    /// Whether an output is asked for that holds sound alone.
    pub fn is_of_sound(&self) -> bool {
        let container = self.container.as_deref();
        container.is_some_and(|name| SOUND_CONTAINERS.contains(&name))
    }

    /// The spec for the wire. Without --container, `out` determines it. Taken apart in
    /// full: an option that is not sent does not compile.
    ///
    /// # Errors
    /// [`CliError::Usage`] if `out`'s extension names no container.
    pub fn to_wire(&self, out: Option<&Path>) -> Result<Spec, CliError> {
        let SpecArgs {
            width,
            height,
            fps,
            codec,
            crf,
            amount,
            encoder_preset,
            encoder,
            pix_fmt,
            brightness,
            contrast,
            saturation,
            deinterlace,
            crop,
            pad,
            denoise,
            audio,
            audio_bitrate,
            loudness,
            audio_tracks,
            video_track,
            program,
            subtitles,
            strip_metadata,
            keep_location,
            strict,
            ignore_dolby_vision,
            container,
            shard_seconds,
        } = self.clone();
        let by_ending = || out.map_or(Ok(String::new()), container_of);
        let container = container.map_or_else(by_ending, Ok)?;
        let (fps_num, fps_den) = fps.unwrap_or_default();
        let (pad_width, pad_height) = pad.unwrap_or_default();
        Ok(Spec {
            width: width.unwrap_or_default(),
            height: height.unwrap_or_default(),
            fps_num,
            fps_den,
            codec: codec.unwrap_or_default(),
            crf,
            encoder_preset: encoder_preset.unwrap_or_default(),
            pix_fmt: pix_fmt.unwrap_or_default(),
            brightness_milli: brightness,
            contrast_milli: contrast,
            audio: audio.unwrap_or_default(),
            audio_bitrate: audio_bitrate.unwrap_or_default(),
            container,
            shard_ms: shard_seconds.unwrap_or_default(),
            saturation_milli: saturation,
            deinterlace: deinterlace.unwrap_or_default(),
            crop,
            pad_width,
            pad_height,
            denoise: denoise.unwrap_or_default(),
            loudness_mlufs: loudness.unwrap_or_default(),
            audio_tracks,
            subtitles: subtitles.unwrap_or_default(),
            strip_metadata,
            keep_location,
            strict,
            program: program.unwrap_or_default(),
            video_track: video_track.unwrap_or_default(),
            ignore_dolby_vision,
            amount: amount.to_wire(),
            encoder_choice: encoder.to_wire(),
        })
    }
}

fn container_of(out: &Path) -> Result<String, CliError> {
    let ending = out
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    if CONTAINERS.contains(&ending.as_str()) {
        return Ok(ending);
    }
    Err(CliError::usage(
        format!("the extension of {} names no container", out.display()),
        "use .mp4, .mkv, .webm, .mov, .m4a, .opus or .flac, or give --container",
    ))
}

#[cfg(test)]
mod tests;
