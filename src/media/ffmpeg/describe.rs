//! What ffprobe says of a file as a whole, as it says it: for people and their
//! programs. Nothing here decides anything.

use serde_json::Value;

use crate::{
    error::{Class, MediaError},
    facts::text::strings,
    ffmpeg::{context::Context, listeners::TextListener, log::LOG_ERRORS, process::Exit},
    limits::DESCRIPTION_BYTES_MAX,
};

/// Format, streams, programs and chapters of what is opened by these arguments.
/// The file's name is left out: a source's is an address that differs on each
/// node. None where ffprobe can't say, or says more than is kept.
///
/// # Errors
/// What is no fault of the file.
pub(crate) async fn describe(
    context: &Context<'_>,
    opened: Vec<String>,
) -> Result<Option<Value>, MediaError> {
    let mut arguments = strings(&["-hide_banner", "-v", LOG_ERRORS, "-of", "json=compact=1"]);
    arguments.extend(strings(&WHOLE));
    arguments.extend(opened);
    let mut text = TextListener::default();
    match context.ffprobe(&arguments, &mut text).await {
        Ok(Exit::Success) => Ok(serde_json::from_str(&text.out).ok().and_then(kept)),
        Ok(exit) => judged(text.diagnostics.check_exit("ffprobe", exit)),
        Err(error) => judged(Err(error)),
    }
}

/// A file that can't be described was looked at by others, who judge it.
fn judged(end: Result<(), MediaError>) -> Result<Option<Value>, MediaError> {
    match end {
        Err(error) if matches!(error.class(), Class::NodeFault | Class::Stopped) => Err(error),
        _ => Ok(None),
    }
}

/// What is asked for.
pub(crate) const WHOLE: [&str; 4] = [
    "-show_format",
    "-show_streams",
    "-show_programs",
    "-show_chapters",
];

/// What is kept of ffprobe's answer.
pub(crate) fn kept(mut value: Value) -> Option<Value> {
    if let Some(format) = value.get_mut("format").and_then(Value::as_object_mut) {
        format.remove("filename");
    }
    // ffprobe's own count, where it read packets at the same time.
    let streams = value.get_mut("streams").and_then(Value::as_array_mut);
    for stream in streams
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        stream.remove("nb_read_packets");
    }
    (value.to_string().len() <= DESCRIPTION_BYTES_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_left_out_and_the_size_is_bounded() {
        let text = r#"{"format":{"filename":"http://127.0.0.1:9/secret","size":"7"}}"#;
        let kept = |text: &str| kept(serde_json::from_str(text).unwrap());
        let value = kept(text).unwrap();
        assert_eq!(value.to_string(), r#"{"format":{"size":"7"}}"#);
        let long = format!(r#"{{"a":"{}"}}"#, "a".repeat(DESCRIPTION_BYTES_MAX));
        assert_eq!(kept(&long), None);
    }
}
