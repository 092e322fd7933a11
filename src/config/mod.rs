//! A node's settings: flags, then environment (`REELRAFT_…`), then a TOML
//! file, then defaults.

mod allowed;
mod check;
mod folder;
mod http;
mod keeping;
mod log_format;
mod membership;
mod origin;
mod secrets;
mod size;
mod tls;
mod variables;
mod watch;
mod ways;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use reelraft_model::Problem;
use reelraft_proto::auth::Secret;

pub use self::{
    allowed::Reach,
    keeping::{Keeping, KeepingArgs},
    log_format::LogFormat,
    membership::{Invitation, JOINED, has_joined},
    origin::{Shown, json, table, variable},
    secrets::client_credential,
    tls::{Tls, TlsArgs},
    variables::misspelt,
    watch::WatchWords,
};
use self::{
    allowed::pick_reach,
    folder::required_folder,
    http::{pick_http, pick_public},
    keeping::pick_keeping,
    membership::{pick_place, resolve_address},
    origin::{File, Picker, utf8},
    secrets::pick_secrets,
    tls::pick_tls,
    watch::watch_words,
    ways::{pick_advertise, pick_ways},
};
use crate::limits::{
    KEEP_SOURCES_S, REHOME_AFTER_S, REPLACE_VOTER_AFTER_S, REPLAN_AFTER_S, SCRUB_EVERY_S,
    UPLOADS_EXPIRE_AFTER_S,
};

/// Settings as flags.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct NodeArgs {
    /// This node's id, from 1 up; fixed for the life of a data folder [default: that of the
    /// folder, or what the cluster gives it, or 1]
    #[arg(long)]
    pub id: Option<u64>,
    /// Address to listen on, such as 127.0.0.1:7401
    #[arg(long)]
    pub listen: Option<String>,
    /// Address of the HTTP port, such as 127.0.0.1:8401 [default: no HTTP]
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// What browsers call this node's HTTP port, such as https://node1.example.org
    /// [default: http, with the address of --http, or the host of --advertise]
    #[arg(long, value_name = "URL")]
    pub http_public: Option<String>,
    /// Address under which the others reach this node [default: --listen]
    #[arg(long)]
    pub advertise: Option<String>,
    /// Folder for everything this node keeps
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// A cluster to join: the address of any of its nodes, such as host:7401. Takes a token; once
    /// the node has joined, neither is asked for again
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["peers", "id"])]
    pub join: Option<String>,
    /// The token to join with, from `reelraft cluster token create` on any of its nodes
    #[arg(long, requires = "join")]
    pub token: Option<String>,
    /// All nodes with their addresses, such as 1=host:7401,2=host:7402, to found a cluster together [default: this node founds one alone]
    #[arg(long)]
    pub peers: Option<String>,
    /// Ids of the voters that found a cluster, such as 1,2,3 [default: all of --peers, or the largest odd number up to 7]
    #[arg(long)]
    pub voters: Option<String>,
    /// Tasks to run at once [default: the number of cores]
    #[arg(long)]
    pub slots: Option<u32>,
    /// Seconds within which every stored byte is checked for corruption [default: one day]
    #[arg(long, value_name = "SECONDS")]
    pub scrub_every: Option<u64>,
    /// Seconds that a home of a finished output may be silent before another node copies it, while this node leads [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub rehome_after: Option<u64>,
    /// Seconds that a silent node is counted on to return with a job's encoder build, before the job is made anew under another, while this node leads [default: 600]
    #[arg(long, value_name = "SECONDS")]
    pub replan_after: Option<u64>,
    /// Seconds that a voter may be silent before another node takes its vote, while this node leads [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub replace_voter_after: Option<u64>,
    /// Seconds that an upload may make no progress before its job fails, while this node leads [default: one day]
    #[arg(long, value_name = "SECONDS")]
    pub uploads_expire_after: Option<u64>,
    /// Seconds after which a job that has ended is deleted with its output, while this node leads; 0: never [default: 0]
    #[arg(long, value_name = "SECONDS")]
    pub keep_finished: Option<u64>,
    /// Ranges of addresses that URLs in requests may lead to although they are not global, such as 10.0.0.0/8,::1 [default: none]
    #[arg(long, value_name = "RANGE,…")]
    pub allow_addresses: Option<String>,
    /// TOML file with the buckets that s3://NAME/KEY names in requests, and their keys [default: none]
    #[arg(long, value_name = "FILE")]
    pub s3_buckets: Option<String>,
    /// Seconds that the source of a job that failed or was cancelled is kept, so that it can be tried again, while this node leads; that of a finished one with --hold-source is kept no longer either [default: one day]
    #[arg(long, value_name = "SECONDS")]
    pub keep_sources: Option<u64>,
    /// Whether a job takes the output of an equal one of its tenant, while this node leads; if not, each is encoded [default: true]
    #[arg(long, value_name = "BOOL")]
    pub reuse_outputs: Option<bool>,
    #[command(flatten)]
    pub keeping: KeepingArgs,
    /// Of how many in a hundred results of an engine a member makes the same again, to compare, while this node leads; 0: of none [default: 5]
    #[arg(long, value_name = "PERCENT")]
    pub verify_engines: Option<u32>,
    /// The log's lines: text, or json for an object a line [default: text]
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<LogFormat>,
    /// The cluster's secret, from the flag that all commands share.
    #[arg(skip)]
    pub secret: Option<String>,
    /// File with the secret that clients have, in place of --secret
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<String>,
    /// Secret of the nodes alone, the same on all of them [default: the clients' secret].
    /// Prefer REELRAFT_PEER_SECRET, which other users can't read
    #[arg(long, value_name = "SECRET")]
    pub peer_secret: Option<String>,
    /// File with the nodes' secret, in place of --peer-secret
    #[arg(long, value_name = "FILE")]
    pub peer_secret_file: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// TOML file with any of these settings, and folders to watch
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// A node's effective settings.
#[allow(missing_docs)] // Most names say it all.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The id that was given; none: that of the folder, or what the cluster gives, or 1.
    pub id: Option<u64>,
    pub listen: SocketAddr,
    /// Address of the HTTP port; none: there is none.
    pub http: Option<SocketAddr>,
    /// What browsers call it, as an origin.
    pub http_public: Option<String>,
    /// Where the others reach this node.
    pub advertise: String,
    pub data: PathBuf,
    /// A node of the cluster to join, and the token for that.
    pub join: Option<Invitation>,
    /// The nodes that found a cluster together, itself included; empty where none are
    /// named.
    pub peers: BTreeMap<u64, String>,
    /// Those of them that vote.
    pub voters: Vec<u64>,
    /// Tasks to run at once.
    pub slots: u32,
    /// Seconds within which every stored byte is checked for corruption.
    pub scrub_every_s: u64,
    /// Seconds that a home of a finished output may be silent before another
    /// node copies it, while this node leads.
    pub rehome_after_s: u64,
    /// Seconds that a silent node is counted on to return with a job's encoder
    /// build, before the job is made anew under another, while this node leads.
    pub replan_after_s: u64,
    /// Seconds that a voter may be silent before another node takes its vote,
    /// while this node leads.
    pub replace_voter_after_s: u64,
    /// Seconds that an upload may make no progress before its job fails, while
    /// this node leads.
    pub uploads_expire_after_s: u64,
    /// Seconds after which a job that has ended is deleted, while this node
    /// leads; 0: never.
    pub keep_finished_s: u64,
    /// Where URLs in requests may lead to.
    pub reach: Reach,
    /// Seconds that the source of a job that ended without an output is kept,
    /// while this node leads.
    pub keep_sources_s: u64,
    /// Whether a job takes the output of an equal one, while this node leads.
    pub reuse_outputs: bool,
    /// What it keeps, and how it copies.
    pub keeping: Keeping,
    /// Of how many in a hundred results of engines a member makes the same again.
    pub verify_engines: u32,
    /// What the log's lines look like.
    pub log_format: LogFormat,
    /// What clients must know.
    pub secret: Secret,
    /// What the other nodes must know; the clients' where none is given.
    pub peer_secret: Secret,
    pub tls: Tls,
    /// The folders that it watches.
    pub watch: Vec<WatchWords>,
    /// Each setting with its origin.
    pub shown: Vec<Shown>,
}

impl NodeConfig {
    /// Puts the settings together.
    ///
    /// # Errors
    /// A `bad-config` that names the setting and how to correct it.
    pub fn resolve(args: NodeArgs) -> Result<Self, Problem> {
        let (mut config, data) = Self::gather(args)?;
        config.data = required_folder(data)?;
        // What it is to know it is told with its id.
        if config.join.is_none() && !has_joined(&config.data) {
            config.check_door()?;
        }
        Ok(config)
    }

    /// The settings as a node would have them, also where no folder is given yet, and the
    /// folders that it would watch.
    ///
    /// # Errors
    /// As [`NodeConfig::resolve`], but for the folder.
    pub fn show(args: NodeArgs) -> Result<(Vec<Shown>, Vec<WatchWords>), Problem> {
        Self::gather(args).map(|(config, _)| (config.shown, config.watch))
    }

    /// The settings without the folder, and what was said of the folder.
    fn gather(args: NodeArgs) -> Result<(Self, Option<String>), Problem> {
        let mut picker = Picker::default();
        let file = File::read(args.config.clone())?;
        let times = times_given(&args, &file);
        let given = [
            (args.join, file.join),
            (args.token, file.token),
            (args.peers, file.peers),
            (args.voters, file.voters),
        ];
        let place = pick_place(&mut picker, (args.id, file.id), given)?;
        let listen = picker.pick_or("listen", args.listen, file.listen, LISTEN.into())?;
        let advertise = pick_advertise(&mut picker, (args.advertise, file.advertise), &listen)?;
        let http = pick_http(&mut picker, (args.http, file.http))?;
        let listens = [Some(resolve_address(&listen)?), http];
        let tls_file = (file.tls, file.tls_cert, file.tls_key);
        let tls = pick_tls(&mut picker, args.tls, tls_file, listens)?;
        let public = (args.http_public, file.http_public);
        let http_public = pick_public(&mut picker, public, http, (&advertise, tls.on))?;
        let data = picker.pick("data", utf8(args.data)?, utf8(file.data)?, || None)?;
        let slots = picker.pick_or("slots", args.slots, file.slots, cores())?;
        let [scrub, rehome, replan, expire, keep, kept, vote] = pick_seconds(&mut picker, times)?;
        let ranges = (args.allow_addresses, file.allow_addresses);
        let reach = pick_reach(&mut picker, ranges, (args.s3_buckets, file.s3_buckets))?;
        let in_file = [file.disk_limit, file.copy_rate, file.zone];
        let keeping = pick_keeping(&mut picker, args.keeping, in_file)?;
        let reuse = (args.reuse_outputs, file.reuse_outputs);
        let verify = (args.verify_engines, file.verify_engines);
        let form = (args.log_format, file.log_format);
        let ways = pick_ways(&mut picker, reuse, verify, form)?;
        let texts = (args.secret, file.secret);
        let clients = [texts, (args.secret_file, file.secret_file)];
        let texts = (args.peer_secret, file.peer_secret);
        let peers = [texts, (args.peer_secret_file, file.peer_secret_file)];
        let (secret, peer_secret) = pick_secrets(&mut picker, clients, peers)?;
        let watch = watch_words(file.watch)?;
        picker.shown.extend(watch::shown(&watch));
        let config = NodeConfig {
            listen: resolve_address(&listen)?,
            http,
            http_public,
            advertise,
            data: PathBuf::new(),
            id: place.id,
            join: place.join,
            peers: place.peers,
            voters: place.voters,
            slots,
            scrub_every_s: scrub,
            rehome_after_s: rehome,
            replan_after_s: replan,
            replace_voter_after_s: vote,
            uploads_expire_after_s: expire,
            keep_finished_s: keep,
            reach,
            keep_sources_s: kept,
            reuse_outputs: ways.0,
            verify_engines: ways.1,
            keeping,
            log_format: ways.2,
            secret,
            peer_secret,
            tls,
            watch,
            shown: picker.shown,
        };
        config.check()?;
        Ok((config, data))
    }
}

/// How many cores this machine has.
fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Where a node listens that is told nothing else.
const LISTEN: &str = "127.0.0.1:7401";

/// The settings in seconds with their defaults, in order.
const SECONDS: [(&str, u64); 7] = [
    ("scrub_every", SCRUB_EVERY_S),
    ("rehome_after", REHOME_AFTER_S),
    ("replan_after", REPLAN_AFTER_S),
    ("uploads_expire_after", UPLOADS_EXPIRE_AFTER_S),
    ("keep_finished", 0),
    ("keep_sources", KEEP_SOURCES_S),
    ("replace_voter_after", REPLACE_VOTER_AFTER_S),
];

/// They as flags and in the file.
fn times_given(args: &NodeArgs, file: &File) -> [(Option<u64>, Option<u64>); SECONDS.len()] {
    [
        (args.scrub_every, file.scrub_every),
        (args.rehome_after, file.rehome_after),
        (args.replan_after, file.replan_after),
        (args.uploads_expire_after, file.uploads_expire_after),
        (args.keep_finished, file.keep_finished),
        (args.keep_sources, file.keep_sources),
        (args.replace_voter_after, file.replace_voter_after),
    ]
}

/// Takes the settings in seconds, each given as a flag and in the file.
fn pick_seconds(
    picker: &mut Picker,
    given: [(Option<u64>, Option<u64>); SECONDS.len()],
) -> Result<[u64; SECONDS.len()], Problem> {
    let mut seconds = [0; SECONDS.len()];
    let settings = SECONDS.into_iter().zip(given);
    for (picked, ((key, default), (flag, file))) in seconds.iter_mut().zip(settings) {
        *picked = picker.pick_or(key, flag, file, default)?;
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{variables::KNOWN, *};

    /// A secret that is long enough beyond loopback.
    const LONG: &str = "0123456789abcdef";

    fn args() -> NodeArgs {
        NodeArgs {
            data: Some("x".into()),
            ..Default::default()
        }
    }

    #[test]
    fn defaults_make_a_cluster_of_one() {
        let config = NodeConfig::resolve(args()).unwrap();
        assert_eq!((config.id, config.join.is_some()), (None, false));
        assert!(config.peers.is_empty() && config.voters.is_empty());
        assert!(config.data.is_absolute() && config.data.ends_with("x"));
    }

    #[test]
    fn settings_are_shown_without_a_folder() {
        let (shown, _) = NodeConfig::show(NodeArgs::default()).unwrap();
        let data = shown.iter().find(|shown| shown.key == "data").unwrap();
        assert_eq!((data.value.as_str(), data.origin), ("", "unset"));
        assert!(NodeConfig::resolve(NodeArgs::default()).is_err());
        for setting in shown {
            let name = format!("REELRAFT_{}", setting.key.to_uppercase());
            assert!(KNOWN.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_not_utf8_is_refused_and_no_other_taken() {
        use std::os::unix::ffi::OsStringExt;
        let problem = NodeConfig::resolve(NodeArgs {
            data: Some(std::ffi::OsString::from_vec(b"d\xff".to_vec()).into()),
            ..Default::default()
        })
        .unwrap_err();
        assert!(problem.cause.contains(r"d\xFF"), "{problem}");
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
        assert_eq!(
            (config.id, config.slots, config.voters.len()),
            (Some(2), 3, 3)
        );
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
        let with = |secret: &str, peer_secret: Option<&str>| {
            NodeConfig::resolve(NodeArgs {
                secret: Some(secret.into()),
                peer_secret: peer_secret.map(str::to_string),
                ..open.clone()
            })
        };
        for short in [with("x", None), with(LONG, Some("x"))] {
            let problem = short.unwrap_err();
            assert_eq!(problem.kind, "bad-config");
            assert!(problem.cause.contains("1 characters"), "{problem}");
        }
        let config = with(LONG, None).unwrap();
        assert!(config.clients_know_peer_secret());
        let other = LONG.to_uppercase();
        let config = with(LONG, Some(&other)).unwrap();
        assert!(!config.clients_know_peer_secret());
        for key in ["secret", "peer_secret"] {
            let shown = config.shown.iter().find(|shown| shown.key == key);
            assert_eq!(shown.unwrap().value, "(set)");
        }
    }

    #[test]
    fn a_secret_comes_from_a_file_where_no_text_is_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, format!("{LONG}\n")).unwrap();
        let from = |secret: Option<&str>, path: &std::path::Path| {
            NodeConfig::resolve(NodeArgs {
                secret: secret.map(str::to_string),
                secret_file: Some(path.display().to_string()),
                ..args()
            })
        };
        let expected = |text: &str| Secret::new(text).unwrap();
        assert!(from(None, &path).unwrap().secret.same_as(&expected(LONG)));
        assert!(
            from(Some("text"), &path)
                .unwrap()
                .secret
                .same_as(&expected("text"))
        );
        let problem = from(None, &folder.path().join("none")).unwrap_err();
        assert_eq!(problem.kind, "bad-config");
        std::fs::write(&path, "\n").unwrap();
        assert!(from(None, &path).unwrap_err().cause.contains("empty"));
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(from(None, &path).is_err(), "no header carries so much");
    }

    #[test]
    fn even_and_unknown_voters_are_refused() {
        for voters in ["1,2", "4", "1,1,2"] {
            let args = NodeArgs {
                peers: Some("1=a:1,2=b:2,3=c:3".into()),
                voters: Some(voters.into()),
                ..args()
            };
            assert!(NodeConfig::resolve(args).is_err(), "{voters}");
        }
    }
}
