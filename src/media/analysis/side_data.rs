//! What a picture carries beside its samples: HDR metadata, captions, and how
//! its views are arranged. Encoders and containers keep some of it and drop the
//! rest without a word, each build in its own way; so a sample is encoded, and
//! what is no longer there is named.

use std::collections::{BTreeMap, BTreeSet};

use reelraft_model::spec::{Container, Spec};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    analysis::args,
    error::MediaError,
    facts::{
        index::Index,
        source::{Source, Stream},
    },
    ffmpeg::{context::Context, listeners::TextListener},
};

/// How ffprobe's names of what is told to viewers begin, and what it is called
/// here. Not listed: what only encoders use, and what the decoder or our own
/// filters have applied.
const TOLD: [(&str, &str); 13] = [
    ("HDR Dynamic Metadata SMPTE2094-40", "HDR10+ metadata"),
    ("HDR Dynamic Metadata CUVA", "HDR Vivid metadata"),
    ("HDR Dynamic Metadata", "dynamic HDR metadata"),
    ("Dolby Vision", "Dolby Vision metadata"),
    (DOLBY_VISION, "Dolby Vision metadata"),
    ("ATSC A53", "caption data (CEA-608/708)"),
    ("Mastering display", "mastering display metadata"),
    ("Content light level", "content light metadata"),
    ("Ambient viewing", "ambient viewing metadata"),
    ("Active format", "active format metadata"),
    (STEREO, STEREO_NAME),
    ("Spherical Mapping", "spherical metadata"),
    ("ICC profile", "an ICC profile"),
];

const DOLBY_VISION: &str = "DOVI configuration record";
const STEREO: &str = "Stereo 3D";
const STEREO_NAME: &str = "stereo 3D metadata";

/// Side data of a stream and of its first frames, as ffprobe prints them.
#[derive(Default, Deserialize)]
pub(crate) struct SideData {
    #[serde(default)]
    pub frames: Vec<Sides>,
    #[serde(default)]
    streams: Vec<Sides>,
}

#[derive(Default, Deserialize)]
pub(crate) struct Sides {
    #[serde(default, rename = "side_data_list")]
    pub list: Vec<Side>,
}

#[derive(Deserialize)]
pub(crate) struct Side {
    pub side_data_type: Option<String>,
    #[serde(default)]
    pub max_content: u32,
    #[serde(default)]
    pub max_average: u32,
    #[serde(flatten)]
    pub rest: BTreeMap<String, serde_json::Value>,
}

impl SideData {
    /// What is told to viewers, by our names.
    fn told(&self) -> BTreeSet<&'static str> {
        let sides = self.frames.iter().chain(&self.streams);
        let kinds = sides.flat_map(|sides| &sides.list);
        kinds
            .filter_map(|side| side.side_data_type.as_deref())
            .filter_map(|kind| TOLD.iter().find(|(start, _)| kind.starts_with(start)))
            .map(|(_, name)| *name)
            .collect()
    }
}

/// Whether a stream by itself tells viewers anything.
pub(crate) fn is_told(stream: &Stream) -> bool {
    let kinds = stream.side_data_list.iter();
    let mut kinds = kinds.filter_map(|side| side.get("side_data_type")?.as_str());
    kinds.any(|kind| TOLD.iter().any(|(start, _)| kind.starts_with(start)))
}

/// Reads the side data of the source's video.
pub(crate) async fn read(context: &Context<'_>, source: &Source) -> Result<SideData, MediaError> {
    let arguments = args::first_side_data(context.input, source);
    ask_ffprobe(context, &arguments, source.video().address_bytes()).await
}

/// Names what the output will not have of a source's side data.
pub(crate) async fn lost(
    context: &Context<'_>,
    index: &Index,
    source: &SideData,
) -> Result<Vec<String>, MediaError> {
    let mut told = source.told();
    if index.facts.label.tags.contains_key(STEREO_TAG) {
        told.remove(STEREO_NAME);
    }
    if told.is_empty() {
        return Ok(Vec::new());
    }
    let spec = context.spec;
    let file = args::shard_sample_file(spec);
    let arguments = args::shard_sample(context.input, index, spec);
    let mut text = TextListener::default();
    let exit = context
        .ffmpeg_with(&arguments, index.facts.picture.address_bytes(), &mut text)
        .await?;
    text.diagnostics.check_exit("ffmpeg", exit)?;
    let arguments = args::side_data_of_sample(spec);
    let bytes = index.facts.picture.address_bytes();
    let sample: SideData = ask_ffprobe(context, &arguments, bytes).await?;
    std::fs::remove_file(context.work_dir.join(file))
        .map_err(MediaError::disk("removing a sample"))?;
    let kept = sample.told();
    let (codec, container) = (spec.codec().name(), spec.container().name());
    let lost = told.difference(&kept);
    let notes =
        lost.map(|name| format!("{name} can't be kept in {codec} in {container} and is left out"));
    Ok(notes.collect())
}

/// Refuses a picture whose colors only Dolby Vision gives, unless it is asked
/// for all the same: others would show it green and purple.
///
/// # Errors
/// [`MediaError::DolbyVisionAlone`].
pub(crate) fn check_dolby_vision(spec: &Spec, video: &Stream) -> Result<(), MediaError> {
    let number = |side: &BTreeMap<String, serde_json::Value>, key: &str| {
        side.get(key).and_then(serde_json::Value::as_u64)
    };
    let alone = video.side_data(DOLBY_VISION).and_then(|side| {
        let profile = number(side, "dv_profile")?;
        // Profile 10 is AV1, which may have a compatible layer.
        let own_colors = match profile {
            5 | 20 => true,
            10 => number(side, "dv_bl_signal_compatibility_id") == Some(0),
            _ => false,
        };
        own_colors.then_some(profile)
    });
    match alone {
        Some(profile) if !spec.ignore_dolby_vision => Err(MediaError::DolbyVisionAlone { profile }),
        _ => Ok(()),
    }
}

/// The tag by which Matroska's muxer is told of stereo 3D.
pub(crate) const STEREO_TAG: &str = "stereo_mode";

/// The arrangement of the views in a picture, by Matroska's name, where the
/// output can tell it.
pub(crate) fn stereo_mode(container: Container, video: &Stream) -> Option<&'static str> {
    if !matches!(container, Container::Mkv | Container::Webm) {
        return None;
    }
    let side = video.side_data(STEREO)?;
    let inverted = side.get("inverted").and_then(serde_json::Value::as_u64) == Some(1);
    let (plain, other) = match side.get("type")?.as_str()? {
        "side by side" => ("left_right", "right_left"),
        "top and bottom" => ("top_bottom", "bottom_top"),
        "checkerboard" => ("checkerboard_lr", "checkerboard_rl"),
        "interleaved lines" => ("row_interleaved_lr", "row_interleaved_rl"),
        "interleaved columns" => ("col_interleaved_lr", "col_interleaved_rl"),
        "frame alternate" => ("block_lr", "block_rl"),
        _ => return None,
    };
    Some(if inverted { other } else { plain })
}

/// Runs ffprobe. An answer that did not come is an error: taken for "none", it
/// would lose what the source has, and only on some nodes.
pub(crate) async fn ask_ffprobe<Answer: DeserializeOwned>(
    context: &Context<'_>,
    arguments: &[String],
    address_bytes_extra: u64,
) -> Result<Answer, MediaError> {
    let mut text = TextListener::default();
    let exit = context
        .ffprobe_with(arguments, address_bytes_extra, &mut text)
        .await?;
    text.diagnostics.check_exit("ffprobe", exit)?;
    serde_json::from_str(&text.out).map_err(|error| MediaError::BadOutput {
        tool: "ffprobe".into(),
        detail: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn stream(side: &str) -> Stream {
        serde_json::from_str(&format!(
            r#"{{"index":0,"codec_type":"video","side_data_list":[{side}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn only_pictures_without_colors_of_their_own_are_refused() {
        let refused = |profile: u32, compatible: u32| {
            let record = format!(
                r#"{{"side_data_type":"DOVI configuration record","dv_profile":{profile},"dv_bl_signal_compatibility_id":{compatible}}}"#
            );
            check_dolby_vision(&Spec::default(), &stream(&record)).is_err()
        };
        assert!(refused(5, 0) && refused(10, 0));
        assert!(!refused(8, 1) && !refused(8, 4) && !refused(7, 6) && !refused(10, 4));
        assert!(check_dolby_vision(&Spec::default(), &stream("")).is_ok());
    }

    #[test]
    fn views_are_told_where_the_container_can() {
        let side = |inverted: u8| {
            stream(&format!(
                r#"{{"side_data_type":"Stereo 3D","type":"side by side","inverted":{inverted}}}"#
            ))
        };
        assert_eq!(stereo_mode(Container::Mkv, &side(0)), Some("left_right"));
        assert_eq!(stereo_mode(Container::Webm, &side(1)), Some("right_left"));
        assert_eq!(stereo_mode(Container::Mp4, &side(0)), None);
        assert_eq!(stereo_mode(Container::Mkv, &stream("")), None);
    }

    #[test]
    fn each_kind_has_one_name() {
        let text = r#"{"frames":[{"side_data_list":[
            {"side_data_type":"HDR Dynamic Metadata SMPTE2094-40 (HDR10+)"},
            {"side_data_type":"ATSC A53 Part 4 Closed Captions"},
            {"side_data_type":"H.26[45] User Data Unregistered SEI message"}]},
            {"side_data_list":[{"side_data_type":"Dolby Vision RPU Data"},
            {"side_data_type":"Dolby Vision Metadata"}]}],
            "streams":[{"side_data_list":[{"side_data_type":"DOVI configuration record"}]}]}"#;
        let shown: SideData = serde_json::from_str(text).unwrap();
        let told: Vec<&str> = shown.told().into_iter().collect();
        let captions = "caption data (CEA-608/708)";
        assert_eq!(told, ["Dolby Vision metadata", "HDR10+ metadata", captions]);
    }
}
