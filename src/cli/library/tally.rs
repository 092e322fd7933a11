//! What came of many files, counted as they end and told when all have.

use std::collections::BTreeMap;

use crate::render::format::{counted, size};

/// How one file ended.
#[derive(Debug)]
pub enum FileEnd {
    /// Its output is written.
    Done {
        bytes_in: u64,
        bytes_out: u64,
    },
    /// It is left as it is, and why.
    Skipped {
        why: String,
    },
    /// An earlier run, or another program, has done it.
    Before,
    /// It went before its turn came.
    Gone,
    Failed {
        why: String,
    },
}

/// Why a file is left that is done.
pub const BEFORE: &str = "it is done already";

/// Counts of all.
#[derive(Default, Debug)]
pub struct Tally {
    done: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// How many were left, by why.
    skipped: BTreeMap<String, u64>,
    /// Each that failed, and why.
    failed: Vec<(String, String)>,
}

impl Tally {
    /// Counts one; `name` is the file's.
    pub fn add(&mut self, name: String, end: &FileEnd) {
        match end {
            FileEnd::Done {
                bytes_in,
                bytes_out,
            } => {
                self.done += 1;
                self.bytes_in += bytes_in;
                self.bytes_out += bytes_out;
            }
            FileEnd::Skipped { why } => {
                // "it is small enough: 3 MiB": the reason is before the colon.
                self.skip(why.split(": ").next().unwrap_or_default());
            }
            FileEnd::Before => self.skip(BEFORE),
            FileEnd::Gone => {}
            FileEnd::Failed { why } => self.failed.push((name, why.clone())),
        }
    }

    fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.to_string()).or_default() += 1;
    }

    pub fn failed(&self) -> u64 {
        self.failed.len() as u64
    }

    pub fn all(&self) -> u64 {
        self.done + self.skipped.values().sum::<u64>() + self.failed()
    }

    /// The lines for the end: what failed by name, then the sums.
    pub fn lines(&self) -> Vec<String> {
        let failed = self.failed.iter();
        let mut lines: Vec<String> = failed
            .map(|(name, why)| format!("failed: {name}: {why}"))
            .collect();
        let mut parts = vec![format!("{} done", self.done)];
        if !self.skipped.is_empty() {
            let left: u64 = self.skipped.values().sum();
            let whys = self
                .skipped
                .iter()
                .map(|(why, count)| format!("{count}: {why}"));
            let whys = whys.collect::<Vec<_>>().join(", ");
            parts.push(format!("{left} left as they are ({whys})"));
        }
        if !self.failed.is_empty() {
            parts.push(format!("{} failed", self.failed()));
        }
        let mut line = format!("{}: {}", counted(self.all(), "file"), parts.join(", "));
        if self.done > 0 {
            let (came, made) = (size(self.bytes_in), size(self.bytes_out));
            line.push_str(&format!("; {came} became {made}"));
            if let Some(saved) = self.bytes_in.checked_sub(self.bytes_out) {
                line.push_str(&format!(", {} saved", size(saved)));
            }
        }
        lines.push(line);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_says_what_failed_what_was_left_and_what_was_saved() {
        let mut tally = Tally::default();
        let done = FileEnd::Done {
            bytes_in: 10 << 20,
            bytes_out: 4 << 20,
        };
        let left = |why: &str| FileEnd::Skipped { why: why.into() };
        let failed = FileEnd::Failed {
            why: "no video".into(),
        };
        for end in [&done, &FileEnd::Before, &FileEnd::Gone, &failed] {
            tally.add("b.mov".into(), end);
        }
        tally.add("c".into(), &left("it is small enough: 3 MiB"));
        tally.add("d".into(), &left("it is small enough: 4 MiB"));
        assert_eq!(
            tally.lines(),
            [
                "failed: b.mov: no video",
                "5 files: 1 done, 3 left as they are (1: it is done already, 2: it is small \
                 enough), 1 failed; 10.0 MiB became 4.0 MiB, 6.0 MiB saved"
            ]
        );
        assert_eq!((tally.failed(), tally.all()), (1, 5));
    }
}
