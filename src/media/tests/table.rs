//! The oracle as a table: what becomes of every file with this ffmpeg, beside
//! what became of it with the others that were tried before.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    pictures::lossless,
    world::{self, Clip, World},
};
use reelraft_media::Class;
use reelraft_model::spec::Spec;

/// Clips that are made here, of each kind of container and clock.
const MADE: [&str; 15] = [
    "h264.mp4",
    "open.ts",
    "vfr.mkv",
    "vp9.webm",
    "vorbis.webm",
    "mpeg4.avi",
    "mpeg2.ts",
    "late.mp4",
    "edit.mp4",
    "intra.mov",
    "one.mp4",
    "many.mkv",
    "hollow.mkv",
    "silent.mp4",
    "cover.mp3",
];

/// What becomes of a file: `equal`, the kind of its refusal, or what differs
/// from the reference.
fn verdict(world: &World, clip: &Clip, spec: &Spec) -> String {
    let job = match world.try_job(clip, spec) {
        Ok(job) => job,
        // The tool's own fault, and told as that.
        Err(error) if error.class() == Class::Work && error.kind() != "ffmpeg-crashed" => {
            return format!("FAILED {}: {error}", error.kind());
        }
        Err(error) => return error.kind().into(),
    };
    let reference = match job.try_reference() {
        Ok(reference) => reference,
        Err(said) => return format!("DIFFERS: the reference fails: {}", said.trim()),
    };
    let (ours, theirs) = (job.frames(), world.frames(&reference));
    if ours != theirs {
        let first = ours.iter().zip(&theirs).find(|(a, b)| a != b);
        let (ours, theirs) = (ours.len(), theirs.len());
        // One pass over all tracks ends where the first of them does.
        if ours > theirs && job.note.contains(" ends after ") {
            return "more than the reference, a track ends early".into();
        }
        return format!("DIFFERS: {ours} and {theirs} pictures, first {first:?}");
    }
    let sound = |path: &Path| world.samples(path, "a:0", 0.0);
    let (ours, theirs) = (sound(&job.output), sound(&reference));
    if ours != theirs {
        let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        let (ours, theirs) = (ours.len(), theirs.len());
        return format!("DIFFERS: {ours} and {theirs} samples, first {at:?}");
    }
    "equal".into()
}

/// The version that a program says.
fn version(program: &Path) -> String {
    let said = Command::new(program).arg("-version").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    said.split_whitespace().nth(2).unwrap().to_string()
}

/// Where the tables are, one for each version and kind of job.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../oracle")
}

/// A table on disk, complete after each file, so that a run that was stopped can
/// be taken up again.
struct Table {
    path: PathBuf,
    rows: BTreeMap<String, String>,
}

impl Table {
    /// The rows that count: with `ONLY` or `RESUME` those of earlier runs too.
    fn open(own: &str, kind: &str) -> Table {
        std::fs::create_dir_all(folder()).unwrap();
        let path = folder().join(format!("{own}.{kind}.tsv"));
        let keep = ["ONLY", "RESUME"].map(std::env::var_os);
        let text = match keep.iter().any(Option::is_some) {
            true => std::fs::read_to_string(&path).unwrap_or_default(),
            false => String::new(),
        };
        let rows = text.lines().filter_map(|row| row.split_once('\t'));
        let rows = rows.map(|(file, verdict)| (file.into(), verdict.into()));
        Table {
            path,
            rows: rows.collect(),
        }
    }

    fn put(&mut self, file: &str, verdict: String) {
        self.rows.insert(file.into(), verdict);
        let rows = self.rows.iter();
        let text: String = rows
            .map(|(file, said)| format!("{file}\t{said}\n"))
            .collect();
        std::fs::write(&self.path, text).unwrap();
    }
}

/// What becomes of a file, be it that the comparison itself fails.
fn any_verdict(world: &World, clip: &Clip, spec: &Spec) -> String {
    let tried = std::panic::AssertUnwindSafe(|| verdict(world, clip, spec));
    let verdict = std::panic::catch_unwind(tried).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        format!("DIFFERS: can't be compared: {said}")
    });
    verdict.replace(['\t', '\n'], " ")
}

/// Makes a job of every file, says what came of it, and of which files something
/// else came with another version.
fn every_file(kind: &str, spec: &Spec) {
    let world = World::new();
    let own = version(&world.tools.ffmpeg);
    let only = std::env::var("ONLY").unwrap_or_default();
    let resume = std::env::var_os("RESUME").is_some();
    let made = MADE.iter().filter(|name| name.contains(&only));
    let mut clips: Vec<Clip> = made.map(|name| world.made(name)).collect();
    let real = world::real();
    clips.extend(real.iter().flat_map(|real| world::all(real)));
    let mut table = Table::open(&own, kind);
    for clip in &clips {
        if resume && table.rows.contains_key(&clip.name) {
            continue;
        }
        let verdict = any_verdict(&world, clip, spec);
        println!("{}\t{own}\t{verdict}", clip.name);
        table.put(&clip.name, verdict);
    }
    print_differences(kind);
    let wrong: Vec<(&String, &String)> = table
        .rows
        .iter()
        .filter(|(_, verdict)| {
            ["DIFFERS", "FAILED"]
                .iter()
                .any(|bad| verdict.starts_with(bad))
        })
        .collect();
    assert!(wrong.is_empty(), "{own}: {wrong:#?}");
}

/// Prints the files of which not the same came with all versions.
fn print_differences(kind: &str) {
    let mut by_file: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let ending = format!(".{kind}.tsv");
    for entry in std::fs::read_dir(folder()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(version) = name.strip_suffix(&ending) else {
            continue;
        };
        let table = std::fs::read_to_string(entry.path()).unwrap();
        for (file, verdict) in table.lines().filter_map(|row| row.split_once('\t')) {
            let row = (version.to_string(), verdict.to_string());
            by_file.entry(file.into()).or_default().push(row);
        }
    }
    for (file, mut verdicts) in by_file {
        verdicts.sort();
        if verdicts.iter().any(|(_, other)| *other != verdicts[0].1) {
            println!("not the same: {file}");
            for (version, verdict) in verdicts {
                println!("    {version:<24} {verdict}");
            }
        }
    }
}

/// Cut finely.
#[test]
#[ignore = "many minutes: make oracle"]
fn every_file_is_encoded_as_the_reference_encodes_it() {
    let spec = lossless(|request| request.audio = "flac".into());
    every_file("plain", &spec);
}

/// Through the filters that reach beyond a picture, cut finely.
#[test]
#[ignore = "many minutes: make oracle"]
fn every_file_is_filtered_as_the_reference_filters_it() {
    let spec = lossless(|request| {
        request.width = Some(160);
        request.deinterlace = "on".into();
        request.fps = Some((24_000, 1_001));
    });
    every_file("filtered", &spec);
}
