//! The settings that name nodes: addresses, peers and voters, from text.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
};

use reelraft_model::Problem;

use super::origin::bad;

pub fn resolve_address(text: &str) -> Result<SocketAddr, Problem> {
    text.to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .ok_or_else(|| {
            bad(
                format!("'{text}' is not an address to listen on"),
                "write it as 127.0.0.1:7401",
            )
        })
}

pub fn parse_peers(text: &str) -> Result<BTreeMap<u64, String>, Problem> {
    let hint = "write peers as 1=host:7401,2=host:7402";
    let mut peers = BTreeMap::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (id, address) = part
            .trim()
            .split_once('=')
            .ok_or_else(|| bad(format!("'{part}' is not a peer"), hint))?;
        let id: u64 = id
            .parse()
            .map_err(|_| bad(format!("'{id}' is not a node id"), hint))?;
        if address
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            return Err(bad(format!("'{address}' has no port"), hint));
        }
        if peers.insert(id, address.to_string()).is_some() {
            return Err(bad(format!("node {id} is listed twice"), hint));
        }
    }
    Ok(peers)
}

pub fn parse_voters(text: &str, peers: &BTreeMap<u64, String>) -> Result<Vec<u64>, Problem> {
    let hint = "list 1, 3, 5 or 7 ids of --peers, as 1,2,3";
    let mut voters = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let id: u64 = part
            .trim()
            .parse()
            .map_err(|_| bad(format!("'{part}' is not a node id"), hint))?;
        if !peers.contains_key(&id) || voters.contains(&id) {
            return Err(bad(
                format!("voter {id} is not among the peers, or listed twice"),
                hint,
            ));
        }
        voters.push(id);
    }
    if !matches!(voters.len(), 1 | 3 | 5 | 7) {
        return Err(bad(format!("{} voters", voters.len()), hint));
    }
    Ok(voters)
}

/// The largest odd number up to 7 that `nodes` nodes allow: an even voter
/// adds a machine that can fail without adding one that may.
fn voters_of(nodes: usize) -> usize {
    let voters = nodes.clamp(1, 7);
    if voters.is_multiple_of(2) {
        voters - 1
    } else {
        voters
    }
}

/// The voters of a cluster that names none: the first of its nodes.
pub fn default_voters(peers: &BTreeMap<u64, String>) -> String {
    let voters = peers.keys().take(voters_of(peers.len()));
    voters.map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_voters_are_the_largest_odd_number_up_to_seven() {
        assert_eq!([1, 2, 3, 4, 5, 9].map(voters_of), [1, 1, 3, 3, 5, 7]);
    }
}
