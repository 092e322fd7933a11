//! A spec as a document. It is taken apart field by field, so that an option
//! which is missing here does not compile.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    field::{above_zero, text},
    words::{crop_option, fps_fraction, pad_option},
};
use crate::v1;

/// The spec as stored; `null` keeps the source's.
#[derive(Default, Serialize, ToSchema)]
pub struct Spec<'a> {
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<String>,
    pub codec: Option<&'a str>,
    pub crf: Option<u32>,
    pub encoder_preset: Option<&'a str>,
    pub pix_fmt: Option<&'a str>,
    pub brightness_milli: Option<i32>,
    pub contrast_milli: Option<i32>,
    pub audio: Option<&'a str>,
    pub audio_bitrate: Option<u32>,
    pub container: Option<&'a str>,
    pub shard_ms: Option<u32>,
    pub saturation_milli: Option<i32>,
    pub deinterlace: Option<&'a str>,
    pub crop: Option<String>,
    pub pad: Option<String>,
    pub denoise: Option<&'a str>,
    pub loudness_mlufs: Option<i32>,
    pub audio_tracks: &'a [u32],
    pub subtitles: Option<&'a str>,
    pub strip_metadata: bool,
    pub keep_location: bool,
    pub strict: bool,
    pub program: Option<u32>,
    pub video_track: Option<u32>,
    pub ignore_dolby_vision: bool,
    /// Bytes that the whole file may have.
    pub size: Option<u64>,
    /// Bits a second that the pictures may have.
    pub bitrate: Option<u32>,
    pub target: Option<&'a str>,
    pub max_encoded_percent: Option<u32>,
    pub target_percentile: Option<u32>,
    pub measure: bool,
    pub hold_source: bool,
    pub maxrate: Option<u32>,
    pub bufsize: Option<u32>,
    pub tune: Option<&'a str>,
    pub keyint_milli: Option<u32>,
}

impl<'a> From<&'a v1::Spec> for Spec<'a> {
    fn from(spec: &'a v1::Spec) -> Self {
        let v1::Spec {
            width,
            height,
            fps_num,
            fps_den,
            codec,
            crf,
            encoder_preset,
            pix_fmt,
            brightness_milli,
            contrast_milli,
            audio,
            audio_bitrate,
            container,
            shard_ms,
            saturation_milli,
            deinterlace,
            crop,
            pad_width,
            pad_height,
            denoise,
            loudness_mlufs,
            audio_tracks,
            subtitles,
            strip_metadata,
            keep_location,
            strict,
            program,
            video_track,
            ignore_dolby_vision,
            amount,
            encoder_choice,
        } = spec;
        Spec {
            width: above_zero(*width),
            height: above_zero(*height),
            fps: fps_fraction(*fps_num, *fps_den),
            codec: text(codec),
            crf: *crf,
            encoder_preset: text(encoder_preset),
            pix_fmt: text(pix_fmt),
            brightness_milli: *brightness_milli,
            contrast_milli: *contrast_milli,
            audio: text(audio),
            audio_bitrate: above_zero(*audio_bitrate),
            container: text(container),
            shard_ms: above_zero(*shard_ms),
            saturation_milli: *saturation_milli,
            deinterlace: text(deinterlace),
            crop: crop.as_ref().map(crop_option),
            pad: pad_option(*pad_width, *pad_height),
            denoise: text(denoise),
            loudness_mlufs: above_zero(*loudness_mlufs),
            audio_tracks,
            subtitles: text(subtitles),
            strip_metadata: *strip_metadata,
            keep_location: *keep_location,
            strict: *strict,
            program: above_zero(*program),
            video_track: above_zero(*video_track),
            ignore_dolby_vision: *ignore_dolby_vision,
            ..directed(encoder_choice.as_ref(), amount.as_ref())
        }
    }
}

/// What an encoder is told, and how much it may spend.
fn directed<'a>(choice: Option<&'a v1::EncoderChoice>, amount: Option<&'a v1::Amount>) -> Spec<'a> {
    Spec {
        size: amount.and_then(|amount| above_zero(amount.size_bytes)),
        bitrate: amount.and_then(|amount| above_zero(amount.bitrate)),
        target: amount.and_then(|amount| text(&amount.target)),
        max_encoded_percent: amount.and_then(|amount| above_zero(amount.max_encoded_percent)),
        target_percentile: amount.and_then(|amount| above_zero(amount.target_percentile)),
        measure: amount.is_some_and(|amount| amount.measure),
        hold_source: amount.is_some_and(|amount| amount.hold_source),
        maxrate: choice.and_then(|choice| above_zero(choice.maxrate)),
        bufsize: choice.and_then(|choice| above_zero(choice.bufsize)),
        tune: choice.and_then(|choice| text(&choice.tune)),
        keyint_milli: choice.and_then(|choice| above_zero(choice.keyint_milli)),
        ..Default::default()
    }
}
