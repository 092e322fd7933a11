//! `reelraft job preview`: writes what is encoded of a film's beginning to a file.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    client::Client,
    commands::request_options::ReplaceArgs,
    error::CliError,
    render::{Output, format::size, json, screen::print},
    transfer::{fetch::fetch_preview, output_file::OutputFile},
};

/// Arguments of `job preview`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A preview is a film of the first shards that are encoded, with the sound as far as
that is done, and without subtitles, tags and chapters. It is made of the same
pictures as the output, but is no part of it and has no proof.")]
pub struct PreviewArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// How much of the film, at most; the shard in which that lies is given whole
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub seconds: u32,
    #[command(flatten)]
    pub replace: ReplaceArgs,
}

/// What `job preview -o json` prints.
#[derive(Serialize)]
struct Fetched {
    job: String,
    bytes: u64,
    /// BLAKE3, hex.
    hash: String,
}

/// Runs `job preview`.
///
/// # Errors
/// The node's refusal, or a file that can't be written.
pub async fn run(client: &mut Client, args: PreviewArgs, output: Output) -> Result<(), CliError> {
    let file = OutputFile::check(&args.out, args.replace.overwrite, None, client.screen())?;
    let (bytes, hash) = fetch_preview(client, &args.job, args.seconds, file).await?;
    match output {
        Output::Json => print(&json::line(&Fetched {
            job: args.job,
            bytes,
            hash,
        })),
        Output::Table => {
            let text = format!("{} is written: {}", args.out.display(), size(bytes));
            client.screen().notice(&text);
            Ok(())
        }
    }
}
