//! `reelraft recover`: what a person sees of going on with one node.

use std::path::Path;

use reelraft_consensus::{ConsensusError, Survivor, recover as recover_disk, survivor};
use reelraft_model::Problem;

/// Says what a node's disk has, or, if that is `meant`, has the node vote alone from
/// its next start on.
///
/// # Errors
/// Where the disk is nobody's, is damaged, or a node runs on it.
pub fn recover(data: &Path, meant: bool) -> Result<String, Problem> {
    let problem = |error: ConsensusError| error.problem();
    let Survivor {
        cluster,
        node,
        last: (term, index),
    } = match meant {
        true => recover_disk(data),
        false => survivor(data),
    }
    .map_err(problem)?;
    let data = data.display();
    Ok(match meant {
        true => format!(
            "node {node} votes alone from its next start on (cluster {cluster}, term {term}, index {index})\n\
             next: start it as before, then `reelraft cluster set voters 1`; for each node that is lost \
             `reelraft cluster remove N --dead`; for each machine that takes the place of one `reelraft cluster \
             token create`\n"
        ),
        false => format!(
            "{data} is of node {node} of cluster {cluster}; its log ends with term {term}, index {index}\n\
             Do this only where most voters are lost for good: an election needs most of them, and while \
             they may come back nothing is lost.\n\
             Of several nodes that are left take the one with the highest term, and of those the highest \
             index. What the lost nodes had acknowledged and this one has not is given up: jobs, keys and \
             words of the last moments. So are films of which they alone had the bytes.\n\
             The others that are left follow it when they are started; they need no recovery.\n\
             to do it: reelraft recover --data {data} --yes\n"
        ),
    })
}
