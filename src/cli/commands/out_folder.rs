//! Several sources and a folder for their outputs, as `cp` takes them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::error::{CliError, os_reason};

/// The container where no option names one.
const CONTAINER_DEFAULT: &str = "mp4";

/// Each source with the file to write. A folder stands for the files in it, but
/// for hidden ones and those of its own folders.
///
/// # Errors
/// [`CliError::Usage`] for a folder that is none, one without files, and two
/// sources that would have the same output.
pub fn outputs(
    sources: &[PathBuf],
    folder: &Path,
    container: Option<&str>,
) -> Result<Vec<(PathBuf, PathBuf)>, CliError> {
    if !folder.is_dir() {
        return Err(CliError::usage(
            format!("{} is no folder", folder.display()),
            "several sources take a folder as OUT: make it first".to_string(),
        ));
    }
    let mut files = Vec::new();
    for source in sources {
        match source.is_dir() {
            true => files.extend(files_in(source)?),
            false => files.push(source.clone()),
        }
    }
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    for source in files {
        let mut name = source.file_stem().unwrap_or_default().to_os_string();
        name.push(".");
        name.push(container.unwrap_or(CONTAINER_DEFAULT));
        let out = folder.join(name);
        if !taken.insert(out.clone()) {
            return Err(CliError::usage(
                format!("two sources would be written to {}", out.display()),
                "transcode one of them by itself, to another name".to_string(),
            ));
        }
        pairs.push((source, out));
    }
    Ok(pairs)
}

/// The files in a folder, by name.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unfit = |cause: String| CliError::SourceUnfit {
        path: folder.to_path_buf(),
        cause,
        hint: "name a folder with films in it".into(),
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
    files.sort();
    match files.is_empty() {
        true => Err(unfit("there is no file in it".into())),
        false => Ok(files),
    }
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
        for name in ["b.mov", "a.mkv", ".hidden"] {
            std::fs::write(films.join(name), "x").unwrap();
        }
        let sources = [films.clone(), "c.film.avi".into()];
        let refused = outputs(&sources, &out, None).unwrap_err();
        assert!(refused.hint().contains("folder"), "{refused}");
        std::fs::create_dir(&out).unwrap();
        let pairs = outputs(&sources, &out, Some("webm")).unwrap();
        let wanted = [
            (films.join("a.mkv"), out.join("a.webm")),
            (films.join("b.mov"), out.join("b.webm")),
            ("c.film.avi".into(), out.join("c.film.webm")),
        ];
        assert_eq!(pairs, wanted);
        let twice = [films.clone(), "a.mov".into()];
        assert!(outputs(&twice, &out, None).is_err());
        let empty = films.join("below");
        assert!(outputs(&[empty], &out, None).is_err());
    }
}
