//! A job's options, by the names that they have on the command line: one schema
//! with one set of refusals. Names may be written with `_` for `-`.

use std::sync::LazyLock;

use clap::{Arg, Command, CommandFactory, FromArgMatches, Parser, error::ContextKind};
use reelraft_cli::spec_options::SpecArgs;
use reelraft_model::{Problem, spec::SpecRequest};
use serde_json::Value;

use super::refusal::Refusal;
use crate::grpc::convert_spec::spec_request;

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Options {
    #[command(flatten)]
    spec: SpecArgs,
}

/// The parser of the command line's options, made once.
pub static OPTIONS: LazyLock<Command> = LazyLock::new(|| {
    let mut command = Options::command();
    command.build();
    command
});

/// The options of a query.
///
/// # Errors
/// `bad-spec` that names the option.
pub fn from_pairs(
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<SpecRequest, Refusal> {
    let mut arguments = Vec::new();
    for (name, text) in pairs {
        let option = Named::find(name)?;
        let value = match (option.takes_value, text.as_str()) {
            (false, "" | "true" | "1") => Value::Bool(true),
            (false, "false" | "0") => Value::Bool(false),
            _ => Value::String(text),
        };
        arguments.extend(option.argument(&value)?);
    }
    parsed(&arguments)
}

/// The options of a JSON object: numbers, texts, booleans and lists; `null` is
/// as good as leaving one out.
///
/// # Errors
/// As [`from_pairs`].
pub fn from_values(
    values: impl IntoIterator<Item = (String, Value)>,
) -> Result<SpecRequest, Refusal> {
    parsed(&arguments(values)?)
}

/// The options of a JSON object as the command line has them.
///
/// # Errors
/// `bad-spec` that names the option.
pub fn arguments(
    values: impl IntoIterator<Item = (String, Value)>,
) -> Result<Vec<String>, Refusal> {
    let mut arguments = Vec::new();
    for (name, value) in values {
        arguments.extend(Named::find(name)?.argument(&value)?);
    }
    Ok(arguments)
}

/// Arguments as a person writes them, each after a space. What the parser has
/// taken needs no quotes in a shell.
pub fn words(arguments: &[String]) -> String {
    let word = |argument: &String| match argument.split_once('=') {
        // What looks like an option stays with its own.
        Some((name, value)) if !value.starts_with('-') => format!(" {name} {value}"),
        _ => format!(" {argument}"),
    };
    arguments.iter().map(word).collect()
}

/// What the command line's parser makes of its arguments.
///
/// # Errors
/// `bad-spec`, in its words.
pub fn parsed(arguments: &[String]) -> Result<SpecRequest, Refusal> {
    let parsed = OPTIONS
        .clone()
        .try_get_matches_from(arguments)
        .and_then(|matches| Options::from_arg_matches(&matches));
    let options = parsed.map_err(|error| refusal(&error))?;
    let spec = options.spec.to_wire(None);
    let spec = spec.map_err(|error| bad_spec(error.to_string()))?;
    Ok(spec_request(spec))
}

/// An option that there is.
struct Named {
    /// As it was given.
    name: String,
    /// As the command line has it, without the hyphens before it.
    long: String,
    takes_value: bool,
}

impl Named {
    fn find(name: String) -> Result<Self, Refusal> {
        let long = name.replace('_', "-");
        let mut options = OPTIONS.get_arguments();
        let named = |option: &&Arg| {
            let others = option.get_all_aliases().unwrap_or_default();
            option.get_long() == Some(&long) || others.contains(&long.as_str())
        };
        let found = options.find(named);
        match found.map(|option| option.get_action().takes_values()) {
            Some(takes_value) => Ok(Named {
                name,
                long,
                takes_value,
            }),
            None => Err(unknown(&name)),
        }
    }

    /// The option with a value as the command line has it; none where that is as
    /// good as leaving it out.
    fn argument(&self, value: &Value) -> Result<Option<String>, Refusal> {
        let flag = format!("--{}", self.long);
        match (self.takes_value, value) {
            (_, Value::Null) | (false, Value::Bool(false)) => Ok(None),
            (false, Value::Bool(true)) => Ok(Some(flag)),
            (true, value) => match text_of(value) {
                Some(text) => Ok(Some(format!("{flag}={text}"))),
                None => Err(wrong_type(&self.name)),
            },
            (false, _) => Err(wrong_type(&self.name)),
        }
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items
                .iter()
                .map(|item| item.as_u64().map(|number| number.to_string()))
                .collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

fn bad_spec(cause: String) -> Refusal {
    Refusal(Problem::new(
        "bad-spec",
        cause,
        "see `reelraft transcode --help` for the options",
    ))
}

fn unknown(name: &str) -> Refusal {
    let names = OPTIONS
        .get_arguments()
        .filter_map(|option| option.get_long());
    let nearest = names.min_by_key(|known| strsim::levenshtein(known, &name.replace('_', "-")));
    let nearest = nearest.unwrap_or_default().replace('-', "_");
    bad_spec(format!(
        "there is no option {name}; the nearest is {nearest}"
    ))
}

fn wrong_type(name: &str) -> Refusal {
    bad_spec(format!("the value of {name} has the wrong type"))
}

/// What the command line's own parser says, without its layout.
fn refusal(error: &clap::Error) -> Refusal {
    let option = error.get(ContextKind::InvalidArg);
    let option = option.map_or_else(String::new, |option| format!("{option}: "));
    let value = error.get(ContextKind::InvalidValue);
    let value = value.map_or_else(String::new, |value| format!("'{value}' is refused"));
    let why = std::error::Error::source(error).map(ToString::to_string);
    let known = error.get(ContextKind::ValidValue);
    let known = known.map(|known| format!("these are known: {known}"));
    let why = why.or(known).unwrap_or_default();
    let cause = match why.is_empty() {
        true => format!("{option}{value}"),
        false => format!("{option}{value}: {why}"),
    };
    bad_spec(cause)
}

/// Tells two sources apart whose bytes nobody has hashed, as far as it can be.
pub fn fingerprint(source_bytes: u64, source_name: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&source_bytes.to_le_bytes());
    hasher.update(source_name.as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of_json(text: &str) -> Result<SpecRequest, String> {
        let Value::Object(fields) = serde_json::from_str(text).unwrap() else {
            panic!("{text} is no object");
        };
        from_values(fields).map_err(|refused| refused.0.cause)
    }

    #[test]
    fn options_are_those_of_the_command_line() {
        let request = of_json(
            r#"{"width": 1280, "fps": "30000/1001", "codec": "h265", "crf": 20, "strict": true,
                "audio_tracks": [2, 1], "brightness": -0.25, "keep_location": false,
                "crop": "64:32:2:4", "shard_seconds": 2.5, "preset": null}"#,
        )
        .unwrap();
        assert_eq!(
            (request.width, request.fps),
            (Some(1280), Some((30000, 1001)))
        );
        assert_eq!((request.codec.as_str(), request.crf), ("hevc", Some(20)));
        assert_eq!(request.audio_tracks, [2, 1]);
        assert_eq!(request.brightness_milli, Some(-250));
        assert!(request.strict && !request.keep_location);
        assert_eq!(request.shard_ms, Some(2_500));
        let pairs = [
            ("audio-bitrate", "128k"),
            ("strict", ""),
            ("keep_location", "0"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
        let request = from_pairs(pairs).unwrap();
        assert_eq!(request.audio_bitrate, Some(128_000));
        assert!(request.strict && !request.keep_location);
    }

    /// A value for each option that there is.
    const EACH: &str = r#"{"width": 640, "height": 360, "fps": "30000/1001", "codec": "hevc",
        "crf": 0, "size": "700M", "bitrate": "2M", "target": "ssim=0.985",
        "max_encoded_percent": 80, "target_percentile": 5, "measure": true,
        "hold_source": true, "maxrate": "4M", "bufsize": 6000000,
        "encoder_preset": "slow", "tune": "grain", "keyint": 2, "pix_fmt": "yuv420p10le",
        "brightness": -0.25,
        "contrast": 1.5, "saturation": 0, "deinterlace": "auto", "crop": "64:32:2:4",
        "pad": "320:240", "denoise": "light", "audio": "opus", "audio_bitrate": "96k",
        "loudness": -16, "audio_tracks": [2, 1], "video_track": 2, "program": 7,
        "subtitles": "none", "strip_metadata": true, "keep_location": true, "strict": true,
        "ignore_dolby_vision": true, "container": "mkv", "shard_seconds": 2.5}"#;

    #[test]
    fn the_command_line_of_a_spec_leads_back_to_it() {
        let each: serde_json::Map<String, Value> = serde_json::from_str(EACH).unwrap();
        assert_eq!(each.len(), OPTIONS.get_arguments().count());
        let alone = each.clone().into_iter();
        let alone = alone.map(|option| serde_json::Map::from_iter([option]));
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=, ".contains(letter);
        for values in alone.chain([serde_json::Map::new(), each]) {
            let line = words(&arguments(values.clone()).unwrap());
            assert!(
                line.chars().all(plain),
                "a shell takes {line} for something else"
            );
            let back: Vec<String> = line.split_whitespace().map(str::to_string).collect();
            let (there, back) = (from_values(values), parsed(&back));
            assert_eq!(there.unwrap(), back.unwrap(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, cause) in [
            (
                r#"{"widht": 1}"#,
                "there is no option widht; the nearest is width",
            ),
            (
                r#"{"strict": "yes"}"#,
                "the value of strict has the wrong type",
            ),
            (
                r#"{"width": {"a": 1}}"#,
                "the value of width has the wrong type",
            ),
            (
                r#"{"width": 0}"#,
                "--width <PIXELS>: '0' is refused: it must be above 0; omit the option to keep the source's",
            ),
        ] {
            assert_eq!(of_json(text).unwrap_err(), cause, "{text}");
        }
        let codec = of_json(r#"{"codec": "mpeg2 --strict"}"#).unwrap_err();
        assert!(codec.contains("'mpeg2 --strict' is refused"), "{codec}");
        assert!(codec.contains("ffv1"), "{codec}");
    }
}
