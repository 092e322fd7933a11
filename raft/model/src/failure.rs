//! Attempts without a result, and who is to blame.

use crate::problem::Problem;

/// Why an attempt ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum FailureClass {
    /// The work failed on this node. Enough of these make it poison.
    Work = 0,
    /// The node could not do its part: spawn, disk, peers.
    NodeFault = 1,
    /// Another attempt would be pointless anywhere.
    Final = 2,
    /// The decoder gave other frames than the packets promised.
    PlanMismatch = 3,
    /// The worker was told to stop, or is shutting down.
    Stopped = 4,
    /// The node went silent while it ran the attempt.
    NodeLost = 5,
    /// No node that holds the bytes could be reached. They are waited for, so
    /// this is nobody's fault and never ends a job.
    OutOfReach = 6,
}

impl FailureClass {
    /// Whether something went wrong where the attempt ran, and it was not only lost,
    /// stopped, or cut off from the bytes.
    pub(crate) fn is_blamed(self) -> bool {
        !matches!(
            self,
            FailureClass::Stopped | FailureClass::NodeLost | FailureClass::OutOfReach
        )
    }
}

/// An attempt that gave no result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Failure {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
    #[prost(enumeration = "FailureClass", tag = "3")]
    pub class: i32,
    #[prost(message, required, tag = "4")]
    pub problem: Problem,
}
