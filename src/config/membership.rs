//! The settings that name nodes: addresses, peers and voters, from text.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
};

use reelraft_model::{Problem, TokenText};

use super::origin::{Picker, bad};

/// The file with what a node was told when it joined a cluster.
pub const JOINED: &str = "JOINED";

/// Whether a data folder is that of a node that has joined a cluster.
pub fn has_joined(data: &Path) -> bool {
    data.join(JOINED).exists()
}

/// A cluster to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Where one of its nodes listens.
    pub address: String,
    /// None where the node has joined already.
    pub token: Option<TokenText>,
}

/// Which node of which cluster this is.
pub struct Place {
    pub id: Option<u64>,
    pub join: Option<Invitation>,
    pub peers: BTreeMap<u64, String>,
    pub voters: Vec<u64>,
}

/// A setting as a flag and in the file.
type Given<T> = (Option<T>, Option<T>);

/// The settings `id`, and `join`, `token`, `peers` and `voters`.
///
/// # Errors
/// `bad-config`.
pub fn pick_place(
    picker: &mut Picker,
    id: Given<u64>,
    [join, token, peers, voters]: [Given<String>; 4],
) -> Result<Place, Problem> {
    let id = picker.pick("id", id.0, id.1, || None)?;
    let join = picker.pick("join", join.0, join.1, || None)?;
    let token = picker.pick("token", token.0, token.1, || None)?;
    let peers = picker.pick("peers", peers.0, peers.1, || None)?;
    let peers = parse_peers(&peers.unwrap_or_default())?;
    let all = || (!peers.is_empty()).then(|| default_voters(&peers));
    let voters = picker.pick("voters", voters.0, voters.1, all)?;
    Ok(Place {
        // Nodes that are named by their ids have one.
        id: id.or_else(|| (!peers.is_empty()).then_some(1)),
        join: invitation(join, token)?,
        voters: match voters {
            Some(voters) => parse_voters(&voters, &peers)?,
            None => Vec::new(),
        },
        peers,
    })
}

/// # Errors
/// `bad-config` for what is no address or no token.
fn invitation(join: Option<String>, token: Option<String>) -> Result<Option<Invitation>, Problem> {
    let Some(address) = join else {
        return Ok(None);
    };
    if !has_port(&address) {
        let hint = "give --join the address of a node of the cluster, such as host:7401";
        return Err(bad(format!("'{address}' has no port"), hint));
    }
    let token = token.map(|text| {
        TokenText::parse(text.trim()).ok_or_else(|| {
            let hint = "paste it whole, as `reelraft cluster token create` printed it";
            bad("the token is none", hint)
        })
    });
    Ok(Some(Invitation {
        address,
        token: token.transpose()?,
    }))
}

fn has_port(address: &str) -> bool {
    let port = address.rsplit_once(':');
    port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

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

fn parse_peers(text: &str) -> Result<BTreeMap<u64, String>, Problem> {
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
        if !has_port(address) {
            return Err(bad(format!("'{address}' has no port"), hint));
        }
        if peers.insert(id, address.to_string()).is_some() {
            return Err(bad(format!("node {id} is listed twice"), hint));
        }
    }
    Ok(peers)
}

fn parse_voters(text: &str, peers: &BTreeMap<u64, String>) -> Result<Vec<u64>, Problem> {
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
fn default_voters(peers: &BTreeMap<u64, String>) -> String {
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
