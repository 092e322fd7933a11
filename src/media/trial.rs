//! A trial of what this machine's ffmpeg can do: whole jobs over a clip made
//! here, with all that a job runs. An encoder that gives ten frames may still
//! be of no use: an option of another step may be gone, or a helper may crash.

use std::path::{Path, PathBuf};

use reelraft_model::{
    plan::files_of,
    spec::{Audio, Container, Spec, SpecRequest, resolve},
};

use crate::{
    analysis::analyze::analyze,
    audio::encode::encode_audio,
    error::MediaError,
    facts::{encoded::Parts, text::strings},
    ffmpeg::{
        args::global_options, cancel::Cancel, context::Context, encoders::Lack, input::Input,
        listeners::TextListener, log::LOG_ERRORS, tools::Tools,
    },
    limits::TRIAL_TIME_MAX,
    output::assemble::assemble,
    video::shard::encode_shard,
};

/// Codec, container, preset and audio of a trial.
type Kind = (&'static str, Container, &'static str, &'static str);

/// The trials: every encoder that a spec can ask for, and every family of
/// containers.
const TRIALS: [Kind; 5] = [
    ("h264", Container::Mp4, "ultrafast", "aac"),
    ("hevc", Container::Mkv, "ultrafast", "opus"),
    ("vp9", Container::Webm, "8", "opus"),
    ("av1", Container::Mp4, "12", "aac"),
    ("ffv1", Container::Mkv, "", "flac"),
];

/// What trials run. Raised with any change to it, and to the arguments of a step
/// that leaves the recipe as it is: what was found before is then tried again.
pub const TRIAL: u32 = 1;

/// What came of one trial.
#[derive(Debug)]
pub struct Trial {
    /// Codec, container and audio, as a spec names them.
    pub name: String,
    /// The codec, or the sound format where that is what failed.
    what: &'static str,
    /// Why no job of this kind can be made here.
    pub outcome: Result<(), MediaError>,
}

/// See [`crate::try_jobs`].
pub(crate) async fn try_jobs(tools: &Tools, folder: &Path, known: &[Lack]) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    for kind in TRIALS {
        let (.., audio) = kind;
        let failed = |trial: &Trial| trial.what == audio && trial.outcome.is_err();
        let lacks = |what: &str| known.iter().any(|lack| lack.what == what);
        let lacking = lacks(audio);
        if lacks(kind.0) || lacks(files_of(kind.1)) {
            continue;
        }
        let mute = try_job(tools, folder, kind, NO_AUDIO);
        if lacking || trials.iter().any(failed) {
            trials.push(mute.await);
            continue;
        }
        let whole = try_job(tools, folder, kind, audio).await;
        if whole.outcome.is_ok() {
            trials.push(whole);
            continue;
        }
        let mute = mute.await;
        if mute.outcome.is_ok() {
            trials.push(Trial {
                what: audio,
                ..whole
            });
        }
        trials.push(mute);
    }
    trials
}

/// A spec without sound.
const NO_AUDIO: &str = "none";

/// One trial, with this sound. Its codec is blamed.
async fn try_job(tools: &Tools, folder: &Path, kind: Kind, audio: &str) -> Trial {
    let (codec, container, preset, _) = kind;
    let request = SpecRequest {
        codec: codec.into(),
        container: container.name().into(),
        preset: preset.into(),
        audio: audio.into(),
        shard_ms: Some(reelraft_model::limits::SHARD_MS_MIN),
        ..Default::default()
    };
    let spec = resolve(&request).expect("each trial is a spec that is accepted");
    let job = run(tools, &spec, folder.join(format!("{codec}-{audio}")));
    let outcome = match tokio::time::timeout(TRIAL_TIME_MAX, job).await {
        Ok(outcome) => outcome,
        Err(_) => Err(MediaError::Stalled {
            tool: "ffmpeg".into(),
            seconds: TRIAL_TIME_MAX.as_secs(),
        }),
    };
    Trial {
        name: format!("{codec} in {} with {audio}", container.name()),
        what: codec,
        outcome,
    }
}

/// What a build can't make, as trials showed it.
#[derive(Clone, Debug)]
pub struct Lacks {
    /// Each of them. What failed in a way that may pass is not among them.
    pub lacks: Vec<Lack>,
    /// Whether another trial would show the same.
    pub lasting: bool,
}

/// See [`crate::find_lacks`].
pub(crate) async fn find_lacks(tools: &Tools, folder: &Path, known: Vec<Lack>) -> Lacks {
    let trials = try_jobs(tools, folder, &known).await;
    let mut found = Lacks {
        lacks: known,
        lasting: true,
    };
    for Trial { what, outcome, .. } in trials {
        let Err(error) = outcome else { continue };
        if found.lacks.iter().any(|lack| lack.what == what) {
            continue;
        }
        found.lasting &= matches!(
            error,
            MediaError::EncoderMissing { .. } | MediaError::WrongBuild { .. }
        );
        if !error.may_pass() {
            found.lacks.push(Lack::new(what, &error));
        }
    }
    found
}

/// A job over a clip made here: a trial, or a measurement.
pub(crate) struct Job<'a> {
    pub tools: &'a Tools,
    pub spec: &'a Spec,
    pub input: Input,
    pub cancel: Cancel,
    pub folder: PathBuf,
}

impl Job<'_> {
    /// A folder for one step.
    pub fn place(&self, step: &str) -> Result<PathBuf, MediaError> {
        let place = self.folder.join(step);
        std::fs::create_dir_all(&place).map_err(MediaError::disk("making a folder for a trial"))?;
        Ok(place)
    }

    pub fn at<'b>(&'b self, work_dir: &'b Path) -> Context<'b> {
        Context {
            tools: self.tools,
            input: &self.input,
            spec: self.spec,
            work_dir,
            cancel: &self.cancel,
        }
    }
}

/// Makes one job, each step in a folder of its own.
async fn run(tools: &Tools, spec: &Spec, folder: PathBuf) -> Result<(), MediaError> {
    let clip = folder.join("source").join(SOURCE_FILE);
    let job = Job {
        tools,
        spec,
        input: Input::File(clip.clone()),
        cancel: Cancel::new(),
        folder,
    };
    make_source(&job.at(&job.place("source")?)).await?;
    let source_bytes = std::fs::metadata(&clip)
        .map_err(MediaError::disk("reading a clip"))?
        .len();
    let index = analyze(&job.at(&job.place("analysis")?), source_bytes, None).await?;
    let mut parts = Parts::default();
    for (number, range) in index.shards().iter().enumerate() {
        let place = job.place(&format!("shard-{number}"))?;
        let done = encode_shard(&job.at(&place), &index, *range, false, |_| {}).await?;
        parts.shards.push((done.path, done.report));
    }
    let tracks = u32::from(spec.audio() != Audio::None);
    if parts.shards.len() < 2 || index.audio_tracks() != tracks {
        return Err(MediaError::BadOutput {
            tool: "ffprobe".into(),
            detail: format!("several shards and a track became: {}", index.note()),
        });
    }
    for track in 0..tracks {
        let place = job.place("audio")?;
        let done = encode_audio(&job.at(&place), &index, track, |_| {}).await?;
        parts.audio.push((done.path, done.report));
    }
    assemble(&job.at(&job.place("output")?), &index, false, &parts).await?;
    Ok(())
}

/// Name of the clip.
const SOURCE_FILE: &str = "clip.mkv";

/// A clip by encoders of ffmpeg's own, which every build has. Matroska's coarse
/// clock is the harder case for decode times.
async fn make_source(context: &Context<'_>) -> Result<(), MediaError> {
    let what = [
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=128x96:rate=25:duration=2",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:sample_rate=44100:duration=2",
        "-c:v",
        "mpeg4",
        "-g",
        "10",
        "-c:a",
        "aac",
        "-f",
        "matroska",
        SOURCE_FILE,
    ];
    make_clip(context, &what).await
}

/// Makes a clip by these arguments, in the folder of the step.
pub(crate) async fn make_clip(context: &Context<'_>, what: &[&str]) -> Result<(), MediaError> {
    let mut arguments = global_options(LOG_ERRORS);
    arguments.extend(strings(what));
    let mut text = TextListener::default();
    let exit = context.ffmpeg(&arguments, &mut text).await?;
    text.diagnostics.check_exit("ffmpeg", exit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_trial_tells_for_each_codec_what_works() {
        let tools = Tools::find().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for trial in try_jobs(&tools, folder.path(), &[]).await {
            assert!(trial.outcome.is_ok(), "{trial:?}");
        }

        // Two encoders give frames, and no job comes through; another crashes.
        let path = folder.path().join("ffmpeg");
        let write = |crashing: &str| {
            let script = format!(
                "#!/bin/sh\ncase \"$*\" in {crashing}) exec perl -MPOSIX -e abort;; *libx265*enc_time_base*|*enc_time_base*libx265*|*libopus*) set -- -gone 1 \"$@\";; esac\nexec {} \"$@\"\n",
                tools.ffmpeg.display()
            );
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let tools = Tools {
            ffmpeg: path.clone(),
            ..tools.clone()
        };
        write("*libsvtav1*");
        let place = tempfile::tempdir().unwrap();
        let found = find_lacks(&tools, place.path(), Vec::new()).await;
        let named = |found: &Lacks| -> Vec<String> {
            found.lacks.iter().map(|lack| lack.what.clone()).collect()
        };
        assert_eq!(named(&found), ["hevc", "opus"]);
        assert!(!found.lasting, "{found:?}");
        // What is known already is not blamed on others.
        write("none");
        let place = tempfile::tempdir().unwrap();
        let opus = Lack {
            what: "opus".into(),
            why: "it is not there".into(),
        };
        let found = find_lacks(&tools, place.path(), vec![opus]).await;
        assert_eq!(named(&found), ["opus", "hevc"]);
        assert!(
            found.lasting && found.lacks[1].why.contains("gone"),
            "{found:?}"
        );
    }
}
