//! A spec as the options that would ask for it. It is taken apart field by
//! field, so that an option which is missing here does not compile.

use super::words::{crop_option, fps_fraction, milli, pad_option};
use crate::v1::{Amount, EncoderChoice, Spec};

/// The options of a spec as the command line takes them, without those that
/// change nothing.
pub fn spec_options(spec: &Spec) -> String {
    let Spec {
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
    let pad = pad_option(*pad_width, *pad_height).unwrap_or_default();
    let values = [
        ("container", container.clone()),
        ("codec", codec.clone()),
        ("crf", crf.map(|crf| crf.to_string()).unwrap_or_default()),
        ("encoder-preset", encoder_preset.clone()),
        ("pix-fmt", pix_fmt.clone()),
        ("width", above_zero(*width)),
        ("height", above_zero(*height)),
        ("fps", frame_rate(*fps_num, *fps_den)),
        ("brightness", unless_neutral(*brightness_milli, 0)),
        ("contrast", unless_neutral(*contrast_milli, 1000)),
        ("saturation", unless_neutral(*saturation_milli, 1000)),
        ("deinterlace", unless_default(deinterlace, "off")),
        ("crop", crop.as_ref().map(crop_option).unwrap_or_default()),
        ("pad", pad),
        ("denoise", unless_default(denoise, "off")),
        ("audio", audio.clone()),
        ("audio-bitrate", above_zero(*audio_bitrate)),
        ("loudness", unless_neutral(Some(*loudness_mlufs), 0)),
        ("audio-tracks", list(audio_tracks)),
        ("video-track", above_zero(*video_track)),
        ("program", above_zero(*program)),
        ("subtitles", unless_default(subtitles, "keep")),
        ("shard-seconds", seconds(*shard_ms)),
    ];
    let stripped = (*strip_metadata, *keep_location);
    let switches = switches(stripped, *strict, *ignore_dolby_vision, amount.as_ref());
    let choice = encoder_choice.iter().flat_map(choice_options);
    let amount = amount.iter().flat_map(amount_options);
    let values: Vec<(&str, String)> = values.into_iter().chain(amount).chain(choice).collect();
    joined(&values, &switches)
}

/// Those that have no value.
fn switches(
    (strip_metadata, keep_location): (bool, bool),
    strict: bool,
    ignore_dolby_vision: bool,
    amount: Option<&Amount>,
) -> [(&'static str, bool); 6] {
    [
        ("strip-metadata", strip_metadata),
        ("keep-location", keep_location),
        ("strict", strict),
        ("ignore-dolby-vision", ignore_dolby_vision),
        ("measure", amount.is_some_and(|amount| amount.measure)),
        (
            "hold-source",
            amount.is_some_and(|amount| amount.hold_source),
        ),
    ]
}

fn amount_options(amount: &Amount) -> [(&'static str, String); 5] {
    let Amount {
        size_bytes,
        bitrate,
        target,
        max_encoded_percent,
        target_percentile,
        // Switches.
        measure: _,
        hold_source: _,
    } = amount;
    [
        ("size", above_zero(*size_bytes)),
        ("bitrate", above_zero(*bitrate)),
        ("target", target.clone()),
        ("max-encoded-percent", above_zero(*max_encoded_percent)),
        ("target-percentile", above_zero(*target_percentile)),
    ]
}

fn choice_options(choice: &EncoderChoice) -> [(&'static str, String); 4] {
    let EncoderChoice {
        maxrate,
        bufsize,
        tune,
        keyint_milli,
    } = choice;
    [
        ("tune", tune.clone()),
        ("maxrate", above_zero(*maxrate)),
        ("bufsize", above_zero(*bufsize)),
        ("keyint", seconds(*keyint_milli)),
    ]
}

/// The options that are given and the switches that are on.
fn joined(values: &[(&str, String)], switches: &[(&str, bool)]) -> String {
    let given = values.iter().filter(|(_, value)| !value.is_empty());
    let given = given.map(|(name, value)| format!("--{name} {value}"));
    let on = switches.iter().filter(|(_, on)| *on);
    let options: Vec<String> = given
        .chain(on.map(|(name, _)| format!("--{name}")))
        .collect();
    options.join(" ")
}

fn above_zero(value: impl Into<u64>) -> String {
    match value.into() {
        0 => String::new(),
        value => value.to_string(),
    }
}

fn unless_neutral(value: Option<i32>, neutral: i32) -> String {
    let changed = value.filter(|&value| value != neutral);
    changed.map(|value| milli(value.into())).unwrap_or_default()
}

fn unless_default(value: &str, default: &str) -> String {
    if value == default { "" } else { value }.to_string()
}

/// A whole rate without its denominator: "25", "30000/1001".
fn frame_rate(num: u32, den: u32) -> String {
    match (num, den) {
        (0, _) => String::new(),
        (num, 1) => num.to_string(),
        (num, den) => fps_fraction(num, den).unwrap_or_default(),
    }
}

fn seconds(ms: u32) -> String {
    match ms {
        0 => String::new(),
        ms => milli(ms.into()),
    }
}

fn list(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}
