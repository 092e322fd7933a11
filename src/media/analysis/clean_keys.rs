//! Which keyframes of a video are clean: after them nothing before them is needed.
//! Containers mark others as keyframes too, so the bitstream is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    analysis::{args, packet::Packet},
    error::MediaError,
    facts::{
        source::{Source, Video},
        times::Ratio,
    },
    ffmpeg::{
        context::Context,
        log::Diagnostics,
        process::{LineEffect, Listener},
    },
};

/// Codecs in which every keyframe is clean, beside those of which ffmpeg says
/// that they have no other pictures. It does not say so of all.
const CLEAN: [&str; 6] = ["vp8", "vp9", "av1", "ffv1", "png", "cfhd"];

/// Whether every keyframe of a video is clean.
pub(crate) fn has_clean_keys(video: &Video) -> bool {
    video.intra_only || CLEAN.contains(&video.codec.as_str())
}

/// Which keyframes are clean.
#[derive(Debug)]
pub(crate) enum CleanKeys {
    All,
    /// Those with these times, in order.
    At(Vec<i64>),
    /// Those with these times, in the order of the file, and more to come.
    SoFar(Arc<Mutex<Vec<i64>>>),
}

impl CleanKeys {
    pub async fn find(context: &Context<'_>, source: &Source) -> Result<CleanKeys, MediaError> {
        if has_clean_keys(source.video()) {
            return Ok(CleanKeys::All);
        }
        let Some(types) = args::refresh_units(&source.video().codec) else {
            return Ok(CleanKeys::At(Vec::new()));
        };
        let found = find_refresh(context, source, types, RefreshLines::new(source)).await?;
        // The filter can't read this stream: no keyframe is marked, which costs
        // lead-in. Half of a scan would make the plan depend on where it broke off.
        Ok(CleanKeys::At(found.unwrap_or_default()))
    }

    /// Whether a packet is one of them; none where that is not known yet.
    pub fn has(&self, packet: &Packet) -> Option<bool> {
        let Some(pts) = packet.pts.filter(|_| packet.key) else {
            return Some(packet.key && matches!(self, CleanKeys::All));
        };
        match self {
            CleanKeys::All => Some(true),
            CleanKeys::At(times) => Some(times.binary_search(&pts).is_ok()),
            CleanKeys::SoFar(times) => {
                let times = lock(times);
                let mut latest = times.iter().rev();
                // Where a later one was found, this one was passed over.
                match latest.find(|found| **found <= pts) {
                    Some(found) if *found == pts => Some(true),
                    _ if times.last() > Some(&pts) => Some(false),
                    _ => None,
                }
            }
        }
    }
}

fn lock(times: &Mutex<Vec<i64>>) -> MutexGuard<'_, Vec<i64>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The times of clean keyframes in order; none where the filter can't read the
/// stream.
pub(crate) async fn find_refresh(
    context: &Context<'_>,
    source: &Source,
    types: &str,
    mut listener: RefreshLines,
) -> Result<Option<Vec<i64>>, MediaError> {
    let arguments = args::scan_refresh(context.input, source, types);
    let address_bytes = source.video().address_bytes();
    let exit = context
        .ffmpeg_with(&arguments, address_bytes, &mut listener)
        .await?;
    match listener.diagnostics.check_exit("ffmpeg", exit) {
        Ok(()) => {
            let mut found = lock(&listener.found).clone();
            found.sort_unstable();
            Ok(Some(found))
        }
        Err(MediaError::ToolFailed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Parses lines of ffmpeg's `framecrc`: `stream, dts, pts, duration, size,
/// sum`.
pub(crate) struct RefreshLines {
    time_base: Ratio,
    same_base: bool,
    /// Their times, in the order of the file.
    pub found: Arc<Mutex<Vec<i64>>>,
    diagnostics: Diagnostics,
}

impl RefreshLines {
    pub fn new(source: &Source) -> Self {
        RefreshLines {
            time_base: source.video().time_base,
            same_base: false,
            found: Arc::default(),
            diagnostics: Diagnostics::default(),
        }
    }
}

impl Listener for RefreshLines {
    fn stdout(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        if let Some(base) = line.strip_prefix("#tb 0: ") {
            self.same_base = Ratio::parse(base) == Some(self.time_base);
        } else if self.same_base && !line.starts_with('#') {
            let pts = line.split(',').nth(2).map(str::trim);
            if let Some(pts) = pts.and_then(|pts| pts.parse().ok()) {
                lock(&self.found).push(pts);
            }
        }
        Ok(LineEffect::Progress)
    }

    fn stderr(&mut self, line: &str) -> Result<LineEffect, MediaError> {
        self.diagnostics.observe(line)?;
        // The bitstream filter also logs errors about damaged units; they don't
        // matter here.
        Ok(LineEffect::Neutral)
    }
}
