//! Tags and chapters of the file as a whole: taken from the source in the
//! analysis, and given to the assembly as a file, where no value can be
//! mistaken for an option.

use serde::{Deserialize, Serialize};

use crate::{
    facts::{
        labels::is_storable,
        source::{Chapter, ProbedSource, Tags},
        text::strings,
        times::{MICROSECONDS, Ratio, rescale},
    },
    limits::{CHAPTERS_MAX, TAGS_MAX},
};

/// Tags that describe the source file, not the film in it: its muxer, its
/// encoder, and what players note about its packets.
const NOISE: [&str; 15] = [
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "handler_name",
    "vendor_id",
    "duration",
    "itunsmpb",
    "wmfsdkversion",
    "wmfsdkneeded",
    "isvbr",
    "metadatacreator",
    "haskeyframes",
    "canseektoend",
    "lasttimestamp",
];

/// Parts of the names of tags that reveal where a film was made.
const PLACE: [&str; 6] = ["location", "gps", "iso6709", "latitude", "longitude", "xyz"];

/// A chapter with the output's timestamps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OutputChapter {
    base: Ratio,
    start: i64,
    end: i64,
    tags: Tags,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMetadata {
    tags: Tags,
    /// Keys of the source's tags that are dropped.
    #[serde(rename = "left")]
    dropped_keys: Vec<String>,
    /// Tags that the source has not, or with another value.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    set: Tags,
    /// The stream that the tags come from, where the file itself has none.
    stream: Option<u32>,
    #[serde(rename = "scenes")]
    chapters: Vec<OutputChapter>,
}

impl FileMetadata {
    /// Selects the tags and chapters to keep; what is dropped for its size is
    /// noted in `notes`. `audio` is the first audio stream of the job.
    pub fn of(
        found: &ProbedSource,
        audio: Option<u32>,
        keep_location: bool,
        notes: &mut Vec<String>,
    ) -> FileMetadata {
        // Ogg stores the tags of a song on its stream.
        let stream = audio.filter(|_| found.source.demuxer == "ogg" && found.tags.is_empty());
        let stream_tags = found
            .streams
            .iter()
            .find(|candidate| Some(candidate.index) == stream)
            .map(|stream| &stream.tags);
        let mut metadata = FileMetadata {
            stream,
            ..Default::default()
        };
        for (key, value) in stream_tags.unwrap_or(&found.tags) {
            let lower = key.to_ascii_lowercase();
            let reveals_place = PLACE.iter().any(|part| lower.contains(part));
            if NOISE.contains(&lower.as_str()) || (reveals_place && !keep_location) {
                metadata.dropped_keys.push(key.clone());
            } else if !is_valid_key(key) || !is_storable(value) || metadata.tags.len() == TAGS_MAX {
                notes.push("a tag beyond the limits is left out".into());
                metadata.dropped_keys.push(key.clone());
            } else {
                metadata.tags.insert(key.clone(), value.clone());
            }
        }
        if found.chapters.len() > CHAPTERS_MAX {
            notes.push(format!("{} chapters are left out", found.chapters.len()));
        } else {
            let start_us = found.source.start_us.unwrap_or(0);
            let chapters = found.chapters.iter();
            metadata.chapters = chapters
                .filter_map(|chapter| output_chapter(chapter, start_us))
                .collect();
        }
        metadata
    }

    /// The value of a tag, whatever the case of its name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let mut tags = self.tags.iter();
        let found = tags.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Adds a tag that the source does not have for the file, unless it has.
    pub fn set(&mut self, name: &str, value: &str) {
        if self.tag(name).is_none() {
            self.tags.insert(name.into(), value.into());
            self.set.insert(name.into(), value.into());
        }
    }

    /// Drops a tag.
    pub fn leave(&mut self, name: &str) {
        let keys = self.tags.keys().cloned();
        let own: Vec<String> = keys.filter(|key| key.eq_ignore_ascii_case(name)).collect();
        self.tags.retain(|key, _| !own.contains(key));
        self.dropped_keys.extend(own);
    }

    /// As input for ffmpeg's demuxer `ffmetadata`.
    pub fn text(&self) -> String {
        let mut text = ";FFMETADATA1\n".to_string();
        write_tags(&mut text, &self.tags);
        for chapter in &self.chapters {
            let OutputChapter {
                base, start, end, ..
            } = chapter;
            text += &format!(
                "[CHAPTER]\nTIMEBASE={}/{}\nSTART={start}\nEND={end}\n",
                base.num, base.den
            );
            write_tags(&mut text, &chapter.tags);
        }
        text
    }

    /// Options of the reference, which reads the tags from the source itself.
    pub fn reference_args(&self) -> Vec<String> {
        let mut args = match self.stream {
            Some(stream) => strings(&["-map_metadata:g", &format!("0:s:{stream}")]),
            None => strings(&["-map_metadata:g", "0"]),
        };
        // An empty value removes a tag.
        for key in self.dropped_keys.iter().filter(|key| is_valid_key(key)) {
            args.extend(strings(&["-metadata", &format!("{key}=")]));
        }
        for (key, value) in &self.set {
            args.extend(strings(&["-metadata", &format!("{key}={value}")]));
        }
        let chapters = if self.chapters.is_empty() { "-1" } else { "0" };
        args.extend(strings(&["-map_chapters", chapters]));
        args
    }
}

/// Whether a key can precede an equals sign.
fn is_valid_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 255 && !key.contains(['=', '\0', '\n', '\r', ':'])
}

/// Shifts a chapter as ffmpeg itself does; `None` if it ends before the film
/// begins.
fn output_chapter(chapter: &Chapter, start_us: i64) -> Option<OutputChapter> {
    let base = Ratio::parse(&chapter.time_base)?;
    let shift = rescale(start_us, MICROSECONDS, base);
    let mut tags = chapter.tags.clone();
    tags.retain(|key, value| is_valid_key(key) && is_storable(value));
    (chapter.end >= shift).then_some(OutputChapter {
        base,
        start: chapter.start.saturating_sub(shift).max(0),
        end: chapter.end.saturating_sub(shift),
        tags,
    })
}

fn write_tags(text: &mut String, tags: &Tags) {
    for (key, value) in tags {
        for part in [key.as_str(), "=", value.as_str()] {
            // Only the equals sign between the two is not escaped.
            for letter in part.chars() {
                if part != "=" && matches!(letter, '=' | ';' | '#' | '\\' | '\n') {
                    text.push('\\');
                }
                text.push(letter);
            }
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::source::{Source, Stream};

    fn found(tags: &[(&str, &str)], chapters: &str) -> ProbedSource {
        ProbedSource {
            indexed: true,
            description: None,
            packets: None,
            source: Source {
                demuxer: "mov".into(),
                discontinuous: false,
                leaps: false,
                late: false,
                start_us: Some(0),
                video: None,
            },
            streams: Vec::new(),
            programs: Vec::new(),
            tags: tags
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            chapters: serde_json::from_str(chapters).unwrap(),
        }
    }

    #[test]
    fn hostile_values_stay_values() {
        let tags = [
            ("comment", "a=b;#\\\n[CHAPTER]\nx"),
            ("k=e\ny", "1"),
            ("nul", "a\0b"),
        ];
        let mut notes = Vec::new();
        let metadata = FileMetadata::of(&found(&tags, "[]"), None, false, &mut notes);
        assert_eq!(
            metadata.text(),
            ";FFMETADATA1\ncomment=a\\=b\\;\\#\\\\\\\n[CHAPTER]\\\nx\n"
        );
        assert_eq!(notes.len(), 2);
        let large = "x".repeat(crate::limits::TAG_BYTES_MAX + 1);
        let metadata =
            FileMetadata::of(&found(&[("lyrics", &large)], "[]"), None, false, &mut notes);
        assert_eq!(metadata.tags.len(), 0);
        assert!(metadata.reference_args().contains(&"lyrics=".to_string()));
    }

    #[test]
    fn places_go_unless_they_are_asked_for() {
        let tags = [
            ("title", "T"),
            ("location-eng", "+48-100/"),
            ("com.apple.quicktime.location.ISO6709", "+48-100/"),
            ("GPSCoordinates", "1"),
            ("encoder", "Lavf"),
        ];
        let mut notes = Vec::new();
        let metadata = FileMetadata::of(&found(&tags, "[]"), None, false, &mut notes);
        assert_eq!(metadata.tags.keys().collect::<Vec<_>>(), ["title"]);
        assert_eq!(metadata.dropped_keys.len(), 4);
        let kept = FileMetadata::of(&found(&tags, "[]"), None, true, &mut notes);
        assert_eq!((kept.tags.len(), kept.dropped_keys.len()), (4, 1));
        assert!(notes.is_empty());
    }

    #[test]
    fn chapters_move_with_the_film() {
        let chapters = r#"[{"time_base":"1/1000","start":0,"end":900},
            {"time_base":"1/1000","start":1000,"end":3000,"tags":{"title":"Two"}}]"#;
        let mut source = found(&[], chapters);
        source.source.start_us = Some(1_500_000);
        let metadata = FileMetadata::of(&source, None, false, &mut Vec::new());
        assert_eq!(
            metadata.text(),
            ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=Two\n"
        );
    }

    #[test]
    fn a_songs_tags_are_taken_from_its_stream() {
        let mut song = found(&[], "[]");
        song.source.demuxer = "ogg".into();
        song.streams =
            vec![serde_json::from_str::<Stream>(r#"{"index":3,"tags":{"ARTIST":"A"}}"#).unwrap()];
        let metadata = FileMetadata::of(&song, Some(3), false, &mut Vec::new());
        assert_eq!(metadata.tags["ARTIST"], "A");
        assert!(metadata.reference_args().contains(&"0:s:3".to_string()));
    }
}
