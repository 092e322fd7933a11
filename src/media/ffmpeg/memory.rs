//! What a program says of itself, asked once and not for each job. A program
//! that is replaced is another one.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::limits::PROGRAMS_REMEMBERED;

/// A program as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    path: PathBuf,
    file: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl Program {
    fn at(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        Some(Program {
            path: path.to_path_buf(),
            file: (about.dev(), about.ino()),
            bytes: about.size(),
            changed: (about.mtime(), about.mtime_nsec()),
        })
    }
}

/// One fact of each program that was asked lately.
#[derive(Debug)]
pub(crate) struct Memory<T>(Mutex<Vec<(Program, T)>>);

impl<T: Clone> Memory<T> {
    pub const fn new() -> Self {
        Memory(Mutex::new(Vec::new()))
    }

    /// What was kept of a program, if it is still the same.
    pub fn recall(&self, path: &Path) -> Option<T> {
        let now = Program::at(path)?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(program, _)| *program == now);
        found.map(|(_, fact)| fact.clone())
    }

    /// Keeps what a program has said.
    pub fn keep(&self, path: &Path, fact: T) {
        let Some(now) = Program::at(path) else {
            return;
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(program, _)| program.path != now.path);
        if kept.len() == PROGRAMS_REMEMBERED {
            kept.remove(0);
        }
        kept.push((now, fact));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ffmpeg");
        std::fs::write(&path, "one").unwrap();
        let memory = Memory::new();
        assert_eq!(memory.recall(&path), None);
        memory.keep(&path, 1);
        assert_eq!(memory.recall(&path), Some(1));
        std::fs::write(&path, "another").unwrap();
        assert_eq!(memory.recall(&path), None);
        memory.keep(&path, 2);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(memory.recall(&path), None);
    }

    #[test]
    fn few_programs_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new();
        let path = |number: usize| folder.path().join(number.to_string());
        for number in 0..=PROGRAMS_REMEMBERED {
            std::fs::write(path(number), "").unwrap();
            memory.keep(&path(number), number);
        }
        assert_eq!(memory.recall(&path(0)), None);
        assert_eq!(memory.recall(&path(1)), Some(1));
    }
}
