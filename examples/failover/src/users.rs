//! Users of a [`crate::checking_client::CheckingClient`]: threads that each do
//! what one user does, and a film whose upload takes a while.

use std::{path::Path, thread::JoinHandle};

use crate::clips::generate;

/// Runs what a user does in a thread of its own.
///
/// # Errors
/// If there is no runtime for it.
pub fn start_user(work: impl AsyncFnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    Ok(std::thread::spawn(move || runtime.block_on(work())))
}

/// A film of some megabytes: noise makes many chunks of few frames.
///
/// # Errors
/// If ffmpeg fails.
pub fn make_grainy_clip(path: &Path, seconds: u32) -> Result<(), String> {
    let video = format!("testsrc2=size=256x144:rate=24:duration={seconds}");
    let audio = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let inputs = [&video, "-f", "lavfi", "-i", &audio];
    let picture = ["-vf", "noise=alls=60:allf=t", "-c:v", "libx264"];
    let quality = ["-preset", "ultrafast", "-qp", "4", "-g", "48"];
    let sound = ["-c:a", "aac", "-shortest"];
    generate(path, &[&inputs[..], &picture, &quality, &sound].concat())
}
