//! A small world for tests: sources, jobs run step by step as a cluster would,
//! and the reference to compare with.

mod clips;
mod real;
pub mod server;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use reelraft_media::{
    Assembled, Cancel, Context, Index, Input, MediaError, Parts, ShardRange, Tools, analyze,
    assemble, encode_audio, encode_shard, reference, take_extras,
};
use reelraft_model::spec::{Spec, SpecRequest, resolve};

pub use real::{all, real};

/// A source.
#[derive(Clone)]
pub struct Clip {
    pub name: String,
    pub path: PathBuf,
}

pub struct World {
    pub tools: Tools,
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    /// What was read of files that no longer change.
    packets: Mutex<HashMap<PathBuf, Vec<Packets>>>,
}

/// The packets of one stream.
struct Packets {
    kind: String,
    time_base: String,
    times: Vec<Option<i64>>,
}

/// A finished job, or what is left of one.
pub struct Job<'w> {
    pub world: &'w World,
    pub clip: Clip,
    pub spec: Spec,
    pub index: Index,
    pub shards: usize,
    pub parts: Parts,
    pub note: String,
    pub single: bool,
    pub output: PathBuf,
    pub proof: serde_json::Value,
    folder: tempfile::TempDir,
}

pub fn spec(words: &[(&str, &str)]) -> Spec {
    let mut request = SpecRequest::default();
    for (key, value) in words {
        match *key {
            "codec" => request.codec = value.to_string(),
            "container" => request.container = value.to_string(),
            "preset" => request.preset = value.to_string(),
            "audio" => request.audio = value.to_string(),
            "width" => request.width = Some(value.parse().unwrap()),
            "pix_fmt" => request.pix_fmt = value.to_string(),
            "fps" => {
                let (num, den) = value.split_once('/').unwrap_or((value, "1"));
                request.fps = Some((num.parse().unwrap(), den.parse().unwrap()));
            }
            "shard_ms" => request.shard_ms = Some(value.parse().unwrap()),
            "audio_tracks" => {
                request.audio_tracks = value.split(',').map(|n| n.parse().unwrap()).collect();
            }
            "audio_bitrate" => request.audio_bitrate = Some(value.parse().unwrap()),
            "loudness" => request.loudness_mlufs = Some(value.parse().unwrap()),
            "subtitles" => request.subtitles = value.to_string(),
            "strip" => request.strip_metadata = *value == "yes",
            "keep_location" => request.keep_location = *value == "yes",
            "program" => request.program = Some(value.parse().unwrap()),
            "video_track" => request.video_track = Some(value.parse().unwrap()),
            "ignore_dolby_vision" => request.ignore_dolby_vision = *value == "yes",
            "deinterlace" => request.deinterlace = value.to_string(),
            "denoise" => request.denoise = value.to_string(),
            "measure" => request.amount.measure = *value == "yes",
            "keyint" => request.encoder_choice.keyint_milli = value.parse().unwrap(),
            "tune" => request.encoder_choice.tune = value.to_string(),
            "brightness" => request.brightness_milli = Some(value.parse().unwrap()),
            _ => panic!("{key}"),
        }
    }
    resolve(&request).unwrap()
}

/// FFV1 in Matroska, sound as FLAC would be too slow to compare: left out.
pub fn lossless() -> Spec {
    spec(&[("codec", "ffv1"), ("container", "mkv"), ("audio", "none")])
}

/// The steps of one job, each in a folder of its own.
struct Steps<'a> {
    tools: &'a Tools,
    input: &'a Input,
    spec: &'a Spec,
    cancel: &'a Cancel,
    folder: &'a Path,
}

impl Steps<'_> {
    fn place(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn at<'b>(&'b self, work_dir: &'b Path) -> Context<'b> {
        Context {
            tools: self.tools,
            input: self.input,
            spec: self.spec,
            work_dir,
            cancel: self.cancel,
        }
    }

    /// What is made once, whatever becomes of the shards.
    async fn sound_and_extras(&self, index: &Index) -> Result<Parts, MediaError> {
        let mut parts = Parts::default();
        for track in 0..index.audio_tracks() {
            let place = self.place(&format!("audio-{track}"));
            let done = encode_audio(&self.at(&place), index, track, &|_| {}).await?;
            parts.audio.push((done.path, done.report));
        }
        if index.has_extras() {
            let place = self.place("extras");
            let done = take_extras(&self.at(&place), index).await?;
            parts.extras = Some((done.path, done.report));
        }
        Ok(parts)
    }

    async fn shards_and_output(
        &self,
        index: &Index,
        ranges: &[ShardRange],
        single: bool,
        parts: &mut Parts,
    ) -> Result<Assembled, MediaError> {
        parts.shards.clear();
        for (number, range) in ranges.iter().enumerate() {
            let place = self.place(&format!("shard{number}-{single}"));
            let done = encode_shard(&self.at(&place), index, *range, single, &|_| {}).await?;
            parts.shards.push((done.path, done.report));
        }
        let place = self.place(&format!("assemble-{single}"));
        assemble(&self.at(&place), index, single, parts).await
    }

    async fn all(&self, source_bytes: u64) -> Result<Made, MediaError> {
        let place = self.place("analyze");
        let index = analyze(&self.at(&place), source_bytes).await?;
        let index = Index::from_bytes(&index.to_bytes()).unwrap();
        let mut parts = self.sound_and_extras(&index).await?;
        let ranges = index.shards(); // None in sound alone.
        let first = self.shards_and_output(&index, ranges, false, &mut parts);
        let (note, single, output) = match first.await {
            Ok(output) => (index.note(), false, output),
            Err(MediaError::PlanMismatch { detail }) => {
                let whole = [ShardRange {
                    from_pts: ranges[0].from_pts,
                    to_pts: ranges[ranges.len() - 1].to_pts,
                    frames: 0,
                }];
                let second = self.shards_and_output(&index, &whole, true, &mut parts);
                (detail, true, second.await?)
            }
            Err(error) => return Err(error),
        };
        let note = match output.note.as_str() {
            "" => note,
            more => format!("{note}; {more}"),
        };
        Ok(Made {
            index,
            parts,
            note,
            single,
            output,
        })
    }
}

/// What the steps gave.
struct Made {
    index: Index,
    parts: Parts,
    note: String,
    single: bool,
    output: Assembled,
}

impl World {
    pub fn new() -> World {
        World::with(Tools::find().unwrap())
    }

    pub fn with(tools: Tools) -> World {
        World {
            tools,
            folder: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            packets: Mutex::default(),
        }
    }

    /// A clip by its recipe.
    pub fn made(&self, name: &str) -> Clip {
        self.made_by(name, &clips::recipe(name))
    }

    /// A clip by ffmpeg's options, parted by spaces; made once for all tests.
    pub fn made_by(&self, name: &str, options: &str) -> Clip {
        Clip {
            name: name.to_string(),
            path: clips::kept(&self.tools, name, options),
        }
    }

    /// The same for options that name files of this world.
    pub fn made_from(&self, name: &str, options: &str) -> Clip {
        let clip = self.clip(name);
        clips::make(&self.tools, self.folder.path(), options, &clip.path);
        clip
    }

    /// Writes a file.
    pub fn written(&self, name: &str, bytes: impl AsRef<[u8]>) -> Clip {
        let clip = self.clip(name);
        std::fs::write(&clip.path, bytes).unwrap();
        clip
    }

    fn clip(&self, name: &str) -> Clip {
        Clip {
            name: name.to_string(),
            path: self.folder.path().join(name),
        }
    }

    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Analyses, encodes each shard in its own folder, assembles: as the
    /// cluster would, with its collapse to one shard.
    pub fn try_job(&self, clip: &Clip, spec: &Spec) -> Result<Job<'_>, MediaError> {
        self.try_job_from(Input::File(clip.path.clone()), clip, spec)
    }

    pub fn try_job_from(
        &self,
        input: Input,
        clip: &Clip,
        spec: &Spec,
    ) -> Result<Job<'_>, MediaError> {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let steps = Steps {
            tools: &self.tools,
            input: &input,
            spec,
            cancel: &Cancel::new(),
            folder: folder.path(),
        };
        let source_bytes = std::fs::metadata(&clip.path).unwrap().len();
        let made = self.runtime.block_on(steps.all(source_bytes))?;
        Ok(Job {
            world: self,
            clip: clip.clone(),
            spec: spec.clone(),
            index: made.index,
            shards: made.parts.shards.len(),
            parts: made.parts,
            note: made.note,
            single: made.single,
            output: made.output.path,
            proof: serde_json::from_slice(&made.output.proof).unwrap(),
            folder,
        })
    }

    pub fn job(&self, clip: &Clip, spec: &Spec) -> Job<'_> {
        self.try_job(clip, spec)
            .unwrap_or_else(|error| panic!("{}: {}: {error}", clip.name, error.kind()))
    }

    /// Every frame's time and hash, decoded from a file.
    pub fn frames(&self, path: &Path) -> Vec<String> {
        let out = Command::new(&self.tools.ffmpeg)
            .args(["-nostdin", "-v", "error", "-copyts", "-i"])
            .arg(format!("file:{}", path.display()))
            .args([
                "-map",
                "0:v:0",
                "-fps_mode",
                "passthrough",
                // From 7 on it would count in frames where a rate is known.
                "-enc_time_base:v",
                "1:1000000",
                "-f",
                "framemd5",
                "-",
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(
            out.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let fields: Vec<&str> = line.split(',').map(str::trim).collect();
                // Durations of frames are no promise; times and pictures are.
                format!("{} {}", fields[2], fields[5])
            })
            .collect()
    }

    /// What ffprobe shows of the first video stream and its first frame.
    pub fn show(&self, path: &Path, entries: &str) -> String {
        let out = Command::new(&self.tools.ffprobe)
            .args(["-v", "error", "-select_streams", "v:0"])
            .args(["-read_intervals", "%+#1", "-show_entries", entries])
            .args(["-of", "default=nw=1"])
            .arg(format!("file:{}", path.display()))
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    /// Luma of the first frame's first row, 8 bits a pixel.
    pub fn first_luma(&self, path: &Path, width: usize) -> Vec<u8> {
        let out = Command::new(&self.tools.ffmpeg)
            .args(["-nostdin", "-v", "error", "-i"])
            .arg(format!("file:{}", path.display()))
            .args([
                "-frames:v",
                "1",
                "-pix_fmt",
                "yuv420p",
                "-f",
                "rawvideo",
                "-",
            ])
            .output()
            .unwrap();
        out.stdout[..width].to_vec()
    }

    /// What ffprobe shows of a file: `entries` as it takes them.
    pub fn shown(&self, path: &Path, entries: &str) -> serde_json::Value {
        let out = Command::new(&self.tools.ffprobe)
            .args(["-v", "error", "-of", "json", "-show_entries", entries])
            .arg(format!("file:{}", path.display()))
            .output()
            .unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// A stream's decoded sound as 16 bit samples at 48 kHz, mixed to one
    /// channel; from `at` seconds on.
    pub fn samples(&self, path: &Path, stream: &str, at: f64) -> Vec<i16> {
        let out = Command::new(&self.tools.ffmpeg)
            .args(["-nostdin", "-v", "fatal", "-ss", &at.to_string(), "-i"])
            .arg(format!("file:{}", path.display()))
            .args(["-map", &format!("0:{stream}"), "-ac", "1", "-ar", "48000"])
            .args(["-f", "s16le", "-"])
            .output()
            .unwrap();
        out.stdout
            .chunks_exact(2)
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// What a decoder has to say about a file.
    pub fn complaints(&self, path: &Path) -> String {
        let out = Command::new(&self.tools.ffmpeg)
            .args(["-nostdin", "-v", "warning", "-i"])
            .arg(format!("file:{}", path.display()))
            .args("-fps_mode passthrough -enc_time_base:v 1:1000000 -f null -".split(' '))
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stderr).into_owned()
    }

    /// Times of a stream's packets, rising, with its time base first. A file
    /// is read once for all its streams.
    pub fn packet_times(&self, path: &Path, stream: &str) -> (String, Vec<i64>) {
        let mut known = self.packets.lock().unwrap();
        let streams = known
            .entry(path.to_path_buf())
            .or_insert_with(|| self.read_packets(path));
        let (kind, number) = stream.split_once(':').unwrap();
        let kind = match kind {
            "v" => "video",
            "a" => "audio",
            _ => panic!("{stream}"),
        };
        let mut own = streams.iter().filter(|own| own.kind == kind);
        let own = own.nth(number.parse().unwrap()).unwrap();
        let times = own.times.iter().map(|time| time.unwrap());
        (own.time_base.clone(), times.collect())
    }

    fn read_packets(&self, path: &Path) -> Vec<Packets> {
        let entries = "stream=index,codec_type,time_base:packet=stream_index,pts";
        let shown = self.shown(path, entries);
        let packets = shown["packets"].as_array().unwrap();
        let streams = shown["streams"].as_array().unwrap().iter();
        streams
            .map(|own| {
                let packets = packets.iter();
                let mut times: Vec<Option<i64>> = packets
                    .filter(|packet| packet["stream_index"] == own["index"])
                    .map(|packet| packet["pts"].as_i64())
                    .collect();
                times.sort_unstable();
                Packets {
                    kind: own["codec_type"].as_str().unwrap().to_string(),
                    time_base: own["time_base"].as_str().unwrap().to_string(),
                    times,
                }
            })
            .collect()
    }
}

impl Job<'_> {
    pub fn frames(&self) -> Vec<String> {
        self.world.frames(&self.output)
    }

    /// Runs the reference command.
    pub fn reference_file(&self) -> PathBuf {
        let made = self.try_reference();
        made.unwrap_or_else(|said| panic!("{}: {said}", self.clip.name))
    }

    /// The same, or what it says where it fails.
    pub fn try_reference(&self) -> Result<PathBuf, String> {
        let name = self.output.file_name().unwrap();
        let path = self.folder.path().join("reference");
        std::fs::create_dir_all(&path).unwrap();
        let path = path.join(name);
        if !path.exists() {
            let args = reference(
                &self.index,
                &self.spec,
                self.single,
                &format!("file:{}", self.clip.path.display()),
                &path.to_string_lossy(),
            );
            let done = Command::new(&self.world.tools.ffmpeg)
                // Without it a static one crashes on broadcasts.
                .env("GCONV_PATH", "/nonexistent")
                .args(["-v", "fatal"])
                .args(&args[1..])
                .output()
                .unwrap();
            if !done.status.success() {
                return Err(String::from_utf8_lossy(&done.stderr).into_owned());
            }
        }
        Ok(path)
    }

    pub fn reference_frames(&self) -> Vec<String> {
        self.world.frames(&self.reference_file())
    }
}
