//! Where ffmpeg and ffprobe are. Not here: what they can do; see `encoders.rs`.

use std::{
    ffi::CString,
    io::Read,
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

/// Whether a program is linked statically: an ELF file of 64 bits that names no
/// interpreter.
pub(crate) fn is_static(program: &Path) -> bool {
    let head = std::fs::File::open(program).and_then(|file| {
        let mut head = Vec::new();
        file.take(ELF_HEAD_BYTES).read_to_end(&mut head)?;
        Ok(head)
    });
    head.is_ok_and(|head| names_interpreter(&head) == Some(false))
}

/// Bytes that hold an ELF file's header and its table of segments.
const ELF_HEAD_BYTES: u64 = 4096;

/// Whether the table of segments has one for an interpreter; `None` for what is
/// no such file.
fn names_interpreter(head: &[u8]) -> Option<bool> {
    const INTERPRETER: usize = 3;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let field = head.get(at..at.checked_add(bytes)?)?;
        let digits = field.iter().rev();
        Some(digits.fold(0, |value, &digit| value << 8 | usize::from(digit)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for segment in 0..count {
        let at = table.checked_add(segment * size)?;
        if number(at, 4)? == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_without_an_interpreter_is_static() {
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 2);
        elf[64] = 1;
        assert_eq!(names_interpreter(&elf), Some(false));
        elf[64 + 56] = 3;
        assert_eq!(names_interpreter(&elf), Some(true));
        elf.truncate(100);
        assert_eq!(names_interpreter(&elf), None);
        assert_eq!(names_interpreter(b"#!/bin/sh"), None);
        assert!(!is_static(&std::env::current_exe().unwrap()));
    }

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
