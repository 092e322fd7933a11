//! Where ffmpeg and ffprobe are. Not here: what they can do; see `encoders.rs`.

use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use crate::error::MediaError;

/// The two programs that this crate runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// Absolute path of ffmpeg.
    pub ffmpeg: PathBuf,
    /// Absolute path of ffprobe.
    pub ffprobe: PathBuf,
}

impl Tools {
    /// Uses `REELRAFT_FFMPEG` and `REELRAFT_FFPROBE`, otherwise searches
    /// `PATH`.
    ///
    /// # Errors
    /// [`MediaError::ToolMissing`] names the missing one, and
    /// [`MediaError::NoProgram`] what a variable names that is no program.
    pub fn find() -> Result<Tools, MediaError> {
        Ok(Tools {
            ffmpeg: locate("ffmpeg", "REELRAFT_FFMPEG")?,
            ffprobe: locate("ffprobe", "REELRAFT_FFPROBE")?,
        })
    }
}

fn locate(tool: &'static str, variable: &'static str) -> Result<PathBuf, MediaError> {
    let named = std::env::var_os(variable).filter(|value| !value.is_empty());
    if let Some(named) = named {
        let path = Path::new(&named);
        return runnable(path).ok_or_else(|| MediaError::NoProgram {
            variable,
            path: path.display().to_string(),
        });
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&folders).map(|folder| folder.join(tool));
    candidates
        .find_map(|path| runnable(&path))
        .ok_or(MediaError::ToolMissing { tool })
}

/// The whole path of a program. Children run in folders of their own, where a
/// relative path would be another file or none.
fn runnable(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let text = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: a plain system call on a string that outlives it.
    let allowed = unsafe { libc::access(text.as_ptr(), libc::X_OK) } == 0;
    (path.is_file() && allowed).then_some(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_executable_and_named_by_its_whole_path() {
        let here = std::env::current_dir().unwrap();
        let folder = tempfile::tempdir_in(&here).unwrap();
        let own = folder.path().file_name().unwrap();
        let relative = Path::new(own).join("ffmpeg");
        std::fs::write(&relative, "").unwrap();
        std::fs::set_permissions(&relative, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(runnable(&relative), None);
        std::fs::set_permissions(&relative, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(runnable(&relative), Some(folder.path().join("ffmpeg")));
        assert_eq!(runnable(folder.path()), None);
    }
}
