//! The options of a job as a schema. Names, words and help are those of the
//! command line's parser, bounds are the model's, and defaults are what it fills
//! in, so that nothing is said a second time.

use std::{collections::BTreeMap, sync::LazyLock};

use clap::Arg;
use reelraft_model::{
    limits::TRACKS_MAX,
    spec::{NUMBERS, PIX_FMTS, SpecRequest, resolve},
};
use reelraft_proto::documents::Spec;
use serde_json::{Value, json};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        path::{Parameter, ParameterIn},
    },
};

use super::spec::OPTIONS;
use crate::grpc::convert_spec::wire_spec;

/// What the output is to be: a JSON object, or parameters of a query.
pub struct SpecOptions;

impl PartialSchema for SpecOptions {
    fn schema() -> RefOr<Schema> {
        let schema = json!({
            "type": "object",
            "description": "What the output is to be; an option that is left out takes its default.",
            "properties": *SCHEMAS,
            "additionalProperties": false,
        });
        serde_json::from_value(schema).expect("it is written as a schema")
    }
}

impl ToSchema for SpecOptions {}

impl IntoParams for SpecOptions {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let parameter = |(name, schema): (&String, &Value)| {
            // A list is one value, with commas in it.
            let parameter = json!({
                "name": name, "in": "query", "required": false, "style": "form",
                "explode": false, "description": schema["description"], "schema": schema,
            });
            serde_json::from_value(parameter).expect("it is written as a parameter")
        };
        SCHEMAS.iter().map(parameter).collect()
    }
}

/// The schema of each option, by the option's name.
static SCHEMAS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let defaults = Defaults::find();
    let schema = |option: &Arg| {
        let long = option.get_long()?;
        let name = long.replace('-', "_");
        let mut schema = kind_of(option, long);
        if let Some(help) = option.get_help() {
            schema["description"] = help.to_string().into();
        }
        if let Some(default) = defaults.of(&name) {
            schema["default"] = default;
        }
        Some((name, schema))
    };
    OPTIONS.get_arguments().filter_map(schema).collect()
});

fn kind_of(option: &Arg, long: &str) -> Value {
    if !option.get_action().takes_values() {
        return json!({ "type": "boolean" });
    }
    if option.get_value_delimiter().is_some() {
        return json!({
            "type": "array", "items": { "type": "integer", "format": "int32", "minimum": 1 },
            "maxItems": TRACKS_MAX, "uniqueItems": true,
        });
    }
    if let Some(bounds) = NUMBERS.iter().find(|bounds| bounds.option == long) {
        let decimal = |milli: i64| milli as f64 / 1_000.0;
        return match bounds.milli {
            true => json!({
                "type": "number", "format": "double",
                "minimum": decimal(bounds.low), "maximum": decimal(bounds.high),
            }),
            false => json!({
                "type": "integer", "minimum": bounds.low, "maximum": bounds.high,
                "format": if bounds.high > i32::MAX.into() { "int64" } else { "int32" },
                "multipleOf": bounds.step,
            }),
        };
    }
    let words = option.get_possible_values();
    let words: Vec<&str> = match long {
        "pix-fmt" => PIX_FMTS.to_vec(),
        _ => words.iter().map(|word| word.get_name()).collect(),
    };
    match words.is_empty() {
        true => json!({ "type": "string", "minLength": 1 }),
        false => json!({ "type": "string", "enum": words }),
    }
}

/// Specs with every default filled in, of a job that asks for nothing and of
/// each container.
struct Defaults {
    of_nothing: Value,
    of_containers: Vec<Value>,
}

impl Defaults {
    fn find() -> Self {
        let filled_in = |container: &str| {
            let container = container.to_string();
            let request = SpecRequest {
                container,
                ..Default::default()
            };
            let spec = wire_spec(&resolve(&request).ok()?);
            serde_json::to_value(Spec::from(&spec)).ok()
        };
        let option = OPTIONS
            .get_arguments()
            .find(|option| option.get_long() == Some("container"));
        let containers = option.map_or_else(Vec::new, Arg::get_possible_values);
        Defaults {
            of_nothing: filled_in("").unwrap_or_default(),
            of_containers: containers
                .iter()
                .filter_map(|container| filled_in(container.get_name()))
                .collect(),
        }
    }

    /// What an option is where it is left out; none if that depends on others.
    fn of(&self, name: &str) -> Option<Value> {
        let default = value_in(&self.of_nothing, name)?;
        let mut others = self.of_containers.iter();
        let same = others.all(|spec| value_in(spec, name).is_none_or(|value| value == default));
        (same || name == "container").then_some(default)
    }
}

/// An option's value in a spec, where some are in thousandths.
fn value_in(spec: &Value, name: &str) -> Option<Value> {
    let milli = match name.strip_suffix("_seconds") {
        Some(stem) => format!("{stem}_ms"),
        None => format!("{name}_milli"),
    };
    let value = match spec[&milli].as_i64() {
        Some(milli) => json!(milli as f64 / 1_000.0),
        None => spec[name].clone(),
    };
    let given = !value.is_null() && !value.is_array() && value != "";
    given.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every option is there, with what only the model knows of it.
    #[test]
    fn options_have_bounds_words_and_defaults() {
        for (name, part) in [
            (
                "width",
                json!({ "minimum": 2, "maximum": 16_384, "multipleOf": 2 }),
            ),
            (
                "brightness",
                json!({ "minimum": -1.0, "maximum": 1.0, "default": 0.0 }),
            ),
            ("shard_seconds", json!({ "minimum": 0.5, "maximum": 600.0 })),
            (
                "audio_bitrate",
                json!({ "type": "integer", "minimum": 8_000, "default": 128_000 }),
            ),
            ("strict", json!({ "type": "boolean", "default": false })),
            (
                "subtitles",
                json!({ "enum": ["keep", "none"], "default": "keep" }),
            ),
            ("container", json!({ "default": "mp4" })),
            ("audio_tracks", json!({ "type": "array", "maxItems": 32 })),
        ] {
            let schema = &SCHEMAS[name];
            for (key, value) in part.as_object().into_iter().flatten() {
                assert_eq!(&schema[key], value, "{key} of {name}: {schema}");
            }
            assert!(schema["description"].is_string(), "{name}");
        }
        // What depends on another option has none that always holds.
        for name in [
            "codec",
            "audio",
            "crf",
            "encoder_preset",
            "maxrate",
            "keyint",
            "pix_fmt",
            "width",
            "loudness",
            "shard_seconds",
        ] {
            assert!(SCHEMAS[name].get("default").is_none(), "{name}");
        }
        let numbers = NUMBERS.iter().map(|bounds| bounds.option.replace('-', "_"));
        for number in numbers {
            assert!(SCHEMAS[&number].get("minimum").is_some(), "{number}");
        }
        assert_eq!(SCHEMAS.len(), OPTIONS.get_arguments().count());
    }
}
