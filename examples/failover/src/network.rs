//! Several hosts on one machine: each node in a network namespace of its own,
//! all joined by a bridge in one more, where the clients are; and the faults
//! of such a network, made with iptables in the nodes' namespaces. The names
//! contain this process's id, so that two runs don't collide. All of it is
//! removed at the end, be it by return, by panic or by Ctrl-C.

use std::{
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// The nodes' network. Each run's is isolated, so all may use the same one:
/// 198.18.0.0/15 is reserved for such tests (RFC 2544).
const SUBNET: &str = "198.18.7";

/// The clients' address in it.
const CLIENTS: u64 = 254;

/// Where every node listens: each has an address of its own.
const PORT: u16 = 7401;
const HTTP_PORT: u16 = 8401;

/// The namespaces that this process has created and not yet removed.
static CREATED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// In which direction a node is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It hears nobody and nobody hears it.
    Both,
    /// It hears nobody, and is heard.
    Deaf,
    /// It hears all, and nobody hears it.
    Mute,
}

/// The hosts and the bridge between them. Dropped, all of it is removed.
pub struct Network {
    nodes: Vec<u64>,
}

impl Network {
    /// What this machine lacks for such a network, if anything.
    pub fn missing_prerequisite() -> Option<String> {
        // SAFETY: takes nothing and gives a number.
        if unsafe { libc::geteuid() } != 0 {
            return Some("network namespaces need root".to_string());
        }
        for (program, package) in [("ip", "iproute2"), ("iptables", "iptables")] {
            if let Err(error) = run(&[program, "-V"]) {
                return Some(format!(
                    "{program} is missing ({error}): apt-get install {package}"
                ));
            }
        }
        let probe = format!("rr{}try", std::process::id());
        let made = run(&["ip", "netns", "add", &probe])
            .and_then(|()| run(&["ip", "netns", "exec", &probe, "iptables", "-L", "-n"]));
        let _ = run(&["ip", "netns", "del", &probe]);
        made.err()
            .map(|error| format!("network namespaces can't be used here: {error}"))
    }

    /// Creates a network for this many nodes.
    ///
    /// # Errors
    /// What can't be created.
    pub fn create(nodes: u64) -> Result<Self, String> {
        remove_on_signal()?;
        // From here on, whatever has been made is removed on drop.
        let network = Network {
            nodes: (1..=nodes).collect(),
        };
        let switch = clients_namespace();
        add(&switch)?;
        run(&["ip", "-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        run(&["ip", "-n", &switch, "link", "set", "br0", "up"])?;
        run(&["ip", "-n", &switch, "link", "set", "lo", "up"])?;
        let clients = format!("{SUBNET}.{CLIENTS}/24");
        run(&["ip", "-n", &switch, "addr", "add", &clients, "dev", "br0"])?;
        for &node in &network.nodes {
            let host = namespace(node);
            add(&host)?;
            network.join(&host, node)?;
        }
        Ok(network)
    }

    /// Joins a host to the bridge, with an address of its own there.
    pub(crate) fn join(&self, host: &str, number: u64) -> Result<(), String> {
        let (switch, port) = (clients_namespace(), format!("port{number}"));
        let address = format!("{SUBNET}.{number}/24");
        run(&[
            "ip", "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
            "netns", host,
        ])?;
        run(&[
            "ip", "-n", &switch, "link", "set", &port, "master", "br0", "up",
        ])?;
        run(&["ip", "-n", host, "addr", "add", &address, "dev", "eth0"])?;
        run(&["ip", "-n", host, "link", "set", "eth0", "up"])?;
        run(&["ip", "-n", host, "link", "set", "lo", "up"])
    }

    /// Where a node listens.
    pub fn address(node: u64) -> String {
        format!("{SUBNET}.{node}:{PORT}")
    }

    /// Where a node serves HTTP, if it is told to.
    pub fn http(node: u64) -> String {
        format!("{SUBNET}.{node}:{HTTP_PORT}")
    }

    /// Words that run a program on a node's host.
    pub fn host_prefix(node: u64) -> Vec<String> {
        exec_in(&namespace(node))
    }

    /// Words that run a program where the clients are.
    pub fn clients_prefix() -> Vec<String> {
        exec_in(&clients_namespace())
    }

    /// Cuts a node off from all others, the clients included. Programs on its
    /// own host still reach it.
    ///
    /// # Errors
    /// What iptables says.
    pub fn cut(&self, node: u64, cut: Cut) -> Result<(), String> {
        if cut != Cut::Mute {
            rule(node, &["-A", "INPUT", "!", "-i", "lo", "-j", "DROP"])?;
        }
        if cut != Cut::Deaf {
            rule(node, &["-A", "OUTPUT", "!", "-o", "lo", "-j", "DROP"])?;
        }
        Ok(())
    }

    /// Drops this share of the packets that arrive at each node.
    ///
    /// # Errors
    /// What iptables says.
    pub fn drop_packets(&self, share: &str) -> Result<(), String> {
        for &node in &self.nodes {
            let at_random = [
                "-m",
                "statistic",
                "--mode",
                "random",
                "--probability",
                share,
            ];
            let from_others = ["-A", "INPUT", "!", "-i", "lo"];
            rule(
                node,
                &[&from_others[..], &at_random, &["-j", "DROP"]].concat(),
            )?;
        }
        Ok(())
    }

    /// Undoes every cut and loss.
    ///
    /// # Errors
    /// What iptables says.
    pub fn heal(&self) -> Result<(), String> {
        self.nodes.iter().try_for_each(|&node| rule(node, &["-F"]))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove_all();
    }
}

fn namespace(node: u64) -> String {
    format!("rr{}n{node}", std::process::id())
}

fn clients_namespace() -> String {
    format!("rr{}sw", std::process::id())
}

fn exec_in(namespace: &str) -> Vec<String> {
    ["ip", "netns", "exec", namespace]
        .map(str::to_string)
        .to_vec()
}

pub(crate) fn add(namespace: &str) -> Result<(), String> {
    run(&["ip", "netns", "add", namespace])?;
    created().push(namespace.to_string());
    Ok(())
}

fn created() -> std::sync::MutexGuard<'static, Vec<String>> {
    CREATED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the namespaces' names; the kernel removes what they name when the
/// last process in them has ended.
fn remove_all() {
    for namespace in created().drain(..) {
        if let Err(error) = run(&["ip", "netns", "del", &namespace]) {
            eprintln!("{error}");
        }
    }
}

fn rule(node: u64, words: &[&str]) -> Result<(), String> {
    let host = namespace(node);
    // It waits if another one has the lock for a moment.
    let iptables = ["ip", "netns", "exec", &host, "iptables", "-w", "5"];
    run(&[&iptables[..], words].concat())
}

pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", words.join(" "), error.trim()))
}

/// Makes an interrupted run remove what it created. The nodes end by
/// themselves with this process.
fn remove_on_signal() -> Result<(), String> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let of = |kind| signal(kind).map_err(|error| error.to_string());
        (of(SignalKind::interrupt())?, of(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        remove_all();
        std::process::exit(130);
    });
    Ok(())
}
