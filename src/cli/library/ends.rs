//! What commands say of many files, and what they hear of each: where outputs go,
//! what a file is, how it ended, and how far an error reaches.

use std::path::PathBuf;

use reelraft_proto::v1::Job;

use crate::{
    error::CliError,
    exit,
    library::{replace::Keep, tally::FileEnd, walk::Found},
};

/// Where outputs go.
pub enum Target {
    Folder(PathBuf),
    /// In place of their sources.
    Source(Keep),
}

/// What is done where an output's name is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Skip,
    Overwrite,
    /// The output gets a number.
    Number,
}

/// When a file that is done is done again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Redo {
    Never,
    /// When its output is gone.
    OutputGone,
    /// When its output is gone, and the source was removed and has come back. One
    /// that is to be `deleted` is left where only its output is gone.
    BackAndOutputGone {
        deleted: bool,
    },
}

/// A file to be done: a film in a folder, or what a URL names.
#[derive(Clone, Debug)]
pub struct Item {
    pub film: Found,
    pub url: Option<String>,
    /// The user named this very file: it may be a link, and must be there.
    pub named: bool,
}

impl Item {
    /// What it is called for people: of a URL's query, which may be a signature,
    /// nothing is shown.
    pub fn name(&self) -> PathBuf {
        match &self.url {
            Some(url) => url.split(['?', '#']).next().unwrap_or(url).into(),
            None => self.film.path(),
        }
    }

    /// A film of a folder.
    pub fn found(film: Found) -> Self {
        Item {
            film,
            url: None,
            named: false,
        }
    }
}

/// What came of one.
#[derive(Debug)]
pub struct Ended {
    pub end: FileEnd,
    pub out: Option<PathBuf>,
    pub job: Option<Box<Job>>,
}

impl Ended {
    /// It was done before.
    pub fn before() -> Self {
        Ended {
            end: FileEnd::Before,
            out: None,
            job: None,
        }
    }

    /// It is left as it is.
    pub fn skipped(why: impl Into<String>) -> Self {
        Ended {
            end: FileEnd::Skipped { why: why.into() },
            out: None,
            job: None,
        }
    }
}

/// What an error means for the other files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// It is of this file.
    File,
    /// It passes when others have been done, or when somebody makes room.
    Room,
    /// No file could be done.
    All,
}

/// How far an error reaches.
pub fn scope_of(error: &CliError) -> Scope {
    match error.kind() {
        "too-many-uploads" | "too-many-jobs" | "too-many-bytes" | "disk-full" => Scope::Room,
        "bad-spec" | "forbidden" | "unauthenticated" | "permission-denied" | "encoder-missing"
        | "mixed-versions" | "interrupted" | "output-closed" => Scope::All,
        _ if error.exit_code() == exit::UNREACHABLE => Scope::All,
        _ => Scope::File,
    }
}

/// The same for files that go to `target`. In place each film has a spec of its
/// own, by its container, and what one can't have another may.
pub fn scope_for(error: &CliError, target: &Target) -> Scope {
    match (target, error.kind()) {
        (Target::Source(_), "bad-spec" | "encoder-missing") => Scope::File,
        _ => scope_of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stops_one_file_or_all() {
        let refused = |kind: &str| CliError::node(kind, "cause", "hint");
        let unreachable = CliError::Unreachable {
            endpoints: "a:1".into(),
        };
        for (error, scope) in [
            (refused("disk-full"), Scope::Room),
            (refused("bad-spec"), Scope::All),
            (unreachable, Scope::All),
            (refused("too-large"), Scope::File),
            (CliError::JobCancelled { job: "j".into() }, Scope::File),
        ] {
            assert_eq!(scope_of(&error), scope, "{error}");
        }
        let in_place = Target::Source(Keep {
            time: std::time::Duration::ZERO,
            hard_links: false,
        });
        for (kind, scope) in [
            ("bad-spec", Scope::File),
            ("encoder-missing", Scope::File),
            ("forbidden", Scope::All),
            ("disk-full", Scope::Room),
        ] {
            assert_eq!(scope_for(&refused(kind), &in_place), scope, "{kind}");
        }
    }
}
