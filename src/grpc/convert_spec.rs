//! The spec on the wire. Both sides are taken apart field by field, so that an
//! option that is added and forgotten here does not compile.

use reelraft_model::spec::{Amount, Crop, EncoderChoice, Spec, SpecRequest};
use reelraft_proto::v1;

/// A spec as a client asks for it. Zero and empty mean "not given" on the wire.
pub fn spec_request(spec: v1::Spec) -> SpecRequest {
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
    SpecRequest {
        width: above_zero(width),
        height: above_zero(height),
        fps: pair(fps_num, fps_den),
        codec,
        crf,
        preset: encoder_preset,
        pix_fmt,
        brightness_milli,
        contrast_milli,
        audio,
        audio_bitrate: above_zero(audio_bitrate),
        container,
        shard_ms: above_zero(shard_ms),
        saturation_milli,
        deinterlace,
        crop: crop.map(model_crop),
        pad: pair(pad_width, pad_height),
        denoise,
        loudness_mlufs: (loudness_mlufs != 0).then_some(loudness_mlufs),
        audio_tracks,
        subtitles,
        strip_metadata,
        keep_location,
        strict,
        program: above_zero(program),
        video_track: above_zero(video_track),
        ignore_dolby_vision,
        amount: amount.map(model_amount).unwrap_or_default(),
        encoder_choice: encoder_choice.map(model_choice).unwrap_or_default(),
    }
}

fn above_zero(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

fn pair(first: u32, second: u32) -> Option<(u32, u32)> {
    (first != 0 || second != 0).then_some((first, second))
}

fn model_crop(crop: v1::Crop) -> Crop {
    let v1::Crop {
        width,
        height,
        x,
        y,
    } = crop;
    Crop {
        width,
        height,
        x,
        y,
    }
}

fn wire_crop(crop: Crop) -> v1::Crop {
    let Crop {
        width,
        height,
        x,
        y,
    } = crop;
    v1::Crop {
        width,
        height,
        x,
        y,
    }
}

fn model_amount(amount: v1::Amount) -> Amount {
    let v1::Amount {
        size_bytes,
        bitrate,
        target,
        max_encoded_percent,
        measure,
        target_percentile,
        hold_source,
    } = amount;
    Amount {
        size_bytes,
        bitrate,
        target,
        max_encoded_percent,
        measure,
        target_percentile,
        hold_source,
    }
}

fn wire_amount(amount: Amount) -> v1::Amount {
    let Amount {
        size_bytes,
        bitrate,
        target,
        max_encoded_percent,
        measure,
        target_percentile,
        hold_source,
    } = amount;
    v1::Amount {
        size_bytes,
        bitrate,
        target,
        max_encoded_percent,
        measure,
        target_percentile,
        hold_source,
    }
}

fn model_choice(choice: v1::EncoderChoice) -> EncoderChoice {
    let v1::EncoderChoice {
        maxrate,
        bufsize,
        tune,
        keyint_milli,
    } = choice;
    EncoderChoice {
        maxrate,
        bufsize,
        tune,
        keyint_milli,
    }
}

fn wire_choice(choice: EncoderChoice) -> v1::EncoderChoice {
    let EncoderChoice {
        maxrate,
        bufsize,
        tune,
        keyint_milli,
    } = choice;
    v1::EncoderChoice {
        maxrate,
        bufsize,
        tune,
        keyint_milli,
    }
}

/// Options of a closed choice, which are numbers in the table, as words.
fn words_of(spec: &Spec) -> [String; 6] {
    [
        spec.codec().name(),
        spec.audio().name(),
        spec.container().name(),
        spec.deinterlace().name(),
        spec.denoise().name(),
        spec.subtitles().name(),
    ]
    .map(str::to_string)
}

/// A resolved spec on the wire; a job's own has no rate factor of a shard.
pub fn wire_spec(spec: &Spec) -> v1::Spec {
    let [codec, audio, container, deinterlace, denoise, subtitles] = words_of(spec);
    let Spec {
        width,
        height,
        fps_num,
        fps_den,
        codec: _,
        crf,
        preset,
        pix_fmt,
        brightness_milli,
        contrast_milli,
        audio: _,
        audio_bitrate,
        container: _,
        shard_ms,
        saturation_milli,
        deinterlace: _,
        crop,
        pad_width,
        pad_height,
        denoise: _,
        loudness_mlufs,
        audio_tracks,
        subtitles: _,
        strip_metadata,
        keep_location,
        strict,
        program,
        video_track,
        ignore_dolby_vision,
        amount,
        rate_centi: _,
        encoder_choice,
    } = spec.clone();
    v1::Spec {
        width,
        height,
        fps_num,
        fps_den,
        codec,
        crf: spec.aim().is_none().then_some(crf),
        encoder_preset: preset,
        pix_fmt,
        brightness_milli: Some(brightness_milli),
        contrast_milli: Some(contrast_milli),
        audio,
        audio_bitrate,
        container,
        shard_ms,
        saturation_milli: Some(saturation_milli),
        deinterlace,
        crop: crop.map(wire_crop),
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
        amount: amount.map(wire_amount),
        encoder_choice: encoder_choice.map(wire_choice),
    }
}
