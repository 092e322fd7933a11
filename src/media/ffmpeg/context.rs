//! What every step works with, and how a step runs its tools.

use std::path::Path;

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    ffmpeg::{
        cancel::Cancel,
        input::Input,
        process::{Exit, Listener, Run, run},
        tools::Tools,
    },
};

/// What every step works with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The programs.
    pub tools: &'a Tools,
    /// The source.
    pub input: &'a Input,
    /// The resolved spec.
    pub spec: &'a Spec,
    /// A folder of this step alone, existing and empty; results are written
    /// into it. It must be absolute.
    pub work_dir: &'a Path,
    /// Ends the step at once.
    pub cancel: &'a Cancel,
}

impl Context<'_> {
    /// Runs ffmpeg in the step's folder to its end.
    pub(crate) async fn ffmpeg(
        &self,
        args: &[String],
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.ffmpeg_with(args, 0, listener).await
    }

    /// The same with so many bytes of address space beyond the base.
    pub(crate) async fn ffmpeg_with(
        &self,
        args: &[String],
        address_bytes_extra: u64,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.run_tool(&self.tools.ffmpeg, args, address_bytes_extra, listener)
            .await
    }

    /// Runs ffprobe in the step's folder to its end.
    pub(crate) async fn ffprobe(
        &self,
        args: &[String],
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.run_tool(&self.tools.ffprobe, args, 0, listener).await
    }

    async fn run_tool(
        &self,
        program: &Path,
        args: &[String],
        address_bytes_extra: u64,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        let child = Run {
            program,
            args,
            folder: self.work_dir,
            address_bytes_extra,
            time_max: None,
        };
        run(child, self.cancel, listener).await
    }
}
