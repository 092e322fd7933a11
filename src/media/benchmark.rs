//! How fast this machine encodes, by codec: a fixed clip, made here, as a shard of a
//! job with default options. Who gets which work depends on it, and nothing that is
//! made.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use reelraft_model::spec::{Codec, Spec, SpecRequest, resolve};

use crate::{
    analysis::analyze::analyze,
    error::MediaError,
    ffmpeg::{cancel::Cancel, encoders::Lack, input::Input, tools::Tools},
    limits::BENCHMARK_TIME_MAX,
    trial::{Job, make_clip},
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
    let made = tokio::time::timeout(BENCHMARK_TIME_MAX, make_source(tools, folder)).await;
    let Ok(Ok(clip)) = made else { return speeds };
    for codec in CODECS {
        if known.iter().any(|lack| lack.what == codec.name()) {
            continue;
        }
        let measured = measure(tools, folder, codec, &clip);
        if let Ok(Ok(speed)) = tokio::time::timeout(BENCHMARK_TIME_MAX, measured).await {
            speeds.insert(codec.name().to_string(), speed);
        }
    }
    speeds
}

fn spec_of(codec: Codec) -> Spec {
    let request = SpecRequest {
        codec: codec.name().into(),
        // It takes all of them.
        container: "mkv".into(),
        audio: "none".into(),
        ..Default::default()
    };
    resolve(&request).expect("each codec has a spec that is accepted")
}

/// Makes the clip, once for all codecs.
async fn make_source(tools: &Tools, folder: &Path) -> Result<PathBuf, MediaError> {
    let clip = folder.join("source").join(CLIP_FILE);
    let job = Job {
        tools,
        spec: &spec_of(CODECS[0]),
        input: Input::File(clip.clone()),
        cancel: Cancel::new(),
        folder: folder.to_path_buf(),
    };
    let what = [
        "-f", "lavfi", "-i", CLIP, "-c:v", "mpeg4", "-q:v", "2", "-f", "matroska", CLIP_FILE,
    ];
    make_clip(&job.at(&job.place("source")?), &what).await?;
    Ok(clip)
}

async fn measure(
    tools: &Tools,
    folder: &Path,
    codec: Codec,
    clip: &Path,
) -> Result<u64, MediaError> {
    let job = Job {
        tools,
        spec: &spec_of(codec),
        input: Input::File(clip.to_path_buf()),
        cancel: Cancel::new(),
        folder: folder.join(codec.name()),
    };
    let bytes = std::fs::metadata(clip)
        .map_err(MediaError::disk("reading a clip"))?
        .len();
    let index = analyze(&job.at(&job.place("analysis")?), bytes, None).await?;
    let (mut frames, mut ms) = (0, 0);
    for (number, range) in index.shards().iter().enumerate() {
        let place = job.place(&format!("shard-{number}"))?;
        let begun = Instant::now();
        frames += encode_shard(&job.at(&place), &index, *range, false, |_| {})
            .await?
            .frames;
        ms += begun.elapsed().as_millis() as u64;
    }
    Ok(frames * 1_000_000 / ms.max(1))
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
