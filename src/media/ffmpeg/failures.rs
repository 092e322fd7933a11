//! The one table of errors that are about the build of ffmpeg and not about
//! the source: no other source and no other attempt would do better there. The
//! words are those of ffmpeg 5.1 to 9; words that are not known stay a plain
//! failure, and are never taken for a property of the source.

use crate::error::MediaError;

/// What a build is unable to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inability {
    /// It lacks this encoder.
    Encoder(String),
    /// It lacks the demuxer of a format that ffprobe knows.
    Demuxer(String),
    /// It lacks or refuses an option, a filter or a format: what it said.
    Refused(String),
}

impl Inability {
    pub fn of_tool(self, tool: &str) -> MediaError {
        match self {
            Inability::Encoder(encoder) => MediaError::EncoderMissing { encoder },
            Inability::Demuxer(demuxers) => MediaError::DemuxerMissing { demuxers },
            Inability::Refused(detail) => MediaError::WrongBuild {
                tool: tool.to_string(),
                detail,
            },
        }
    }
}

/// An encoder that the build lacks; its name follows in quotes.
const NO_ENCODER: &str = "Unknown encoder '";

/// A demuxer that the build lacks; its name follows in quotes.
const NO_DEMUXER: &str = "Unknown input format: '";

/// An option, filter or format that the build lacks or refuses.
const REFUSED: [&str; 10] = [
    "Unrecognized option",
    "Option not found",
    "Invalid time base: ",
    "Invalid encoder type",
    "No such filter",
    "Filter not found",
    "Unknown bitstream filter",
    "Bitstream filter not found",
    "Error parsing bitstream filter",
    "Requested output format",
];

/// What the build is unable to do, if that is what an error says; `message` is
/// the same as it is shown to people.
pub(crate) fn inability(text: &str, message: impl FnOnce() -> String) -> Option<Inability> {
    let quoted = |words: &str| {
        let (_, name) = text.split_once(words)?;
        Some(name.split('\'').next().unwrap_or(name).to_string())
    };
    if let Some(encoder) = quoted(NO_ENCODER) {
        return Some(Inability::Encoder(encoder));
    }
    if let Some(demuxer) = quoted(NO_DEMUXER) {
        return Some(Inability::Demuxer(demuxer));
    }
    let refused = REFUSED.iter().any(|words| text.contains(words));
    refused.then(|| Inability::Refused(message()))
}

/// How ffmpeg says that it has no decoder for a stream.
const NO_DECODER: [&str; 2] = ["Decoder (codec", "no decoder found for"];

/// Whether the build lacks the decoder of a stream, by what it said.
pub(crate) fn lacks_decoder(messages: &[String]) -> bool {
    let said = |message: &String| NO_DECODER.iter().any(|words| message.contains(words));
    messages.iter().any(said)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::error::Class;

    #[test]
    fn the_words_of_each_version_are_told_apart() {
        for (line, kind) in [
            ("[fatal] Unknown encoder 'libsvtav1'", "encoder-missing"),
            (
                "[vost#0:0 @ 0x5580] [fatal] Unknown encoder 'libsvtav1'",
                "encoder-missing",
            ),
            (
                "[in#0 @ 0x5580] [fatal] Unknown input format: 'mov'",
                "no-decoder",
            ),
            ("[fatal] Invalid time base: -1", "wrong-build"),
            ("[fatal] Unrecognized option 'fps_mode:v'.", "wrong-build"),
            (
                "[fatal] Error splitting the argument list: Option not found",
                "wrong-build",
            ),
            (
                "[AVFilterGraph @ 0x55] [error] No such filter: 'bwdif'",
                "wrong-build",
            ),
        ] {
            let found = inability(line, || line.to_string()).unwrap();
            let error = found.of_tool("ffmpeg");
            assert_eq!(error.kind(), kind, "{line}");
            // It would be the same on every node of the build.
            let class = match kind {
                "wrong-build" => Class::Final,
                _ => Class::NodeFault,
            };
            assert_eq!(error.class(), class, "{line}");
            assert!(!error.hint().contains("damaged"), "{line}");
        }
        let line = "[h264 @ 0x5580] [error] concealing 40 errors";
        assert!(inability(line, || line.to_string()).is_none());
    }
}
