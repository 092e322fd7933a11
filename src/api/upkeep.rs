//! Checks of all that the nodes keep, on demand.

use reelraft_model::Problem;

use super::Api;

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
        let mut begun = ScrubBegun::default();
        for id in asked {
            match self.context().data.begin_scrub(id).await {
                Ok(()) => begun.nodes.push(id),
                Err(_) => begun.silent.push(id),
            }
        }
        Ok(begun)
    }
}
