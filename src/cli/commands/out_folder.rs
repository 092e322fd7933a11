//! Several sources and a folder for their outputs, as `cp` takes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::error::{CliError, os_reason};

/// The container where no option names one.
const CONTAINER_DEFAULT: &str = "mp4";

/// The endings of films and sounds, by which a folder's files are taken. Beside
/// a film often lie its subtitles, its picture and notes about it.
const ENDINGS: [&str; 48] = [
    "3g2", "3gp", "aac", "ac3", "aif", "aiff", "alac", "amr", "ape", "asf", "avi", "caf", "divx",
    "dts", "dv", "eac3", "f4v", "flac", "flv", "gif", "ivf", "m2t", "m2ts", "m2v", "m4a", "m4b",
    "m4v", "mka", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "mts", "mxf", "nut", "oga", "ogg",
    "ogv", "opus", "qt", "ts", "vob", "wav", "webm", "wma", "wmv",
];

/// What several sources become.
#[derive(Debug)]
pub struct Outputs {
    /// Each source with the file to write, or why there is none.
    pub pairs: Vec<(PathBuf, Result<PathBuf, CliError>)>,
    /// Files of folders whose names are no film's or sound's.
    pub passed_over: u64,
}

/// Each source with the file to write. A folder stands for the films and sounds
/// in it, but for hidden ones and those of its own folders. Sources that would
/// have the same output have none.
///
/// # Errors
/// [`CliError::Usage`] for a folder that is none, and
/// [`CliError::SourceUnfit`] for one without films.
pub fn outputs(
    sources: &[PathBuf],
    folder: &Path,
    container: Option<&str>,
) -> Result<Outputs, CliError> {
    if !folder.is_dir() {
        return Err(CliError::usage(
            format!("{} is no folder", folder.display()),
            "several sources take a folder as OUT: make it first".to_string(),
        ));
    }
    let (mut files, mut passed_over) = (Vec::new(), 0);
    for source in sources {
        match source.is_dir() {
            true => {
                let (films, others) = films_in(source)?;
                files.extend(films);
                passed_over += others;
            }
            false => files.push(source.clone()),
        }
    }
    let out = |source: &Path| {
        let mut name = source.file_stem().unwrap_or_default().to_os_string();
        name.push(".");
        name.push(container.unwrap_or(CONTAINER_DEFAULT));
        folder.join(name)
    };
    let mut wanted: BTreeMap<PathBuf, u32> = BTreeMap::new();
    for source in &files {
        *wanted.entry(out(source)).or_default() += 1;
    }
    let pairs = files.into_iter().map(|source| {
        let out = out(&source);
        let alone = wanted[&out] == 1;
        let pair = alone.then_some(out.clone()).ok_or_else(|| clash(&out));
        (source, pair)
    });
    Ok(Outputs {
        pairs: pairs.collect(),
        passed_over,
    })
}

fn clash(out: &Path) -> CliError {
    CliError::usage(
        format!("several sources would be written to {}", out.display()),
        "transcode each of them by itself, to a name of its own",
    )
}

/// The films and sounds in a folder, by name, and how many other files it has.
fn films_in(folder: &Path) -> Result<(Vec<PathBuf>, u64), CliError> {
    let unfit = |cause: String| CliError::SourceUnfit {
        path: folder.to_path_buf(),
        cause,
        hint: "name a folder with films in it, or the files themselves".into(),
    };
    let listed: Result<Vec<_>, _> = std::fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    });
    let mut files = listed.map_err(|error| unfit(os_reason(&error)))?;
    let hidden = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
    };
    files.retain(|path| path.is_file() && !hidden(path));
    let (mut films, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|path| is_film(path));
    films.sort();
    match films.is_empty() {
        true => Err(unfit("no file in it has a film's or a sound's name".into())),
        false => Ok((films, others.len() as u64)),
    }
}

fn is_film(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ENDINGS
        .iter()
        .any(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_source_has_an_output_of_its_own_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let films = folder.path().join("films");
        let out = folder.path().join("out");
        std::fs::create_dir(&films).unwrap();
        std::fs::create_dir(films.join("below")).unwrap();
        for name in ["B.MOV", "a.mkv", "a.srt", "B.jpg", ".hidden.mkv"] {
            std::fs::write(films.join(name), "x").unwrap();
        }
        let sources = [films.clone(), "c.film.avi".into()];
        let refused = outputs(&sources, &out, None).unwrap_err();
        assert!(refused.hint().contains("folder"), "{refused}");
        std::fs::create_dir(&out).unwrap();
        let found = outputs(&sources, &out, Some("webm")).unwrap();
        let wanted = [
            (films.join("B.MOV"), out.join("B.webm")),
            (films.join("a.mkv"), out.join("a.webm")),
            ("c.film.avi".into(), out.join("c.film.webm")),
        ];
        let pairs = found.pairs.into_iter();
        let pairs: Vec<_> = pairs.map(|(film, out)| (film, out.unwrap())).collect();
        assert_eq!(pairs, wanted);
        assert_eq!(found.passed_over, 2);
        let twice = [films.clone(), "a.mov".into(), "named.bin".into()];
        let pairs = outputs(&twice, &out, None).unwrap().pairs;
        let made: Vec<_> = pairs.iter().map(|(_, out)| out.is_ok()).collect();
        assert_eq!(made, [true, false, false, true]);
        let clash = pairs[1].1.as_ref().unwrap_err();
        assert!(clash.to_string().contains("a.mp4"), "{clash}");
        let empty = films.join("below");
        assert!(outputs(&[empty], &out, None).is_err());
    }
}
