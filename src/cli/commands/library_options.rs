//! Options of commands that do many files: how they are found, which are left,
//! what becomes of outputs that are there, and of originals.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::TypedValueParser};

use crate::{
    commands::duration::duration,
    error::CliError,
    library::{
        care::Care,
        ends::Existing,
        replace::Keep,
        rules::{Below, Rules, below},
        walk::{Takes, Walk},
    },
    limits::{FILES_AT_ONCE, FILES_AT_ONCE_MAX},
    spec_options::{SpecArgs, codec},
};

/// How many files are done, and which.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Many files")]
pub struct LibraryArgs {
    /// Files done at a time
    #[arg(long, value_name = "COUNT", default_value_t = FILES_AT_ONCE,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(FILES_AT_ONCE_MAX)))]
    pub at_once: u16,
    /// Follow links to files and folders; they are passed over otherwise
    #[arg(long)]
    pub follow_links: bool,
    /// Try files again that failed in an earlier run
    #[arg(long)]
    pub retry_failed: bool,
    /// Delete each job once its output is written; the nodes keep outputs otherwise
    #[arg(long)]
    pub delete_jobs: bool,
    /// Where sources are replaced, moved or deleted, damaged and cut off films fail
    /// (--strict); with this they are made as far as they can be decoded
    #[arg(long)]
    pub allow_damaged: bool,
    /// Leave films whose pictures have this codec already (mp4, mov, mkv, webm);
    /// several with commas
    #[arg(long, value_name = "CODEC,…", value_delimiter = ',', value_parser = any_codec())]
    pub skip_codec: Vec<String>,
    /// Leave films below this size, such as 700M, or bit rate, such as 2.5Mbps
    #[arg(long, value_name = "SIZE|BITRATE", value_parser = below)]
    pub skip_below: Option<Below>,
    /// Keep an output only if it is smaller than its source by so many percent
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "0",
          require_equals = true, value_parser = clap::value_parser!(u32).range(0..100))]
    pub only_if_smaller: Option<u32>,
}

/// What `--replace` does with originals.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "In place")]
pub struct InPlaceArgs {
    /// Put each output in the place of its source, atomically; name, times, owner
    /// and permissions stay. IN are films, or folders of them
    #[arg(long, conflicts_with_all = ["to", "overwrite", "skip_existing"])]
    pub replace: bool,
    /// How long originals are kept in .reelraft/originals of their folder; 0: not
    /// at all
    #[arg(long, value_name = "TIME", default_value = "7d", requires = "replace",
          value_parser = duration)]
    pub keep_original: Duration,
    /// Replace films that have other names (hard links), which then keep the
    /// original
    #[arg(long, requires = "replace")]
    pub replace_hard_links: bool,
    /// Replace films of which something is left out, such as subtitles that the
    /// container can't hold; they stay otherwise
    #[arg(long, requires = "replace")]
    pub allow_loss: bool,
}

/// A codec of ours by any of its names, or any other's name.
fn any_codec() -> impl TypedValueParser<Value = String> {
    clap::builder::NonEmptyStringValueParser::new().map(|name| {
        let name = name.to_lowercase();
        let known = codec().parse_ref(&clap::Command::new(""), None, std::ffi::OsStr::new(&name));
        known.unwrap_or(name)
    })
}

impl LibraryArgs {
    pub fn rules(&self) -> Rules {
        Rules {
            skip_codecs: self.skip_codec.clone(),
            skip_below: self.skip_below,
            smaller_percent: self.only_if_smaller,
        }
    }

    /// Refuses rules where they would not be looked at.
    ///
    /// # Errors
    /// [`CliError::Usage`].
    pub fn refuse_rules(&self) -> Result<(), CliError> {
        if self.rules() == Rules::default() {
            return Ok(());
        }
        Err(CliError::usage(
            "rules for many files, and one OUT",
            "give --to DIR in place of OUT, or --replace",
        ))
    }

    /// What is asked of outputs, where sources go for them or stay.
    pub fn care(&self, sources_go: bool) -> Care {
        Care {
            undamaged: sources_go && !self.allow_damaged,
            whole: false,
        }
    }

    pub fn walk(&self, recursive: bool) -> Walk {
        Walk {
            recursive,
            follow_links: self.follow_links,
            takes: Takes::All,
            left_out: Vec::new(),
        }
    }
}

impl InPlaceArgs {
    pub fn care(&self, library: &LibraryArgs) -> Care {
        Care {
            whole: self.replace && !self.allow_loss,
            ..library.care(self.replace)
        }
    }

    /// Which files of folders are taken: in place a sound becomes no film, and a film no
    /// sound.
    pub fn takes(&self, spec: &SpecArgs) -> Takes {
        match (self.replace, spec.is_of_sound()) {
            (false, _) => Takes::All,
            (true, false) => Takes::Films,
            (true, true) => Takes::Sounds,
        }
    }

    pub fn keep(&self) -> Keep {
        Keep {
            time: self.keep_original,
            hard_links: self.replace_hard_links,
        }
    }
}

/// What is done where an output's name is taken.
pub fn existing(overwrite: bool, skip: bool) -> Existing {
    match (overwrite, skip) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Skip,
        _ => Existing::Refuse,
    }
}

/// A folder that outputs go to, as a path that stays right.
///
/// # Errors
/// [`CliError::Usage`] for what is no folder.
pub fn folder(path: &std::path::Path) -> Result<PathBuf, CliError> {
    match path.canonicalize() {
        Ok(whole) if whole.is_dir() => Ok(whole),
        _ => Err(CliError::usage(
            format!("{} is no folder", path.display()),
            "several sources take a folder for their outputs: make it first",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        library: LibraryArgs,
    }

    #[test]
    fn rules_are_read_as_users_write_them() {
        let rules = |words: &[&str]| {
            let line = [&["x"], words].concat();
            Line::try_parse_from(line).map(|line| line.library.rules())
        };
        let found = rules(&["--skip-codec", "H265,mpeg2", "--only-if-smaller"]).unwrap();
        assert_eq!(found.skip_codecs, ["hevc", "mpeg2"]);
        assert_eq!(found.smaller_percent, Some(0));
        let found = rules(&["--only-if-smaller=20", "--skip-below", "3Mbps"]).unwrap();
        assert_eq!(found.smaller_percent, Some(20));
        assert_eq!(found.skip_below, Some(Below::BitsPerSecond(3_000_000)));
        assert_eq!(rules(&[]).unwrap(), Rules::default());
        for bad in ["--only-if-smaller=100", "--skip-below=fast", "--at-once=0"] {
            assert!(rules(&[bad]).is_err(), "{bad}");
        }
    }
}
