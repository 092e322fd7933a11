//! Whether a sealed source is a local file: their root hashes are compared.

use std::{sync::Arc, time::Instant};

use crate::{
    client::Client,
    error::CliError,
    render::progress::{Meter, bytes_line},
    transfer::{on_thread::on_thread, source::Source},
};

/// Reads the whole file and refuses it if its root is not `root`, which is the
/// job's, over chunks of `chunk_bytes`.
///
/// # Errors
/// [`CliError::SourceDiffers`], or [`CliError::SourceUnfit`] for a file that
/// changes meanwhile.
pub async fn refuse_other(
    client: &Client,
    source: &Arc<Source>,
    job: &str,
    root: &str,
    chunk_bytes: u32,
) -> Result<(), CliError> {
    let (file, screen) = (source.clone(), client.screen().clone());
    let reading = move || {
        let mut meter = Meter::default();
        file.root(chunk_bytes, |read| {
            meter.record(Instant::now(), read);
            if screen.due() {
                let speed = meter.milli_per_second();
                screen.progress(&bytes_line("comparing", read, file.bytes, speed));
            }
        })
    };
    match on_thread("reading the source", reading).await? {
        Ok(own) if own == root => Ok(()),
        Ok(_) => Err(CliError::SourceDiffers {
            path: source.path.clone(),
            job: job.to_string(),
        }),
        Err(change) => Err(CliError::SourceUnfit {
            path: source.path.clone(),
            cause: format!("it {} while it was read", change.0),
            hint: "try again once nothing writes to it any more".into(),
        }),
    }
}
