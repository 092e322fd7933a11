//! Takes a backup into a file: it gets its name once it is whole, and only its owner
//! may read it. Or has a node put it into a bucket.

use reelraft_proto::v1::{BackupDone, BackupPart, BackupRequest, backup_part::Part};
use tonic::Status;

use crate::{
    client::{Client, RetryBudget, next_message, open_stream},
    error::CliError,
    limits::{BACKUP_SILENCE_MS, BACKUP_TRIES_MAX},
    render::format::size,
    transfer::{on_thread::on_thread, output_file::OutputFile, private_file::PrivateFile},
};

/// Takes a backup with so much of the media.
///
/// # Errors
/// The node's refusal, that no node serves, or a file that can't be written.
pub async fn backup(
    client: &mut Client,
    media: &str,
    output: OutputFile,
) -> Result<BackupDone, CliError> {
    let into = PrivateFile::begin(output)?;
    client
        .screen()
        .on_interrupt("nothing was written; begin the backup again");
    let taken = take(client, media, &into).await;
    client.screen().clear();
    let done = taken?;
    on_thread("writing the backup", move || into.finish()).await??;
    Ok(done)
}

/// Has a node put a backup into a bucket that it knows. One that broke off is not begun
/// again: it may be there.
///
/// # Errors
/// The node's refusal, that no node serves, or a node that knows no buckets.
pub async fn backup_to(
    client: &mut Client,
    media: &str,
    to: &str,
    overwrite: bool,
) -> Result<BackupDone, CliError> {
    let request = BackupRequest {
        media: media.to_string(),
        to: to.to_string(),
        overwrite,
    };
    let mut retries = RetryBudget::default();
    let mut parts = loop {
        match open(client, request.clone()).await {
            Ok(parts) => break parts,
            Err(status) => client.retry_or_fail(&mut retries, &status).await?,
        }
    };
    loop {
        let part = next_message(&mut parts, BACKUP_SILENCE_MS).await;
        let part = part.map_err(|status| CliError::from_status(&status))?;
        let broken =
            || CliError::from_status(&Status::unavailable("the node broke the backup off"));
        match part.ok_or_else(broken)?.part {
            Some(Part::PutBytes(bytes)) => {
                let bytes = size(bytes);
                client.screen().progress(&format!("backing up  {bytes}"));
            }
            Some(Part::Done(done)) => {
                client.screen().clear();
                return Ok(done);
            }
            // What it sends is the file: it has not read where to put it.
            Some(Part::Data(_)) | None => {
                return Err(CliError::node(
                    "older-program",
                    "this node puts no backups into buckets",
                    "ask one with the program of this version, or give the name of a file here",
                ));
            }
        }
    }
}

/// Fills the file. Where a node is lost another one makes it, from the beginning.
async fn take(
    client: &mut Client,
    media: &str,
    into: &PrivateFile,
) -> Result<BackupDone, CliError> {
    let mut retries = RetryBudget::default();
    let mut begun = 0;
    loop {
        into.empty()?;
        let request = BackupRequest {
            media: media.to_string(),
            ..Default::default()
        };
        let status = match open(client, request).await {
            Err(status) => status,
            Ok(mut parts) => {
                begun += 1;
                client.record_progress(&mut retries);
                match fill(client, &mut parts, into).await? {
                    Ok(done) => return Ok(done),
                    Err(status) if begun >= BACKUP_TRIES_MAX => {
                        return Err(CliError::from_status(&status));
                    }
                    Err(status) => status,
                }
            }
        };
        client.retry_or_fail(&mut retries, &status).await?;
        if begun > 0 {
            client
                .screen()
                .notice("the backup broke off, it is begun again");
        }
    }
}

async fn open(
    client: &mut Client,
    request: BackupRequest,
) -> Result<tonic::Streaming<BackupPart>, Status> {
    let mut cluster = client.cluster().await?;
    open_stream(cluster.backup(request)).await
}

/// Writes all that comes; the node's last word, or why there was none.
async fn fill(
    client: &Client,
    parts: &mut tonic::Streaming<BackupPart>,
    into: &PrivateFile,
) -> Result<Result<BackupDone, Status>, CliError> {
    let mut hasher = blake3::Hasher::new();
    loop {
        let part = match next_message(parts, BACKUP_SILENCE_MS).await {
            Ok(Some(part)) => part.part,
            Ok(None) => return Ok(Err(Status::unavailable("the node broke the backup off"))),
            Err(status) => return Ok(Err(status)),
        };
        match part {
            Some(Part::Data(data)) => {
                into.write(&data)?;
                hasher.update(&data);
                if client.screen().due() {
                    let bytes = size(hasher.count());
                    client.screen().progress(&format!("backing up  {bytes}"));
                }
            }
            Some(Part::Done(done)) => {
                let found = hasher.finalize().to_hex().to_string();
                return match (found == done.hash, hasher.count() == done.bytes) {
                    (true, true) => Ok(Ok(done)),
                    _ => Err(CliError::Nonsense {
                        what: format!("a backup with hash {found}, not {}", done.hash),
                    }),
                };
            }
            Some(Part::PutBytes(_)) | None => {
                let what = "a part of a backup that this version does not know".to_string();
                return Err(CliError::Nonsense { what });
            }
        }
    }
}
