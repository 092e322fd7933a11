//! ffmpeg on another machine: a step that runs one there gets its lines and its file
//! as if it ran here. What they say is checked in the same way.

use std::{
    fmt::Debug,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crate::error::MediaError;

/// What stands in the arguments for the address of the source.
pub const INPUT_PLACE: &str = "{input}";

/// What another machine says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line that ffmpeg wrote to its error output.
    Line(String),
    /// It has ended with this exit code, and its file is here.
    Ended(i32),
}

/// What is to come of another machine.
pub type FromElsewhere<'a, T> = Pin<Box<dyn Future<Output = Result<T, MediaError>> + Send + 'a>>;

/// Another machine that runs ffmpeg.
pub trait Elsewhere: Debug + Send + Sync {
    /// Asks it for a run, which is to write the file at `output`, of at most so many
    /// bytes. The arguments name that file as in its own folder.
    fn begin(&self, args: &[String], output: PathBuf) -> Box<dyn RunElsewhere>;

    /// How long a run may take, whatever is said of its progress.
    fn time_max(&self) -> Duration;
}

/// A run on another machine. It is given up when this is dropped.
pub trait RunElsewhere: Send {
    /// The next thing that it says. Safe to drop before it completes.
    fn next(&mut self) -> FromElsewhere<'_, Said>;

    /// Grows with what it reads of its input for the first time, and with what comes of
    /// its file.
    fn moved(&self) -> Arc<AtomicU64>;

    /// Has it stop ffmpeg, and waits until its file is here.
    fn stop(&mut self) -> FromElsewhere<'_, ()>;
}
