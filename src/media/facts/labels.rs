//! What the streams of the output are called and meant for: languages, titles
//! and dispositions. Not here: what the file as a whole is called.

use serde::{Deserialize, Serialize};

use crate::{
    facts::source::{Stream, Tags},
    limits::TAG_BYTES_MAX,
};

/// Tags of a stream that are kept. The others tell of the file they came from:
/// its muxer, its encoder, its counts of bytes and frames.
const KEPT: [&str; 5] = ["language", "title", "comment", "filename", "mimetype"];

/// What one stream is called and meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Label {
    /// Its language, title and the like, where it has them.
    pub tags: Tags,
    /// Words as ffmpeg has them: `default`, `forced`…
    pub dispositions: Vec<String>,
}

impl Label {
    /// What a stream of the source is called; titles beyond the limit are not
    /// taken.
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

    /// Whether the stream is played where nobody chooses.
    fn is_default(&self) -> bool {
        self.dispositions.iter().any(|word| word == "default")
    }

    /// Options that give this label to an output stream, as `a:0`.
    fn args(&self, stream: &str) -> Vec<String> {
        let mut args = Vec::new();
        for (key, value) in &self.tags {
            args.push(format!("-metadata:s:{stream}"));
            args.push(format!("{key}={value}"));
        }
        args.push(format!("-disposition:{stream}"));
        args.push(match self.dispositions.as_slice() {
            [] => "0".to_string(),
            words => words.join("+"),
        });
        args
    }
}

/// Whether a tag's value is one that can be handed on.
pub(crate) fn is_storable(value: &str) -> bool {
    value.len() <= TAG_BYTES_MAX && !value.contains('\0')
}

/// Labels of the output's streams of one kind, in order. As ffmpeg does by
/// itself, of several without a default the first one that is no cover becomes
/// it.
pub(crate) fn with_default_disposition(labels: &[&Label], strip: bool) -> Vec<Label> {
    let lacking = labels.len() > 1 && !labels.iter().any(|label| label.is_default());
    let chosen = labels
        .iter()
        .position(|label| lacking && !label.dispositions.iter().any(|word| word == "attached_pic"));
    let settled = labels.iter().enumerate().map(|(at, label)| {
        let mut label = (*label).clone();
        if strip {
            // A language is how a player finds the track, not a tag about it.
            label.tags.retain(|key, _| key == "language");
        }
        if chosen == Some(at) {
            label.dispositions.insert(0, "default".into());
        }
        label
    });
    settled.collect()
}

/// Options that give settled labels to the output's streams of one kind, by
/// ffmpeg's letter for it.
pub(crate) fn options(kind: &str, labels: &[Label]) -> Vec<String> {
    let labels = labels.iter().enumerate();
    labels
        .flat_map(|(at, label)| label.args(&format!("{kind}:{at}")))
        .collect()
}

/// Options that label the output's streams of one kind.
pub(crate) fn args(kind: &str, labels: &[&Label], strip: bool) -> Vec<String> {
    options(kind, &with_default_disposition(labels, strip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(language: &str, words: &[&str]) -> Label {
        Label {
            tags: Tags::from([("language".to_string(), language.to_string())]),
            dispositions: words.iter().map(|word| (*word).to_string()).collect(),
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
