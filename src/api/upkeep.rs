//! Checks of all that the nodes keep, on demand.

use futures::future::join_all;
use reelraft_model::Problem;

use super::{Api, limits::SCRUB_ASK_PATIENCE};

/// Who was asked to check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubBegun {
    /// Those that begin.
    pub nodes: Vec<u64>,
    /// Those that could not be reached.
    pub silent: Vec<u64>,
}

impl Api {
    /// Has a node check all that it keeps, or with 0 all nodes.
    ///
    /// # Errors
    /// `forbidden`, `not-found`.
    pub async fn begin_scrub(&self, node: u64) -> Result<ScrubBegun, Problem> {
        self.operator_only()?;
        let members = self.table().members().into_iter().map(|member| member.id);
        let asked: Vec<u64> = members.filter(|id| node == 0 || *id == node).collect();
        if asked.is_empty() {
            let cause = format!("there is no node {node}");
            return Err(Problem::new(
                "not-found",
                cause,
                "see `reelraft cluster nodes`",
            ));
        }
        let data = &self.context().data;
        let asking = asked.into_iter().map(async |id| {
            let answer = tokio::time::timeout(SCRUB_ASK_PATIENCE, data.begin_scrub(id)).await;
            (id, matches!(answer, Ok(Ok(()))))
        });
        let mut begun = ScrubBegun::default();
        for (id, begins) in join_all(asking).await {
            match begins {
                true => begun.nodes.push(id),
                false => begun.silent.push(id),
            }
        }
        Ok(begun)
    }
}
