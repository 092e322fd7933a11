//! What headers say of colour beyond the pixels: light of the mastering
//! display and of the film (HDR10), which encoders must be told, and the tags
//! of a reference's header, which a copy from fragments would lose.
//!
//! Not here: primaries, transfer, matrix and range as such. They go with each
//! frame through filters into the encoder, as in any single pass.

use reelraft_model::spec::{Codec, Container};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Context,
    analysis::probe::Source,
    error::MediaError,
    facts::index::Index,
    ffmpeg::{args, log::Text},
    video::args as encode_args,
};

/// Static metadata of high dynamic range, in the units of its standards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hdr {
    /// The display it was mastered on.
    pub mastering: Option<Mastering>,
    /// Brightest pixel and brightest average of a frame, in cd/m².
    pub light: Option<(u32, u32)>,
}

/// Colour volume of a mastering display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mastering {
    /// Green, blue, red and white as x and y, in 1/50000.
    pub points: [(i64, i64); 4],
    /// Brightest and darkest, in 1/10000 cd/m².
    pub luminance: (i64, i64),
}

/// Tags of the reference's header, in ffmpeg's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    color_range: String,
    color_space: String,
    color_transfer: String,
    color_primaries: String,
    chroma_location: String,
    field_order: String,
}

/// ffprobe's words for matrices, by their number in ITU-T H.273; "-" is none.
const MATRICES: [&str; 15] = [
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
];

/// As [`MATRICES`], of transfers.
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

/// As [`MATRICES`], of primaries.
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
    /// Parameters for x265, each led by a colon.
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

    /// Parameters for SVT-AV1, each led by a colon.
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

/// A count of decimal fractions of a whole, in digits; it is not negative.
fn decimal(value: i64, places: u32) -> String {
    let whole = 10i64.pow(places);
    let width = places as usize;
    format!("{}.{:0width$}", value / whole, value % whole)
}

impl Told {
    /// Options that put the tags into a copied stream's header. MP4 and its
    /// kin have them in the bitstream and in boxes that a copy keeps.
    pub fn options(&self, container: Container) -> Vec<String> {
        if !matches!(container, Container::Mkv | Container::Webm) {
            return Vec::new();
        }
        let word = |word: &String| match word.as_str() {
            "" | "unknown" | "unspecified" => None,
            word => Some(word.to_string()),
        };
        // ffprobe's words for these are not always ffmpeg's; their numbers are.
        let number = |names: &[&str], name: &String| {
            let found = names.iter().position(|known| known == name);
            found.map(|number| number.to_string())
        };
        // The first video stream: covers are pictures of their own.
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

#[derive(Deserialize)]
struct Shown<Entry> {
    #[serde(default = "Vec::new", alias = "streams")]
    frames: Vec<Entry>,
}

#[derive(Deserialize)]
struct Sides {
    #[serde(default)]
    side_data_list: Vec<Side>,
}

#[derive(Deserialize)]
struct Side {
    side_data_type: Option<String>,
    #[serde(default)]
    max_content: u32,
    #[serde(default)]
    max_average: u32,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, serde_json::Value>,
}

/// Reads the HDR metadata of the source's first frame, where the encoder
/// takes such.
pub(crate) async fn hdr(context: &Context<'_>, source: &Source) -> Result<Hdr, MediaError> {
    if !matches!(context.spec.codec(), Codec::Hevc | Codec::Av1) {
        return Ok(Hdr::default());
    }
    let arguments = args::first_side_data(context.input, source);
    let shown: Option<Shown<Sides>> = ask(context, &arguments).await?;
    let first = shown.and_then(|shown| shown.frames.into_iter().next());
    let sides = first.map(|frame| frame.side_data_list).unwrap_or_default();
    Ok(read(&sides))
}

fn read(sides: &[Side]) -> Hdr {
    let mut hdr = Hdr::default();
    for side in sides {
        match side.side_data_type.as_deref() {
            Some("Mastering display metadata") => hdr.mastering = mastering(side),
            Some("Content light level metadata") => {
                hdr.light = Some((side.max_content, side.max_average));
            }
            _ => {}
        }
    }
    hdr
}

fn mastering(side: &Side) -> Option<Mastering> {
    let number = |name: &str, per_unit: i64| {
        let (num, den) = side.rest.get(name)?.as_str()?.split_once('/')?;
        let (num, den): (i64, i64) = (num.parse().ok()?, den.parse().ok()?);
        let scaled = i128::from(num) * i128::from(per_unit);
        let den = i128::from(den);
        // A wild number is no display; nothing is told of it.
        let whole = (num >= 0 && den > 0).then(|| (scaled + den / 2) / den)?;
        i64::try_from(whole)
            .ok()
            .filter(|&whole| whole <= u32::MAX.into())
    };
    let point = |name: &str| {
        let of = |axis: &str| number(&format!("{name}_{axis}"), 50_000);
        Some((of("x")?, of("y")?))
    };
    Some(Mastering {
        points: [
            point("green")?,
            point("blue")?,
            point("red")?,
            point("white_point")?,
        ],
        luminance: (
            number("max_luminance", 10_000)?,
            number("min_luminance", 10_000)?,
        ),
    })
}

/// Reads what the reference's header says, from its first frame alone: only
/// where a copy of fragments would say less.
pub(crate) async fn told(context: &Context<'_>, index: &Index) -> Result<Told, MediaError> {
    if !matches!(context.spec.container(), Container::Mkv | Container::Webm) {
        return Ok(Told::default());
    }
    let sample = context.work_dir.join(encode_args::SAMPLE_FILE);
    let arguments = encode_args::sample(context.input, index, context.spec);
    let mut text = Text::default();
    let ended = context
        .ffmpeg_with(
            &arguments,
            crate::analysis::analyze::address_bytes(index),
            &mut text,
        )
        .await?;
    // What can't be encoded will say so in its shard; here it is no matter.
    if text.complaints.judge("ffmpeg", ended).is_err() || !sample.exists() {
        return Ok(Told::default());
    }
    let arguments = encode_args::sample_tags();
    let shown: Option<Shown<Told>> = ask(context, &arguments).await?;
    std::fs::remove_file(&sample).map_err(MediaError::disk("removing a sample"))?;
    Ok(shown
        .and_then(|shown| shown.frames.into_iter().next())
        .unwrap_or_default())
}

/// Runs ffprobe; an answer that makes no sense is none, and no matter: a
/// damaged source says so when it is decoded.
async fn ask<Answer: DeserializeOwned>(
    context: &Context<'_>,
    arguments: &[String],
) -> Result<Option<Answer>, MediaError> {
    let mut text = Text::default();
    let ended = context.ffprobe(arguments, &mut text).await?;
    match text.complaints.judge("ffprobe", ended) {
        Err(MediaError::ToolFailed { .. }) => Ok(None),
        judged => judged.map(|()| serde_json::from_str(&text.out).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = r#"{"frames":[{"side_data_list":[
        {"side_data_type":"Mastering display metadata","red_x":"34000/50000","red_y":"16000/50000","green_x":"13250/50000","green_y":"34500/50000","blue_x":"7500/50000","blue_y":"3000/50000","white_point_x":"20493/65536","white_point_y":"16450/50000","min_luminance":"50/10000","max_luminance":"256000/256"},
        {"side_data_type":"Content light level metadata","max_content":1000,"max_average":400},
        {"side_data_type":"Something else"}]}]}"#;

    #[test]
    fn hdr_is_told_in_each_encoders_units() {
        let shown: Shown<Sides> = serde_json::from_str(FRAME).unwrap();
        let hdr = read(&shown.frames[0].side_data_list);
        assert_eq!(
            hdr.for_x265(),
            ":hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
        );
        assert_eq!(
            hdr.for_svt(),
            ":mastering-display=G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)WP(0.31270,0.32900)L(1000.0000,0.0050):content-light=1000,400"
        );
        assert_eq!(Hdr::default().for_x265() + &Hdr::default().for_svt(), "");
    }

    #[test]
    fn wild_numbers_are_no_display() {
        let wild = FRAME.replace("256000/256", "1/0");
        let shown: Shown<Sides> = serde_json::from_str(&wild).unwrap();
        assert_eq!(read(&shown.frames[0].side_data_list).mastering, None);
    }

    #[test]
    fn only_matroska_is_told_and_only_what_is_known() {
        let told = Told {
            color_range: "tv".into(),
            color_space: "gbr".into(),
            color_transfer: "unknown".into(),
            color_primaries: "bt2020".into(),
            field_order: "tb".into(),
            ..Default::default()
        };
        assert_eq!(
            told.options(Container::Mkv).join(" "),
            "-color_range:v:0 tv -colorspace:v:0 0 -color_primaries:v:0 9 -field_order:v:0 tb"
        );
        assert!(told.options(Container::Mp4).is_empty());
    }
}
