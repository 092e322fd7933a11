//! A node's settings: flags, then environment (`REELRAFT_…`), then a TOML
//! file, then defaults; and where each came from, for `config show`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use reelraft_model::Problem;
use reelraft_proto::auth::Secret;
use serde::Deserialize;

use crate::limits::SCRUB_EVERY_S;

/// Settings as flags.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct NodeArgs {
    /// This node's id, from 1 on; the same for ever on one data folder
    #[arg(long)]
    pub id: Option<u64>,
    /// Address to listen on, as 127.0.0.1:7401
    #[arg(long)]
    pub listen: Option<String>,
    /// Address under which the others reach this node [default: --listen]
    #[arg(long)]
    pub advertise: Option<String>,
    /// Folder for everything this node keeps
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// All nodes with their addresses, as 1=host:7401,2=host:7402 [default: this one alone]
    #[arg(long)]
    pub peers: Option<String>,
    /// Ids of the voters, as 1,2,3 [default: all nodes, or the largest odd number up to 7]
    #[arg(long)]
    pub voters: Option<String>,
    /// Attempts to run at once [default: the number of cores]
    #[arg(long)]
    pub slots: Option<u32>,
    /// Seconds in which all stored bytes are checked once for rot [default: a day]
    #[arg(long, value_name = "SECONDS")]
    pub scrub_every: Option<u64>,
    /// The cluster's secret, from the flag that all commands share.
    #[arg(skip)]
    pub secret: Option<String>,
    /// TOML file with any of these settings
    #[arg(long)]
    pub config: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    id: Option<u64>,
    listen: Option<String>,
    advertise: Option<String>,
    data: Option<PathBuf>,
    peers: Option<String>,
    voters: Option<String>,
    slots: Option<u32>,
    scrub_every: Option<u64>,
    secret: Option<String>,
}

/// One setting as `config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub key: &'static str,
    /// Its effective value.
    pub value: String,
    /// flag, environment, file or default.
    pub origin: &'static str,
}

/// A node's effective settings.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This node's id.
    pub id: u64,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the others reach it.
    pub advertise: String,
    /// Its data folder.
    pub data: PathBuf,
    /// All nodes, itself included.
    pub peers: BTreeMap<u64, String>,
    /// The voters among them.
    pub voters: Vec<u64>,
    /// Attempts to run at once.
    pub slots: u32,
    /// Seconds in which all stored bytes are checked once for rot.
    pub scrub_every_s: u64,
    /// The cluster's secret.
    pub secret: Secret,
    /// Each setting with its origin.
    pub shown: Vec<Shown>,
}

fn bad(cause: impl Into<String>, hint: &str) -> Problem {
    Problem::new("bad-config", cause, hint)
}

struct Picker {
    shown: Vec<Shown>,
}

impl Picker {
    fn pick<T: std::str::FromStr + std::fmt::Display>(
        &mut self,
        key: &'static str,
        flag: Option<T>,
        file: Option<T>,
        default: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let name = format!("REELRAFT_{}", key.to_uppercase());
        let environment = match std::env::var(&name) {
            Ok(text) if !text.is_empty() => {
                let parsed = text.parse();
                Some(parsed.map_err(|_| {
                    bad(
                        format!("{name}='{text}' can't be read"),
                        "unset or correct it",
                    )
                })?)
            }
            _ => None,
        };
        let found = flag
            .map(|value| (value, "flag"))
            .or_else(|| environment.map(|value| (value, "environment")))
            .or_else(|| file.map(|value| (value, "file")))
            .or_else(|| default().map(|value| (value, "default")));
        let value = match &found {
            Some((value, _)) if key == "secret" && !value.to_string().is_empty() => {
                "(set)".to_string()
            }
            Some((value, _)) => value.to_string(),
            None => String::new(),
        };
        self.shown.push(Shown {
            key,
            value,
            origin: found.as_ref().map_or("unset", |(_, origin)| origin),
        });
        Ok(found.map(|(value, _)| value))
    }
}

/// The largest odd number up to 7 that `nodes` nodes allow: an even voter
/// adds a machine that can fail without adding one that may.
pub fn voters_of(nodes: usize) -> usize {
    let voters = nodes.clamp(1, 7);
    if voters.is_multiple_of(2) {
        voters - 1
    } else {
        voters
    }
}

impl NodeConfig {
    /// Puts the settings together.
    ///
    /// # Errors
    /// A [`Problem`] that names the setting and what would do.
    pub fn resolve(args: NodeArgs) -> Result<Self, Problem> {
        let mut picker = Picker { shown: Vec::new() };
        let path = match args.config {
            Some(path) => Some(path),
            None => std::env::var_os("REELRAFT_CONFIG").map(PathBuf::from),
        };
        let file = match &path {
            None => File::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    bad(
                        format!("{}: {error}", path.display()),
                        "name a readable TOML file with --config",
                    )
                })?;
                toml::from_str(&text).map_err(|error| {
                    bad(
                        format!("{}: {error}", path.display()),
                        "see `reelraft node --help` for the settings",
                    )
                })?
            }
        };
        let text = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
        let id = picker
            .pick("id", args.id, file.id, || Some(1))?
            .unwrap_or(1);
        let listen = picker
            .pick("listen", args.listen, file.listen, || {
                Some("127.0.0.1:7401".into())
            })?
            .unwrap_or_default();
        let advertise = picker
            .pick("advertise", args.advertise, file.advertise, || {
                Some(listen.clone())
            })?
            .unwrap_or_default();
        let data = picker.pick("data", text(args.data), text(file.data), || None)?;
        let peers = picker
            .pick("peers", args.peers, file.peers, || {
                Some(format!("{id}={advertise}"))
            })?
            .unwrap_or_default();
        let peers = parse_peers(&peers)?;
        let usual = || {
            peers
                .keys()
                .take(voters_of(peers.len()))
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let voters = picker
            .pick("voters", args.voters, file.voters, || Some(usual()))?
            .unwrap_or_default();
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let slots = picker
            .pick("slots", args.slots, file.slots, || Some(cores()))?
            .unwrap_or(1);
        let scrub_every_s = picker
            .pick("scrub_every", args.scrub_every, file.scrub_every, || {
                Some(SCRUB_EVERY_S)
            })?
            .unwrap_or(SCRUB_EVERY_S);
        let secret = picker
            .pick("secret", args.secret, file.secret, || None)?
            .unwrap_or_default();

        let config = NodeConfig {
            id,
            listen: resolve_address(&listen)?,
            advertise,
            data: absolute_folder(data)?,
            voters: parse_voters(&voters, &peers)?,
            peers,
            slots,
            scrub_every_s,
            secret: Secret::new(&secret).ok_or_else(|| {
                bad(
                    "the secret has characters no header can carry",
                    "use letters and digits",
                )
            })?,
            shown: picker.shown,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Problem> {
        if self.id == 0 || self.id > u64::from(u32::MAX) {
            return Err(bad(
                format!("node id {} is out of range", self.id),
                "number the nodes from 1 on",
            ));
        }
        match self.peers.get(&self.id) {
            None => Err(bad(
                format!("node {} is not among the peers", self.id),
                "list every node in --peers, this one too",
            )),
            Some(_) if self.slots == 0 => Err(bad("0 slots", "give a node at least one slot")),
            Some(_) if self.scrub_every_s == 0 => Err(bad(
                "a round of the scrub in 0 seconds",
                "give --scrub-every at least 1",
            )),
            Some(_) if !is_loopback(self.listen.ip()) && !self.secret.is_set() => Err(bad(
                format!(
                    "listening on {} without a secret would let anyone in",
                    self.listen
                ),
                "set --secret (or REELRAFT_SECRET) to the same long random word on all nodes and clients",
            )),
            Some(_) => Ok(()),
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

fn resolve_address(text: &str) -> Result<SocketAddr, Problem> {
    text.to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .ok_or_else(|| {
            bad(
                format!("'{text}' is no address to listen on"),
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
            .ok_or_else(|| bad(format!("'{part}' is no peer"), hint))?;
        let id: u64 = id
            .parse()
            .map_err(|_| bad(format!("'{id}' is no node id"), hint))?;
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

fn parse_voters(text: &str, peers: &BTreeMap<u64, String>) -> Result<Vec<u64>, Problem> {
    let hint = "list 1, 3, 5 or 7 ids of --peers, as 1,2,3";
    let mut voters = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let id: u64 = part
            .trim()
            .parse()
            .map_err(|_| bad(format!("'{part}' is no node id"), hint))?;
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

/// The data folder. Absolute, because ffmpeg runs in a folder of its own, where
/// a relative path would name something else.
fn absolute_folder(data: Option<String>) -> Result<PathBuf, Problem> {
    let data = data.ok_or_else(|| {
        bad(
            "no data folder is given",
            "name one with --data; it is made if it does not exist",
        )
    })?;
    std::path::absolute(&data).map_err(|error| {
        bad(
            format!("the data folder '{data}' can't be used: {error}"),
            "name one with --data",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args() -> NodeArgs {
        NodeArgs {
            data: Some("x".into()),
            ..Default::default()
        }
    }

    #[test]
    fn defaults_make_a_cluster_of_one() {
        let config = NodeConfig::resolve(args()).unwrap();
        assert_eq!((config.id, config.voters.as_slice()), (1, &[1][..]));
        assert_eq!(config.peers[&1], "127.0.0.1:7401");
        assert!(config.data.is_absolute() && config.data.ends_with("x"));
    }

    #[test]
    fn flags_beat_the_file_and_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, "slots = 5\nid = 2\npeers = '1=a:1,2=b:2,3=c:3'\n").unwrap();
        let config = NodeConfig::resolve(NodeArgs {
            slots: Some(3),
            config: Some(path),
            ..args()
        })
        .unwrap();
        assert_eq!((config.id, config.slots, config.voters.len()), (2, 3, 3));
        let origin = |key| {
            config
                .shown
                .iter()
                .find(|shown| shown.key == key)
                .unwrap()
                .origin
        };
        assert_eq!(
            (origin("slots"), origin("id"), origin("listen")),
            ("flag", "file", "default")
        );
    }

    #[test]
    fn beyond_loopback_needs_a_secret() {
        let open = NodeArgs {
            listen: Some("0.0.0.0:7401".into()),
            ..args()
        };
        let problem = NodeConfig::resolve(open.clone()).unwrap_err();
        assert!(problem.hint.contains("--secret"), "{problem}");
        let config = NodeConfig::resolve(NodeArgs {
            secret: Some("x".into()),
            ..open
        })
        .unwrap();
        assert!(
            config
                .shown
                .iter()
                .any(|shown| shown.key == "secret" && shown.value == "(set)")
        );
    }

    #[test]
    fn even_voters_and_strangers_are_refused() {
        for voters in ["1,2", "4", "1,1,2"] {
            let args = NodeArgs {
                peers: Some("1=a:1,2=b:2,3=c:3".into()),
                voters: Some(voters.into()),
                ..args()
            };
            assert!(NodeConfig::resolve(args).is_err(), "{voters}");
        }
        assert_eq!([1, 2, 3, 4, 5, 9].map(voters_of), [1, 1, 3, 3, 5, 7]);
    }
}
