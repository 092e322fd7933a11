//! What the file as a whole is called: its tags and chapters, taken from the
//! source in the analysis and given to the assembly as a file, where no value
//! can be taken for an option.

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

/// Tags about the file that the source is, not the film in it: its muxer, its
/// encoder, and what players note about its own packets.
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

/// Parts of the names of tags that tell where a film was made.
const PLACE: [&str; 6] = ["location", "gps", "iso6709", "latitude", "longitude", "xyz"];

/// A chapter at the output's times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OutputChapter {
    base: Ratio,
    start: i64,
    end: i64,
    tags: Tags,
}

/// Tags and chapters of the whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMetadata {
    tags: Tags,
    /// Names of the source's tags that do not come along.
    #[serde(rename = "left")]
    dropped_keys: Vec<String>,
    /// The stream whose tags these are, where the file itself has none.
    stream: Option<u32>,
    #[serde(rename = "scenes")]
    chapters: Vec<OutputChapter>,
}

impl FileMetadata {
    /// What is kept of a source's tags and chapters; what is left out for its
    /// size goes to `notes`. `sound` is the first audio stream of the job.
    pub fn of(
        found: &ProbedSource,
        sound: Option<u32>,
        keep_location: bool,
        notes: &mut Vec<String>,
    ) -> FileMetadata {
        // Ogg has the tags of a song on its stream.
        let stream = sound.filter(|_| found.source.demuxer == "ogg" && found.tags.is_empty());
        let of_stream = found
            .streams
            .iter()
            .find(|own| Some(own.index) == stream)
            .map(|own| &own.tags);
        let mut about = FileMetadata {
            stream,
            ..Default::default()
        };
        for (key, value) in of_stream.unwrap_or(&found.tags) {
            let small = key.to_ascii_lowercase();
            let place = PLACE.iter().any(|part| small.contains(part));
            if NOISE.contains(&small.as_str()) || (place && !keep_location) {
                about.dropped_keys.push(key.clone());
            } else if !is_valid_key(key) || !is_storable(value) || about.tags.len() == TAGS_MAX {
                notes.push("a tag beyond the limits is left out".into());
                about.dropped_keys.push(key.clone());
            } else {
                about.tags.insert(key.clone(), value.clone());
            }
        }
        if found.chapters.len() > CHAPTERS_MAX {
            notes.push(format!("{} chapters are left out", found.chapters.len()));
        } else {
            let start_us = found.source.start_us.unwrap_or(0);
            let chapters = found.chapters.iter();
            about.chapters = chapters
                .filter_map(|own| output_chapter(own, start_us))
                .collect();
        }
        about
    }

    /// As text for ffmpeg's demuxer `ffmetadata`.
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

    /// Options of the reference, which reads the source itself.
    pub fn reference_args(&self) -> Vec<String> {
        let mut args = match self.stream {
            Some(stream) => strings(&["-map_metadata:g", &format!("0:s:{stream}")]),
            None => strings(&["-map_metadata:g", "0"]),
        };
        // An empty value takes a tag away.
        for key in self.dropped_keys.iter().filter(|key| is_valid_key(key)) {
            args.extend(strings(&["-metadata", &format!("{key}=")]));
        }
        let chapters = if self.chapters.is_empty() { "-1" } else { "0" };
        args.extend(strings(&["-map_chapters", chapters]));
        args
    }
}

/// Whether a key can stand before an equals sign.
fn is_valid_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= 255 && !key.contains(['=', '\0', '\n', '\r', ':'])
}

/// A chapter at the output's times, as ffmpeg itself moves it; none where it
/// ends before the film begins.
fn output_chapter(own: &Chapter, start_us: i64) -> Option<OutputChapter> {
    let base = Ratio::parse(&own.time_base)?;
    let shift = rescale(start_us, MICROSECONDS, base);
    let mut tags = own.tags.clone();
    tags.retain(|key, value| is_valid_key(key) && is_storable(value));
    (own.end >= shift).then_some(OutputChapter {
        base,
        start: own.start.saturating_sub(shift).max(0),
        end: own.end.saturating_sub(shift),
        tags,
    })
}

fn write_tags(text: &mut String, tags: &Tags) {
    for (key, value) in tags {
        for part in [key.as_str(), "=", value.as_str()] {
            // The equals sign between the two is the one that stands bare.
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
            source: Source {
                demuxer: "mov".into(),
                discontinuous: false,
                start_us: Some(0),
                video: None,
            },
            streams: Vec::new(),
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
        let about = FileMetadata::of(&found(&tags, "[]"), None, false, &mut notes);
        assert_eq!(
            about.text(),
            ";FFMETADATA1\ncomment=a\\=b\\;\\#\\\\\\\n[CHAPTER]\\\nx\n"
        );
        assert_eq!(notes.len(), 2);
        let large = "x".repeat(crate::limits::TAG_BYTES_MAX + 1);
        let about = FileMetadata::of(&found(&[("lyrics", &large)], "[]"), None, false, &mut notes);
        assert_eq!(about.tags.len(), 0);
        assert!(about.reference_args().contains(&"lyrics=".to_string()));
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
        let about = FileMetadata::of(&found(&tags, "[]"), None, false, &mut notes);
        assert_eq!(about.tags.keys().collect::<Vec<_>>(), ["title"]);
        assert_eq!(about.dropped_keys.len(), 4);
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
        let about = FileMetadata::of(&source, None, false, &mut Vec::new());
        assert_eq!(
            about.text(),
            ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1500\ntitle=Two\n"
        );
    }

    #[test]
    fn a_songs_tags_are_taken_from_its_stream() {
        let mut song = found(&[], "[]");
        song.source.demuxer = "ogg".into();
        song.streams =
            vec![serde_json::from_str::<Stream>(r#"{"index":3,"tags":{"ARTIST":"A"}}"#).unwrap()];
        let about = FileMetadata::of(&song, Some(3), false, &mut Vec::new());
        assert_eq!(about.tags["ARTIST"], "A");
        assert!(about.reference_args().contains(&"0:s:3".to_string()));
    }
}
