//! What a command's proposer is told.

use prost::Message;

use crate::rows::Problem;

/// The answer to a command's proposer.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    /// The job that the command was about, if any.
    #[prost(string, tag = "1")]
    pub job: String,
    /// Whether the job had been made before by the same request.
    #[prost(bool, tag = "2")]
    pub existed: bool,
    /// Whether the command changed nothing because what its proposer saw has
    /// passed: late, or done already.
    #[prost(bool, tag = "3")]
    pub stale: bool,
    /// The refusal, if it is one.
    #[prost(message, optional, tag = "4")]
    pub refused: Option<Problem>,
    /// The node that was let in, if one was.
    #[prost(uint64, tag = "44")]
    pub node: u64,
}

impl Reply {
    pub(crate) fn done(job: &str) -> Self {
        Reply {
            job: job.to_string(),
            ..Default::default()
        }
    }

    pub(crate) fn stale(job: &str) -> Self {
        Reply {
            job: job.to_string(),
            stale: true,
            ..Default::default()
        }
    }

    pub(crate) fn refused(job: &str, problem: Problem) -> Self {
        Reply {
            job: job.to_string(),
            refused: Some(problem),
            ..Default::default()
        }
    }

    /// The reply, or the refusal that it carries.
    ///
    /// # Errors
    /// The refusal.
    pub fn accepted(self) -> Result<Self, Problem> {
        match self.refused {
            Some(problem) => Err(problem),
            None => Ok(self),
        }
    }
}
