//! Bugs that can be planted at the seams of the model, to show that the storm
//! sees them. Apply and plan stay as they are: what goes in or comes out is
//! changed.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A new home is filled from a home that is not filled itself.
    FilledFromUnfilled,
    /// A new home says that it is filled when its copying has begun.
    FilledTooEarly,
    /// A former home removes its copy before the new home is filled.
    SweptWhileFilling,
    /// A home takes puts of any epoch.
    PutOfAnyEpoch,
    /// A home judges a chunk before it is written, and not again after.
    PutJudgedOnce,
    /// A chunk is acknowledged when one home has it.
    AcknowledgedByOne,
    /// A source is sealed under whatever epoch there is by then.
    SealedUnderAnyEpoch,
    /// A result counts for whatever attempt is the latest.
    AnyAttemptCompletes,
    /// Homes that were planned once are set again, whatever was decided since.
    HomesSetAgain,
    /// A copy on a former home counts as that of the new one.
    FormerHomeCounts,
    /// Former homes are never read from.
    FormerHomeUnread,
    /// A finished output gets another home after 8 s.
    FinishedMovedAtOnce,
    /// A restart is told by the process id, and that is always the same.
    RestartByPid,
    /// A result that came too late is never settled, and sent for ever.
    LateResultKept,
    /// What fails while all homes are away ends the job.
    OutageEndsJob,
    /// A retry of a request is given a name of its own.
    RetryIsAnother,
    /// A cancelled job's bytes stay.
    CancelledKept,
    /// An analysis goes to a node of any build.
    AnalysisToAnyBuild,
    /// Attempts are counted from one again when a job is planned anew.
    ReplanCountsAnew,
    /// A worker runs what it is given, whatever build the job is bound to.
    BuildUnchecked,
    /// A home says that it has written down a history, and has not.
    HistoryUnwritten,
    /// The first home to have a history speaks for the others.
    HistoryOnOneHome,
    /// What a finished job's row does not name yet is removed.
    HistoryPruned,
    /// What was found of an output, compared with its source, is removed.
    MeasuredPruned,
    /// Jobs that failed are not folded.
    FailedUnfolded,
    /// A tenant may have any number of uploads.
    BoundsForgotten,
    /// An upload that stands still never ends.
    AbandonedKept,
    /// An upload ends though it goes on.
    LiveUploadExpired,
    /// The source of a job that may be tried again is removed.
    HeldSourceSwept,
    /// The source that is held for a comparison is removed with the parts.
    HeldSourcePruned,
    /// A home says that it has the output of an equal job, and has not copied it.
    OutputNotTaken,
    /// What was planned early stays, though the sealed source has another plan.
    EarlyKept,
    /// What a shard comes to depends on how often it was tried.
    SizeByAttempt,
    /// What an engine gave is never made again.
    CheckForgotten,
    /// Parts that do not fit together are held against their nodes, not their engines.
    DoubtForgotten,
}

impl Bug {
    pub const ALL: [Bug; 35] = [
        Bug::FilledFromUnfilled,
        Bug::FilledTooEarly,
        Bug::SweptWhileFilling,
        Bug::PutOfAnyEpoch,
        Bug::PutJudgedOnce,
        Bug::AcknowledgedByOne,
        Bug::SealedUnderAnyEpoch,
        Bug::AnyAttemptCompletes,
        Bug::HomesSetAgain,
        Bug::FormerHomeCounts,
        Bug::FormerHomeUnread,
        Bug::FinishedMovedAtOnce,
        Bug::RestartByPid,
        Bug::LateResultKept,
        Bug::OutageEndsJob,
        Bug::RetryIsAnother,
        Bug::CancelledKept,
        Bug::AnalysisToAnyBuild,
        Bug::ReplanCountsAnew,
        Bug::BuildUnchecked,
        Bug::HistoryUnwritten,
        Bug::HistoryOnOneHome,
        Bug::HistoryPruned,
        Bug::MeasuredPruned,
        Bug::FailedUnfolded,
        Bug::BoundsForgotten,
        Bug::AbandonedKept,
        Bug::LiveUploadExpired,
        Bug::HeldSourceSwept,
        Bug::HeldSourcePruned,
        Bug::OutputNotTaken,
        Bug::EarlyKept,
        Bug::SizeByAttempt,
        Bug::CheckForgotten,
        Bug::DoubtForgotten,
    ];
}

/// The bug that is planted, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs(pub Option<Bug>);

impl Bugs {
    pub fn has(self, bug: Bug) -> bool {
        self.0 == Some(bug)
    }
}
