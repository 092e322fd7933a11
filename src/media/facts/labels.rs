//! Tags and dispositions of the output's streams: languages, titles, default
//! flags.

use serde::{Deserialize, Serialize};

use crate::{
    facts::source::{Stream, Tags},
    limits::TAG_BYTES_MAX,
};

/// Tags of a stream that are kept. The others describe the file they came from:
/// its muxer, its encoder, its byte and frame counts.
const KEPT: [&str; 5] = ["language", "title", "comment", "filename", "mimetype"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub tags: Tags,
    /// As ffmpeg names them: `default`, `forced`…
    pub dispositions: Vec<String>,
}

impl Label {
    /// The label of a source's stream; tags beyond the size limit are dropped.
    pub fn of(stream: &Stream) -> Label {
        let mut tags = Tags::new();
        for (key, value) in &stream.tags {
            let key = key.to_ascii_lowercase();
            let empty = value.is_empty() || (key == "language" && value == "und");
            if KEPT.contains(&key.as_str()) && !empty && is_storable(value) {
                tags.insert(key, value.clone());
            }
        }
        let dispositions = stream
            .disposition
            .iter()
            .filter(|(_, flag)| **flag != 0)
            .map(|(word, _)| word.clone())
            .collect();
        Label { tags, dispositions }
    }

    fn is_default(&self) -> bool {
        self.dispositions.iter().any(|word| word == "default")
    }

    /// Options that set this label on an output stream, such as `a:0`.
    fn args(&self, stream: &str) -> Vec<String> {
        let mut args = Vec::new();
        for (key, value) in &self.tags {
            args.push(format!("-metadata:s:{stream}"));
            args.push(format!("{key}={value}"));
        }
        args.push(format!("-disposition:{stream}"));
        args.push(match self.dispositions.as_slice() {
            [] => "0".to_string(),
            dispositions => dispositions.join("+"),
        });
        args
    }
}

/// Whether a tag's value fits into an argument.
pub(crate) fn is_storable(value: &str) -> bool {
    value.len() <= TAG_BYTES_MAX && !value.contains('\0')
}

/// Labels of the output's streams of one kind, in order. Where none of several
/// streams is marked as default, the first that is no cover becomes it, as
/// ffmpeg itself does.
pub(crate) fn with_default_disposition(labels: &[&Label], strip: bool) -> Vec<Label> {
    let lacking = labels.len() > 1 && !labels.iter().any(|label| label.is_default());
    let chosen = labels
        .iter()
        .position(|label| lacking && !label.dispositions.iter().any(|word| word == "attached_pic"));
    let settled = labels.iter().enumerate().map(|(at, label)| {
        let mut label = (*label).clone();
        if strip {
            // Players find a track by its language, and show it by the mode.
            label
                .tags
                .retain(|key, _| key == "language" || key == "stereo_mode");
        }
        if chosen == Some(at) {
            label.dispositions.insert(0, "default".into());
        }
        label
    });
    settled.collect()
}

/// Options that set final labels on the output's streams of one kind, named by
/// ffmpeg's stream specifier.
pub(crate) fn options(kind: &str, labels: &[Label]) -> Vec<String> {
    let labels = labels.iter().enumerate();
    labels
        .flat_map(|(at, label)| label.args(&format!("{kind}:{at}")))
        .collect()
}

/// As [`options`], after [`with_default_disposition`].
pub(crate) fn args(kind: &str, labels: &[&Label], strip: bool) -> Vec<String> {
    options(kind, &with_default_disposition(labels, strip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(language: &str, dispositions: &[&str]) -> Label {
        Label {
            tags: Tags::from([("language".to_string(), language.to_string())]),
            dispositions: dispositions
                .iter()
                .map(|word| (*word).to_string())
                .collect(),
        }
    }

    #[test]
    fn one_of_several_tracks_is_the_default_as_ffmpeg_has_it() {
        let (one, two) = (label("eng", &[]), label("deu", &["comment"]));
        assert_eq!(
            args("a", &[&one, &two], false).join(" "),
            "-metadata:s:a:0 language=eng -disposition:a:0 default -metadata:s:a:1 language=deu -disposition:a:1 comment"
        );
        assert!(
            args("a", &[&one], false)
                .join(" ")
                .ends_with("-disposition:a:0 0")
        );
        let cover = label("eng", &["attached_pic"]);
        assert!(
            args("v", &[&cover, &one], false)
                .join(" ")
                .ends_with("-disposition:v:1 default")
        );
    }

    #[test]
    fn only_what_belongs_to_the_track_is_kept() {
        let stream: Stream = serde_json::from_str(
            r#"{"index":1,"codec_type":"audio","disposition":{"default":1,"forced":0},
            "tags":{"LANGUAGE":"fra","title":"Un\nfilm","BPS":"7","handler_name":"h","encoder":"x"}}"#,
        )
        .unwrap();
        let label = Label::of(&stream);
        let keys: Vec<&str> = label.tags.keys().map(String::as_str).collect();
        assert_eq!(keys, ["language", "title"]);
        assert_eq!(label.dispositions, ["default"]);
        let stripped = args("a", &[&label], true).join(" ");
        assert!(
            stripped.contains("language=fra") && !stripped.contains("title"),
            "{stripped}"
        );
    }
}
