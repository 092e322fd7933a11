//! How fast this machine encodes, by codec: a fixed clip, made here, as a shard of a
//! job with default options. Who gets which work depends on it, and nothing that is
//! made.

use std::{collections::BTreeMap, path::Path, time::Instant};

use reelraft_model::spec::{Codec, Spec, SpecRequest, resolve};

use crate::{
    analysis::analyze::analyze,
    error::MediaError,
    facts::text::strings,
    ffmpeg::{
        args::global_options, cancel::Cancel, context::Context, encoders::Lack, input::Input,
        listeners::TextListener, log::LOG_ERRORS, tools::Tools,
    },
    limits::BENCHMARK_TIME_MAX,
    video::shard::encode_shard,
};

/// The codecs that are measured.
const CODECS: [Codec; 5] = [
    Codec::H264,
    Codec::Hevc,
    Codec::Vp9,
    Codec::Av1,
    Codec::Ffv1,
];

/// The clip: pictures in motion, large enough that what an encoder takes to start is
/// little beside them. Changing it changes what speeds mean: all nodes have the same.
const CLIP: &str = "testsrc2=size=640x360:rate=25:duration=2";

const CLIP_FILE: &str = "clip.mkv";

/// Frames in a thousand seconds of one encoder of each codec, by the codec's name, of
/// those that are not `known` to be lacking. `folder` must be an empty folder with an
/// absolute path. What fails, or takes too long, is left out. Takes some seconds.
pub async fn measure_speeds(tools: &Tools, folder: &Path, known: &[Lack]) -> BTreeMap<String, u64> {
    let mut speeds = BTreeMap::new();
    for codec in CODECS.map(Codec::name) {
        if known.iter().any(|lack| lack.what == codec) {
            continue;
        }
        let place = folder.join(codec);
        let measured = measure(tools, &place, codec);
        if let Ok(Ok(speed)) = tokio::time::timeout(BENCHMARK_TIME_MAX, measured).await {
            speeds.insert(codec.to_string(), speed);
        }
    }
    speeds
}

async fn measure(tools: &Tools, folder: &Path, codec: &str) -> Result<u64, MediaError> {
    let request = SpecRequest {
        codec: codec.into(),
        // It takes all of them.
        container: "mkv".into(),
        audio: "none".into(),
        ..Default::default()
    };
    let spec: Spec = resolve(&request).expect("each codec has a spec that is accepted");
    let disk = || MediaError::disk("making a clip to measure with");
    std::fs::create_dir_all(folder).map_err(disk())?;
    let (cancel, clip) = (Cancel::new(), folder.join(CLIP_FILE));
    let input = Input::File(clip.clone());
    let context = Context {
        tools,
        input: &input,
        spec: &spec,
        work_dir: folder,
        cancel: &cancel,
    };
    make_clip(&context).await?;
    let bytes = std::fs::metadata(&clip).map_err(disk())?.len();
    let index = analyze(&context, bytes, None).await?;
    let (mut frames, mut ms) = (0, 0);
    for range in index.shards() {
        let place = folder.join(range.from_pts.to_string());
        std::fs::create_dir_all(&place).map_err(disk())?;
        let context = Context {
            work_dir: &place,
            ..context
        };
        let begun = Instant::now();
        frames += encode_shard(&context, &index, *range, false, |_| {})
            .await?
            .frames;
        ms += begun.elapsed().as_millis() as u64;
    }
    Ok(frames * 1_000_000 / ms.max(1))
}

async fn make_clip(context: &Context<'_>) -> Result<(), MediaError> {
    let mut arguments = global_options(LOG_ERRORS);
    arguments.extend(strings(&["-f", "lavfi", "-i", CLIP, "-c:v", "mpeg4"]));
    arguments.extend(strings(&["-q:v", "2", "-f", "matroska", CLIP_FILE]));
    let mut text = TextListener::default();
    let exit = context.ffmpeg(&arguments, &mut text).await?;
    text.diagnostics.check_exit("ffmpeg", exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_codec_that_works_has_a_speed() {
        let folder = tempfile::tempdir().unwrap();
        let lack = |what: &str| Lack {
            what: what.into(),
            why: "it is not there".into(),
        };
        let known = ["hevc", "vp9", "av1"].map(lack);
        let speeds = measure_speeds(&Tools::find().unwrap(), folder.path(), &known).await;
        let names: Vec<&str> = speeds.keys().map(String::as_str).collect();
        assert_eq!(names, ["ffv1", "h264"]);
        assert!(speeds.values().all(|speed| *speed > 100), "{speeds:?}");
    }
}
