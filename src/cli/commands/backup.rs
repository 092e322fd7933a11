//! `reelraft cluster backup`: all that the cluster knows, and its films, as one file, here
//! or in a bucket.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use reelraft_proto::{bucket::is_bucket_url, v1::BackupDone};
use serde_json::json;

use super::request_options::ReplaceArgs;
use crate::{
    client::Client,
    error::CliError,
    render::{
        Output,
        format::{counted, size},
        json,
        screen::print,
    },
    transfer::{
        backup::{backup, backup_to},
        output_file::OutputFile,
    },
};

/// Arguments of `cluster backup`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The cluster goes on meanwhile. The file gets its name once it is whole, and can be
checked at any time: `reelraft restore FILE` says what would come back. It holds
secrets (the key of the cluster's authority, those that sign webhooks): keep it as
you keep them. Into a bucket the node puts it that answers, one of those which its
--s3-buckets name with write = true. Uploads that are not sealed are not in it, nor the parts of jobs
that are being made.")]
pub struct BackupArgs {
    /// The file to write, which only you may read; or s3://NAME/KEY, of a bucket of the nodes
    #[arg(value_name = "FILE|s3://NAME/KEY")]
    pub file: PathBuf,
    /// Which bytes go with the table
    #[arg(long, value_enum, default_value_t = Media::Outputs)]
    pub media: Media,
    #[command(flatten)]
    pub replace: ReplaceArgs,
}

/// Which bytes go into a backup.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// None: finished films are given up, by name, when it is restored
    None,
    /// Finished films; jobs that are not finished are given up, by name
    Outputs,
    /// Finished films, and the sources of jobs that are not finished
    All,
}

impl Media {
    fn word(self) -> &'static str {
        match self {
            Media::None => "none",
            Media::Outputs => "outputs",
            Media::All => "all",
        }
    }
}

/// Runs `cluster backup`.
///
/// # Errors
/// The node's refusal, that no node serves, a file that can't be written, and
/// `backup-incomplete` where bytes could not be had; the file is there then.
pub async fn run(client: &mut Client, args: BackupArgs, output: Output) -> Result<(), CliError> {
    let screen = client.screen().clone();
    let (media, overwrite) = (args.media.word(), args.replace.overwrite);
    let done = match args.file.to_str().filter(|name| is_bucket_url(name)) {
        Some(bucket) => backup_to(client, media, bucket, overwrite).await?,
        None => {
            let file = OutputFile::check(&args.file, overwrite, None, &screen)?;
            backup(client, media, file).await?
        }
    };
    print(&text(&args, &done, output))?;
    for gap in &done.gaps {
        screen.notice(&format!(
            "job {} is not whole in it: {}",
            gap.job, gap.cause
        ));
    }
    match done.gaps.len() as u64 {
        0 => Ok(()),
        gaps => Err(CliError::node(
            "backup-incomplete",
            format!(
                "{} is whole but for the bytes of {}",
                args.file.display(),
                counted(gaps, "job")
            ),
            "start the nodes that have them, and take another backup",
        )),
    }
}

fn text(args: &BackupArgs, done: &BackupDone, output: Output) -> String {
    match output {
        Output::Json => json::line(&json!({
            "file": args.file.to_string_lossy(),
            "bytes": done.bytes,
            "hash": done.hash,
            "index": done.index,
            "table_hash": done.table_hash,
            "jobs": done.jobs,
            "jobs_whole": done.jobs_whole,
            "incomplete": done.gaps.iter().map(|gap| &gap.job).collect::<Vec<_>>(),
        })),
        Output::Table => format!(
            "{} has the table of index {} ({}), and the bytes of {}: {}, BLAKE3 {}\n",
            args.file.display(),
            done.index,
            counted(done.jobs, "job"),
            done.jobs_whole,
            size(done.bytes),
            done.hash
        ),
    }
}
