//! What ffmpeg complained of in an encoding, as its report has it.

use reelraft_model::TaskKind;

use crate::{
    error::MediaError,
    facts::report::{AudioReport, ExtrasReport, ShardReport},
};

/// How often ffmpeg complained, and the first of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// All of them, counted.
    pub total: u64,
    /// The first ones, a line each.
    pub first: Vec<String>,
}

impl Complaints {
    /// Those of a part of an output, by the report that was stored beside it.
    ///
    /// # Errors
    /// [`MediaError::BadRecord`] for another version or damaged bytes.
    pub fn of_part(kind: TaskKind, report: &[u8]) -> Result<Self, MediaError> {
        let (total, first) = match kind {
            TaskKind::Shard | TaskKind::Probe => {
                let head = ShardReport::from_bytes(report)?.head;
                (head.complaints_total, head.complaints)
            }
            TaskKind::Audio => {
                let report = AudioReport::from_bytes(report)?;
                (report.complaints_total, report.complaints)
            }
            TaskKind::Extras => {
                let report = ExtrasReport::from_bytes(report)?;
                (report.complaints_total, report.complaints)
            }
            // These have no report of that kind.
            TaskKind::Analyze | TaskKind::Assemble | TaskKind::Measure => (0, Vec::new()),
        };
        Ok(Complaints { total, first })
    }
}
