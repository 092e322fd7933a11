//! The context of a step, and how a step runs its tools.

use std::path::Path;

use reelraft_model::spec::Spec;

use crate::{
    error::MediaError,
    ffmpeg::{
        cancel::Cancel,
        input::Input,
        process::{Exit, Invocation, Listener, run},
        run_elsewhere::run_elsewhere,
        tools::Tools,
    },
    limits::{NICE, NICE_AWAITED, STALL_MAX},
};

/// What every step works with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// ffmpeg and ffprobe.
    pub tools: &'a Tools,
    /// The source.
    pub input: &'a Input,
    /// The resolved spec.
    pub spec: &'a Spec,
    /// An empty folder that belongs to this step alone; results are written
    /// into it. The path must be absolute.
    pub work_dir: &'a Path,
    /// Stops the step at once.
    pub cancel: &'a Cancel,
}

impl Context<'_> {
    /// Runs ffmpeg in the step's folder.
    pub(crate) async fn ffmpeg(
        &self,
        args: &[String],
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.ffmpeg_with(args, 0, listener).await
    }

    /// Runs ffmpeg with additional address space.
    pub(crate) async fn ffmpeg_with(
        &self,
        args: &[String],
        address_bytes_extra: u64,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.run_tool(&self.tools.ffmpeg, args, address_bytes_extra, listener)
            .await
    }

    /// The same for one of many pieces of a film, which gives way to what the whole
    /// film waits for.
    pub(crate) async fn ffmpeg_for_shard(
        &self,
        args: &[String],
        address_bytes_extra: u64,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        let mut child = self.invocation(&self.tools.ffmpeg, args, address_bytes_extra);
        child.nice = NICE;
        run(child, self.cancel, listener).await
    }

    /// The same for one that writes a file of its folder, `output`, and that another
    /// machine may be asked for.
    pub(crate) async fn ffmpeg_anywhere(
        &self,
        args: &[String],
        address_bytes_extra: u64,
        output: &str,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        let Input::Elsewhere { machine, .. } = self.input else {
            let here = self.ffmpeg_for_shard(args, address_bytes_extra, listener);
            return here.await;
        };
        let output = self.work_dir.join(output);
        let machine = machine.as_ref();
        run_elsewhere(machine, args, &output, STALL_MAX, self.cancel, listener).await
    }

    /// Runs ffprobe in the step's folder.
    pub(crate) async fn ffprobe(
        &self,
        args: &[String],
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.ffprobe_with(args, 0, listener).await
    }

    /// Runs ffprobe with additional address space, to decode pictures.
    pub(crate) async fn ffprobe_with(
        &self,
        args: &[String],
        address_bytes_extra: u64,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        self.run_tool(&self.tools.ffprobe, args, address_bytes_extra, listener)
            .await
    }

    async fn run_tool(
        &self,
        program: &Path,
        args: &[String],
        address_bytes_extra: u64,
        listener: &mut (dyn Listener + Send),
    ) -> Result<Exit, MediaError> {
        let child = self.invocation(program, args, address_bytes_extra);
        run(child, self.cancel, listener).await
    }

    fn invocation<'c>(
        &'c self,
        program: &'c Path,
        args: &'c [String],
        address_bytes_extra: u64,
    ) -> Invocation<'c> {
        Invocation {
            program,
            args,
            work_dir: Some(self.work_dir),
            address_bytes_extra,
            nice: NICE_AWAITED,
            time_max: None,
            stall_max: STALL_MAX,
            served: self.input.served(),
        }
    }
}
