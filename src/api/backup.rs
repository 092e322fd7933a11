//! Backups: the table, and the bytes of jobs, towards one file.

use reelraft_model::{BackupMedia, Problem};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{Api, Outgoing, bad_request, limits::CLIENT_STALL};
use crate::{
    clock::unix_ms,
    data::backup::{BackupPart, gather},
};

impl Api {
    /// A backup with so much of the jobs' bytes, as it is made.
    ///
    /// # Errors
    /// `forbidden`, `bad-request` for an unknown kind, and `too-busy`; the parts may
    /// end with what keeps the cluster from reading.
    pub fn backup(&self, media: &str) -> Result<Outgoing<BackupPart>, Problem> {
        self.operator_only()?;
        let media = BackupMedia::parse(media).ok_or_else(|| {
            let cause = format!("'{media}' is no kind of media");
            bad_request(cause, "give none, outputs or all")
        })?;
        let pass = self.doors().backups.enter(1)?;
        let cluster_id = self.table().identity().cluster_id.clone();
        let data = self.context().data.clone();
        let parts = ReceiverStream::new(gather(data, media, (cluster_id, unix_ms())));
        let parts = parts.map(|part| part.map_err(|error| error.problem()));
        Ok(Outgoing::new(parts, pass, self.welcome(), CLIENT_STALL))
    }
}
