//! Who belongs to the cluster, as the table says.

use crate::{
    limits::{KEPT_SOURCES_LEVEL, VOTERS_DEFAULT},
    rows::{Home, Node, Problem},
    state::State,
};

/// Some jobs, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SomeJobs {
    pub count: usize,
    /// One of them.
    pub first: Option<String>,
}

/// Refuses an address at which no other machine can reach a node.
///
/// # Errors
/// `bad-request`.
pub fn check_address(address: &str) -> Result<(), Problem> {
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    let everywhere = ["0.0.0.0", "[::]", ""].contains(&host);
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !everywhere => Ok(()),
        _ => Err(Problem::new(
            "bad-request",
            format!("no other machine can reach a node at '{address}'"),
            "start it with --advertise host:port, as the other nodes reach it",
        )),
    }
}

impl State {
    /// All nodes of the cluster.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| !node.is_removed())
    }

    /// A node, also one that was removed.
    pub fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The incarnation under which a node is known, or was.
    pub fn incarnation_of(&self, node: u64) -> Option<String> {
        self.nodes.get(&node).map(|node| node.incarnation.clone())
    }

    /// The nodes that were removed.
    pub fn removed_nodes(&self) -> impl Iterator<Item = u64> {
        let removed = self.nodes.values().filter(|node| node.is_removed());
        removed.map(|node| node.id)
    }

    /// Whether a node was removed for good.
    pub fn is_removed(&self, node: u64) -> bool {
        self.nodes.get(&node).is_some_and(Node::is_removed)
    }

    /// Whether another disk was let in later at a node's address: the node is then
    /// nowhere, and whoever is reached there is not it.
    pub fn is_superseded(&self, id: u64) -> bool {
        let known = |node: &&Node| !node.is_removed() && !node.address.is_empty();
        let Some(node) = self.nodes.get(&id).filter(known) else {
            return false;
        };
        let mut later = self.nodes.range(id + 1..).map(|(_, later)| later);
        later.any(|it| it.let_in && !it.is_removed() && it.address == node.address)
    }

    /// How many voters there are to be, where so many vote now: what was asked for,
    /// or else three, or as many as the cluster was founded with.
    pub fn voters_wanted(&self, voters: usize) -> usize {
        match self.cluster.voters_wanted {
            0 => voters.max(VOTERS_DEFAULT),
            asked => asked as usize,
        }
    }

    /// The jobs with bytes on a node that it must keep or hand over.
    pub fn bytes_at(&self, node: u64) -> SomeJobs {
        self.jobs_at(node, |_| true)
    }

    /// The jobs of which a node has the only full copy: what those have that are gone
    /// for good is none.
    pub fn only_at(&self, node: u64) -> SomeJobs {
        self.jobs_at(node, |homes| {
            let gone = |id: u64| id != node && self.is_gone(id);
            let there = |home: &&Home| home.filled && !gone(home.node);
            let mut whole = homes.iter().filter(there).peekable();
            whole.peek().is_some() && whole.all(|home| home.node == node)
        })
    }

    /// Whether a node will not come back: it was removed, or another disk has taken its
    /// place.
    fn is_gone(&self, id: u64) -> bool {
        self.is_removed(id) || self.is_superseded(id)
    }

    /// Whether none of some homes that had all bytes of a job will come back.
    pub(crate) fn are_gone(&self, homes: &[Home]) -> bool {
        let mut whole = homes.iter().filter(|home| home.filled);
        whole.all(|home| self.is_gone(home.node))
    }

    fn jobs_at(&self, node: u64, such: impl Fn(&[Home]) -> bool) -> SomeJobs {
        let open = self.open.places().filter(|(at, _, _)| *at == node);
        let open = open.flat_map(|(_, _, jobs)| jobs.iter());
        let open = open.filter_map(|id| self.jobs.get(id));
        let open: Vec<&str> = open
            .filter(|entry| such(&entry.job.homes))
            .map(|entry| entry.job.id.as_str())
            .collect();
        let has = |homes: &[Home]| homes.iter().any(|home| home.node == node) && such(homes);
        let ended = self.outputs.groups().filter(|(homes, _)| has(homes));
        let mut found = SomeJobs {
            count: open.len(),
            first: open.first().map(ToString::to_string),
        };
        let name = |age: Option<u64>| {
            age.and_then(|age| self.job_at(age))
                .map(|it| it.job.id.clone())
        };
        for (_, jobs) in ended {
            found.count += jobs.size();
            let first = || name(jobs.iter().next().map(|(age, _)| age));
            found.first = found.first.or_else(first);
        }
        let counted = self.feature_level() >= KEPT_SOURCES_LEVEL;
        let sources = self.outputs.sources().filter(|_| counted);
        for (_, jobs) in sources.filter(|(homes, _)| has(homes)) {
            found.count += jobs.size();
            let first = || name(jobs.iter().next().copied());
            found.first = found.first.or_else(first);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::check_address;

    #[test]
    fn an_address_names_a_machine_and_a_port() {
        for good in ["host:7401", "127.0.0.1:7401", "[::1]:7401"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in [
            "host",
            "host:",
            "host:x",
            "0.0.0.0:7401",
            "[::]:7401",
            ":7401",
            "host:0",
        ] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
