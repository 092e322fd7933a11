//! Color metadata of headers: HDR10 metadata, which encoders must be told of,
//! and the tags of the reference's header, which a copy of fragments would
//! lose.
//!
//! Not here: primaries, transfer, matrix and range themselves. They travel with
//! each frame through filters into the encoder, as in any single pass.

use reelraft_model::spec::Container;
use serde::{Deserialize, Serialize};

/// Static HDR metadata, in the units of its standards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hdr {
    pub mastering: Option<Mastering>,
    /// Maximum content light level and maximum frame average, in cd/m².
    pub light: Option<(u32, u32)>,
}

/// Color volume of the mastering display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mastering {
    /// Green, blue, red and white point as x and y, in 1/50000.
    pub points: [(i64, i64); 4],
    /// Maximum and minimum, in 1/10000 cd/m².
    pub luminance: (i64, i64),
}

/// Color tags of the reference's header, as ffprobe prints them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HeaderColorTags {
    color_range: String,
    color_space: String,
    color_transfer: String,
    color_primaries: String,
    chroma_location: String,
    field_order: String,
}

/// ffprobe's names of matrices, indexed by their number in ITU-T H.273; "-" is
/// none.
const MATRICES: [&str; 18] = [
    "gbr",
    "bt709",
    "-",
    "-",
    "fcc",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "ycgco",
    "bt2020nc",
    "bt2020c",
    "smpte2085",
    "chroma-derived-nc",
    "chroma-derived-c",
    "ictcp",
    "ipt-c2",
    "ycgco-re",
    "ycgco-ro",
];

/// As [`MATRICES`], for transfer functions.
const TRANSFERS: [&str; 19] = [
    "-",
    "bt709",
    "-",
    "-",
    "bt470m",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "linear",
    "log100",
    "log316",
    "iec61966-2-4",
    "bt1361e",
    "iec61966-2-1",
    "bt2020-10",
    "bt2020-12",
    "smpte2084",
    "smpte428",
    "arib-std-b67",
];

/// As [`MATRICES`], for primaries.
const PRIMARIES: [&str; 13] = [
    "-",
    "bt709",
    "-",
    "-",
    "bt470m",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "film",
    "bt2020",
    "smpte428",
    "smpte431",
    "smpte432",
];

impl Hdr {
    /// Parameters for x265, each preceded by a colon.
    pub fn for_x265(&self) -> String {
        let mut text = String::new();
        if let Some(Mastering { points, luminance }) = &self.mastering {
            let [g, b, r, w] = points;
            text += &format!(
                ":hdr10=1:master-display=G({},{})B({},{})R({},{})WP({},{})L({},{})",
                g.0, g.1, b.0, b.1, r.0, r.1, w.0, w.1, luminance.0, luminance.1
            );
        }
        if let Some((brightest, average)) = self.light {
            text += &format!(":max-cll={brightest},{average}");
        }
        text
    }

    /// Parameters for SVT-AV1, each preceded by a colon.
    pub fn for_svt(&self) -> String {
        let mut text = String::new();
        if let Some(Mastering { points, luminance }) = &self.mastering {
            text += ":mastering-display=";
            for (name, (x, y)) in ["G", "B", "R", "WP"].iter().zip(points) {
                text += &format!("{name}({},{})", decimal(x * 2, 5), decimal(y * 2, 5));
            }
            let (brightest, darkest) = luminance;
            text += &format!("L({},{})", decimal(*brightest, 4), decimal(*darkest, 4));
        }
        if let Some((brightest, average)) = self.light {
            text += &format!(":content-light={brightest},{average}");
        }
        text
    }
}

/// Writes a non-negative number of 1/10^`places` as a decimal.
fn decimal(value: i64, places: u32) -> String {
    let whole = 10i64.pow(places);
    let width = places as usize;
    format!("{}.{:0width$}", value / whole, value % whole)
}

impl HeaderColorTags {
    /// Options that write the tags into a copied stream's header. MP4 and its
    /// relatives keep them in the bitstream and in boxes that a copy preserves.
    pub fn options(&self, container: Container) -> Vec<String> {
        if !matches!(container, Container::Mkv | Container::Webm) {
            return Vec::new();
        }
        let word = |word: &String| match word.as_str() {
            "" | "unknown" | "unspecified" => None,
            word => Some(word.to_string()),
        };
        // ffprobe's names for these differ from ffmpeg's; the numbers do not.
        let number = |names: &[&str], name: &String| {
            let found = names.iter().position(|known| known == name);
            found.map(|number| number.to_string())
        };
        // Only the first video stream: covers are video streams too.
        [
            ("-color_range:v:0", word(&self.color_range)),
            ("-colorspace:v:0", number(&MATRICES, &self.color_space)),
            ("-color_trc:v:0", number(&TRANSFERS, &self.color_transfer)),
            (
                "-color_primaries:v:0",
                number(&PRIMARIES, &self.color_primaries),
            ),
            ("-chroma_sample_location:v:0", word(&self.chroma_location)),
            ("-field_order:v:0", word(&self.field_order)),
        ]
        .into_iter()
        .filter_map(|(option, value)| Some([option.to_string(), value?]))
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_tags_are_set_in_matroska_only_and_only_if_known() {
        let tags = HeaderColorTags {
            color_range: "tv".into(),
            color_space: "gbr".into(),
            color_transfer: "unknown".into(),
            color_primaries: "bt2020".into(),
            field_order: "tb".into(),
            ..Default::default()
        };
        assert_eq!(
            tags.options(Container::Mkv).join(" "),
            "-color_range:v:0 tv -colorspace:v:0 0 -color_primaries:v:0 9 -field_order:v:0 tb"
        );
        assert!(tags.options(Container::Mp4).is_empty());
    }

    #[test]
    fn every_matrix_has_its_number() {
        for (name, number) in [("ictcp", "14"), ("ipt-c2", "15"), ("ycgco-ro", "17")] {
            let tags = HeaderColorTags {
                color_space: name.into(),
                ..Default::default()
            };
            assert_eq!(
                tags.options(Container::Mkv),
                ["-colorspace:v:0", number],
                "{name}"
            );
        }
    }
}
