//! The spec as flags: what a user writes, and how it goes onto the wire.
//!
//! Only what the wire can't say is refused here (a width of 0 would mean "keep
//! the source's"). Ranges and pairs are judged by the cluster, in one place.

use std::path::Path;

use clap::Args;
use reelraft_proto::v1::{Crop, Spec};

use crate::error::CliError;

const CONTAINERS: [&str; 7] = ["mp4", "mkv", "webm", "mov", "m4a", "opus", "flac"];

/// What the output shall be; each unset option takes the cluster's default.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct SpecArgs {
    /// Picture width in pixels, an even number; alone it keeps the aspect
    #[arg(long, value_name = "PIXELS", value_parser = above_zero, allow_negative_numbers = true)]
    pub width: Option<u32>,
    /// Picture height in pixels, an even number; alone it keeps the aspect
    #[arg(long, value_name = "PIXELS", value_parser = above_zero, allow_negative_numbers = true)]
    pub height: Option<u32>,
    /// Constant frame rate: 25, 30000/1001 or 12.5 (taken exactly as written).
    /// Without it every source frame keeps its own time
    #[arg(long, value_name = "RATE", value_parser = frame_rate, allow_negative_numbers = true)]
    pub fps: Option<(u32, u32)>,
    /// Video codec [default: h264, in webm vp9]; ffv1 is lossless
    #[arg(long, value_parser = ["h264", "hevc", "vp9", "av1", "ffv1"])]
    pub codec: Option<String>,
    /// Constant quality, lower is better [default: h264 23, hevc 28, vp9 31, av1 35]
    #[arg(long, allow_negative_numbers = true)]
    pub crf: Option<u32>,
    /// Speed against size: medium, slow, … for h264 and hevc; 0 to 8 for vp9,
    /// 0 to 13 for av1
    #[arg(long)]
    pub preset: Option<String>,
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
    /// Weave fields into frames: auto does so for frames that say they are
    /// interlaced [default: off]
    #[arg(long, value_parser = ["off", "auto", "on"])]
    pub deinterlace: Option<String>,
    /// Keep only this part of the picture, even numbers, before it is scaled
    #[arg(long, value_name = "W:H:X:Y", value_parser = crop)]
    pub crop: Option<Crop>,
    /// Put the scaled picture in the middle of a black canvas, even numbers
    #[arg(long, value_name = "W:H", value_parser = pad)]
    pub pad: Option<(u32, u32)>,
    /// Take noise out [default: off]
    #[arg(long, value_parser = ["off", "light", "medium", "strong"])]
    pub denoise: Option<String>,
    /// Audio codec [default: aac, in webm and opus opus, in flac flac]; copy keeps
    /// the source's packets
    #[arg(long, value_parser = ["aac", "opus", "flac", "copy", "none"])]
    pub audio: Option<String>,
    /// Audio bits a second, such as 128k
    #[arg(long, value_name = "BITS", value_parser = bitrate, allow_negative_numbers = true)]
    pub audio_bitrate: Option<u32>,
    /// Bring each audio track to this loudness in LUFS, -70 to -5 (EBU R 128);
    /// -16 is usual on the web, -23 in broadcasting
    #[arg(long, value_name = "LUFS", value_parser = milli, allow_negative_numbers = true)]
    pub loudness: Option<i32>,
    /// Audio tracks to take, by number from 1, in this order [default: all]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub audio_tracks: Vec<u32>,
    /// Subtitles: kept, and converted where the container wants another form,
    /// or left out [default: keep]
    #[arg(long, value_parser = ["keep", "none"])]
    pub subtitles: Option<String>,
    /// Leave tags, chapters and attachments out
    #[arg(long)]
    pub strip_metadata: bool,
    /// Keep tags that tell where it was filmed, which are left out otherwise
    #[arg(long)]
    pub keep_location: bool,
    /// Refuse a source with decode errors instead of going on past them
    #[arg(long)]
    pub strict: bool,
    /// Container [default: by OUT's ending, else mp4]
    #[arg(long, value_parser = CONTAINERS)]
    pub container: Option<String>,
    /// Aimed-at length of a shard; shorter ones spread further and cost more
    #[arg(long, value_name = "SECONDS", value_parser = shard_ms, allow_negative_numbers = true)]
    pub shard_seconds: Option<u32>,
}

impl SpecArgs {
    /// The spec for the wire. `out` gives the container where none is named.
    ///
    /// # Errors
    /// [`CliError::Usage`] if `out`'s ending names no container.
    pub fn to_wire(&self, out: Option<&Path>) -> Result<Spec, CliError> {
        let container = match (&self.container, out) {
            (Some(name), _) => name.clone(),
            (None, None) => String::new(),
            (None, Some(out)) => container_of(out)?,
        };
        let (fps_num, fps_den) = self.fps.unwrap_or_default();
        let (pad_width, pad_height) = self.pad.unwrap_or_default();
        Ok(Spec {
            width: self.width.unwrap_or_default(),
            height: self.height.unwrap_or_default(),
            fps_num,
            fps_den,
            codec: self.codec.clone().unwrap_or_default(),
            crf: self.crf,
            preset: self.preset.clone().unwrap_or_default(),
            pix_fmt: self.pix_fmt.clone().unwrap_or_default(),
            brightness_milli: self.brightness,
            contrast_milli: self.contrast,
            audio: self.audio.clone().unwrap_or_default(),
            audio_bitrate: self.audio_bitrate.unwrap_or_default(),
            container,
            shard_ms: self.shard_seconds.unwrap_or_default(),
            saturation_milli: self.saturation,
            deinterlace: self.deinterlace.clone().unwrap_or_default(),
            crop: self.crop,
            pad_width,
            pad_height,
            denoise: self.denoise.clone().unwrap_or_default(),
            loudness_mlufs: self.loudness.unwrap_or_default(),
            audio_tracks: self.audio_tracks.clone(),
            subtitles: self.subtitles.clone().unwrap_or_default(),
            strip_metadata: self.strip_metadata,
            keep_location: self.keep_location,
            strict: self.strict,
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
        format!("the ending of {} names no container", out.display()),
        "end it in .mp4, .mkv, .webm, .mov, .m4a, .opus or .flac, or give --container",
    ))
}

fn above_zero(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(0) => Err("it must be above 0; leave the option out to keep the source's".into()),
        Ok(value) => Ok(value),
        Err(_) => Err("it must be a whole number above 0".into()),
    }
}

/// A decimal number as an integer and its count of decimals: "12.5" is (125, 1).
fn decimal(text: &str, decimals_max: usize) -> Result<(i64, u32), String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() > 12 || whole.is_empty() || !plain(whole) || !plain(decimals) {
        return Err("it must be a decimal number such as 12.5".into());
    }
    if decimals.len() > decimals_max {
        return Err(format!("at most {decimals_max} decimals are kept exactly"));
    }
    let value: i64 = format!("{whole}{decimals}")
        .parse()
        .map_err(|_| "it is too large".to_string())?;
    let places = u32::try_from(decimals.len()).map_err(|_| "too many decimals".to_string())?;
    Ok((if negative { -value } else { value }, places))
}

/// Thousandths of a decimal with up to three decimals.
fn milli(text: &str) -> Result<i32, String> {
    let (value, places) = decimal(text, 3)?;
    i32::try_from(value * 10_i64.pow(3 - places)).map_err(|_| "it is too large".into())
}

/// Numbers between colons.
fn numbers<const N: usize>(text: &str) -> Option<[u32; N]> {
    let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

fn crop(text: &str) -> Result<Crop, String> {
    let [width, height, x, y] =
        numbers(text).ok_or("use four numbers, W:H:X:Y, such as 1280:720:0:0")?;
    Ok(Crop {
        width,
        height,
        x,
        y,
    })
}

fn pad(text: &str) -> Result<(u32, u32), String> {
    let [width, height] = numbers(text).ok_or("use two numbers, W:H, such as 1920:1080")?;
    match (width, height) {
        (0, _) | (_, 0) => Err("both sides must be above 0".into()),
        sides => Ok(sides),
    }
}

fn shard_ms(text: &str) -> Result<u32, String> {
    match u32::try_from(milli(text)?) {
        Ok(0) | Err(_) => Err("it must be above 0".into()),
        Ok(ms) => Ok(ms),
    }
}

fn frame_rate(text: &str) -> Result<(u32, u32), String> {
    let bad = || "use a rate above 0 such as 25, 30000/1001 or 12.5".to_string();
    let (num, den) = match text.split_once('/') {
        Some((num, den)) => (
            num.parse().map_err(|_| bad())?,
            den.parse().map_err(|_| bad())?,
        ),
        None => {
            let (value, places) = decimal(text, 6).map_err(|_| bad())?;
            let num = u32::try_from(value).map_err(|_| bad())?;
            reduce(num, 10_u32.pow(places))
        }
    };
    if num == 0 || den == 0 {
        return Err(bad());
    }
    Ok((num, den))
}

fn reduce(num: u32, den: u32) -> (u32, u32) {
    let (mut a, mut b) = (num, den);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let divisor = a.max(1);
    (num / divisor, den / divisor)
}

fn bitrate(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1_000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    match digits.parse::<u32>().map(|value| value.checked_mul(factor)) {
        Ok(Some(bits)) if bits > 0 => Ok(bits),
        _ => Err("use bits a second above 0, such as 128k".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_stay_exact() {
        assert_eq!(frame_rate("25").unwrap(), (25, 1));
        assert_eq!(frame_rate("30000/1001").unwrap(), (30000, 1001));
        assert_eq!(frame_rate("23.976").unwrap(), (2997, 125));
        assert_eq!(frame_rate("12.5").unwrap(), (25, 2));
        for bad in ["0", "-25", "1/0", "ntsc", "", "25/", "1e3", "."] {
            assert!(frame_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn decimals_become_thousandths() {
        assert_eq!(milli("-0.25").unwrap(), -250);
        assert_eq!(milli("1").unwrap(), 1000);
        assert_eq!(milli("0.001").unwrap(), 1);
        assert!(milli("0.0001").is_err());
        assert!(milli("inf").is_err());
        assert_eq!(shard_ms("2.5").unwrap(), 2500);
        assert!(shard_ms("0").is_err() && shard_ms("-1").is_err());
    }

    #[test]
    fn bitrates_take_a_suffix() {
        assert_eq!(bitrate("128k").unwrap(), 128_000);
        assert_eq!(bitrate("96000").unwrap(), 96_000);
        assert!(bitrate("k").is_err() && bitrate("0").is_err() && bitrate("9999M").is_err());
    }

    #[test]
    fn areas_are_numbers_between_colons() {
        let area = crop("64:32:2:4").unwrap();
        assert_eq!((area.width, area.height, area.x, area.y), (64, 32, 2, 4));
        assert_eq!(pad("320:240").unwrap(), (320, 240));
        assert!(crop("64:32").is_err() && crop("64:32:-2:4").is_err() && pad("0:2").is_err());
    }

    #[test]
    fn the_container_follows_the_ending() {
        let spec = SpecArgs::default();
        let container = |out: &str| {
            spec.to_wire(Some(Path::new(out)))
                .map(|wire| wire.container)
        };
        assert_eq!(container("a/b.MKV").unwrap(), "mkv");
        assert_eq!(container("b.avi").unwrap_err().exit_code(), 2);
        assert_eq!(container("b").unwrap_err().exit_code(), 2);
        assert_eq!(spec.to_wire(None).unwrap().container, "");
    }
}
