//! Every option of a spec, on its way from the command line to the wire and
//! back to the user.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, path::Path};

use clap::{Args, FromArgMatches};
use reelraft_proto::{documents, v1};

use super::*;
use crate::render::{json, table};

/// One value for each option, none of which is a default.
const SAMPLES: [(&str, Option<&str>); 38] = [
    ("width", Some("640")),
    ("height", Some("360")),
    ("fps", Some("30000/1001")),
    ("codec", Some("hevc")),
    ("crf", Some("0")),
    ("size", Some("700000000")),
    ("bitrate", Some("2000000")),
    ("target", Some("ssim=0.985")),
    ("max-encoded-percent", Some("80")),
    ("target-percentile", Some("5")),
    ("measure", None),
    ("hold-source", None),
    ("maxrate", Some("4000000")),
    ("bufsize", Some("6000000")),
    ("encoder-preset", Some("slow")),
    ("tune", Some("film")),
    ("keyint", Some("2.5")),
    ("pix-fmt", Some("yuv420p10le")),
    ("brightness", Some("-0.25")),
    ("contrast", Some("1.5")),
    ("saturation", Some("0")),
    ("deinterlace", Some("auto")),
    ("crop", Some("64:32:2:4")),
    ("pad", Some("320:240")),
    ("denoise", Some("light")),
    ("audio", Some("opus")),
    ("audio-bitrate", Some("96000")),
    ("loudness", Some("-16")),
    ("audio-tracks", Some("2,1")),
    ("video-track", Some("2")),
    ("program", Some("7")),
    ("subtitles", Some("none")),
    ("strip-metadata", None),
    ("keep-location", None),
    ("strict", None),
    ("ignore-dolby-vision", None),
    ("container", Some("mkv")),
    ("shard-seconds", Some("2.5")),
];

fn command() -> clap::Command {
    SpecArgs::augment_args(clap::Command::new("test"))
}

fn parsed(line: &[&str]) -> v1::Spec {
    let matches = command().try_get_matches_from(line).unwrap();
    let args = SpecArgs::from_arg_matches(&matches).unwrap();
    args.to_wire(None).unwrap()
}

/// How `job show` prints a job of this spec, as JSON and as a table.
fn shown(spec: v1::Spec) -> (serde_json::Value, String) {
    let job = v1::Job {
        spec: Some(spec),
        ..Default::default()
    };
    let text = json::line(&documents::Job::from(&job));
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    (document["spec"].take(), table::job(&job))
}

#[test]
fn every_option_has_a_sample() {
    let options: BTreeSet<String> = command()
        .get_arguments()
        .filter_map(|option| option.get_long().map(str::to_string))
        .collect();
    let samples: BTreeSet<String> = SAMPLES.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(options, samples);
}

#[test]
fn every_option_is_sent_and_shown() {
    let default = parsed(&["test"]);
    let (default_json, default_table) = shown(default.clone());
    let mut fields = BTreeSet::new();
    for (name, value) in SAMPLES {
        let option = match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        };
        let sent = parsed(&["test", &option]);
        assert_ne!(sent, default, "{option} is not sent");
        let (document, card) = shown(sent);
        let changed = document.as_object().unwrap().iter();
        let changed = changed.filter(|(field, value)| default_json[field.as_str()] != **value);
        let changed: Vec<String> = changed.map(|(field, _)| field.clone()).collect();
        assert_eq!(changed.len(), 1, "{option} in JSON: {changed:?}");
        fields.extend(changed);
        assert!(!default_table.contains(&format!("--{name}")));
        let wanted = option.replacen('=', " ", 1);
        assert!(card.contains(&wanted), "{option} in a table: {card}");
    }
    let all: BTreeSet<String> = default_json.as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, all, "each field of the document has its option");
}

#[test]
fn the_encoders_preset_has_a_short_name() {
    let (long, short) = ("--encoder-preset=slow", "--preset=slow");
    assert_eq!(parsed(&["test", long]), parsed(&["test", short]));
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
