//! Several hosts on one machine: each node in a network namespace of its own,
//! all joined by a bridge in one more, where the clients are; and the faults
//! of such a network, made with iptables in the nodes' namespaces. The names
//! carry this process's id, so that two runs don't meet. All of it is removed
//! at the end, however that comes: by return, by panic or by Ctrl-C.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// The nodes' network. Each run's is closed off, so all may use the same one:
/// 198.18.0.0/15 is set aside for such tests (RFC 2544).
const SUBNET: &str = "198.18.7";

/// The clients' address in it.
const CLIENTS: u64 = 254;

/// Where every node listens: each has an address of its own.
const PORT: u16 = 7401;

/// The namespaces that this process has made and not yet removed.
static MADE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Which way a node is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It hears nobody and nobody hears it.
    Both,
    /// It hears nobody, and is heard.
    Deaf,
    /// It hears all, and nobody hears it.
    Mute,
}

pub struct Network {
    nodes: Vec<u64>,
}

impl Network {
    /// What this machine lacks for such a network, if anything.
    pub fn lacking() -> Option<String> {
        // SAFETY: takes nothing and gives a number.
        if unsafe { libc::geteuid() } != 0 {
            return Some("network namespaces need root".to_string());
        }
        for (program, package) in [("ip", "iproute2"), ("iptables", "iptables")] {
            if let Err(error) = quiet(&[program, "-V"]) {
                return Some(format!(
                    "{program} is missing ({error}): apt-get install {package}"
                ));
            }
        }
        let probe = format!("rr{}try", std::process::id());
        let made = quiet(&["ip", "netns", "add", &probe])
            .and_then(|()| quiet(&["ip", "netns", "exec", &probe, "iptables", "-L", "-n"]));
        let _ = quiet(&["ip", "netns", "del", &probe]);
        made.err()
            .map(|error| format!("network namespaces can't be used here: {error}"))
    }

    /// Makes a network of so many nodes.
    ///
    /// # Errors
    /// What could not be made.
    pub fn lay(nodes: u64) -> Result<Self, String> {
        remove_on_signal()?;
        // From here on, whatever has been made is removed on drop.
        let network = Network {
            nodes: (1..=nodes).collect(),
        };
        let switch = clients_namespace();
        add(&switch)?;
        quiet(&["ip", "-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        quiet(&["ip", "-n", &switch, "link", "set", "br0", "up"])?;
        quiet(&["ip", "-n", &switch, "link", "set", "lo", "up"])?;
        let clients = format!("{SUBNET}.{CLIENTS}/24");
        quiet(&["ip", "-n", &switch, "addr", "add", &clients, "dev", "br0"])?;
        for &node in &network.nodes {
            let (host, port) = (namespace(node), format!("port{node}"));
            let address = format!("{SUBNET}.{node}/24");
            add(&host)?;
            quiet(&[
                "ip", "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &host,
            ])?;
            quiet(&[
                "ip", "-n", &switch, "link", "set", &port, "master", "br0", "up",
            ])?;
            quiet(&["ip", "-n", &host, "addr", "add", &address, "dev", "eth0"])?;
            quiet(&["ip", "-n", &host, "link", "set", "eth0", "up"])?;
            quiet(&["ip", "-n", &host, "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    /// Where a node listens.
    pub fn address(node: u64) -> String {
        format!("{SUBNET}.{node}:{PORT}")
    }

    /// Words that put a program on a node's host.
    pub fn on_host(node: u64) -> Vec<String> {
        within(&namespace(node))
    }

    /// Words that put a program where the clients are.
    pub fn among_clients() -> Vec<String> {
        within(&clients_namespace())
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

    /// Loses this share of what arrives at each node.
    ///
    /// # Errors
    /// What iptables says.
    pub fn lose(&self, share: &str) -> Result<(), String> {
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

fn within(namespace: &str) -> Vec<String> {
    ["ip", "netns", "exec", namespace]
        .map(str::to_string)
        .to_vec()
}

fn add(namespace: &str) -> Result<(), String> {
    quiet(&["ip", "netns", "add", namespace])?;
    made().push(namespace.to_string());
    Ok(())
}

fn made() -> std::sync::MutexGuard<'static, Vec<String>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the namespaces' names; the kernel removes what they name when the
/// last process in them has ended.
fn remove_all() {
    for namespace in made().drain(..) {
        if let Err(error) = quiet(&["ip", "netns", "del", &namespace]) {
            eprintln!("{error}");
        }
    }
}

fn rule(node: u64, words: &[&str]) -> Result<(), String> {
    let host = namespace(node);
    // It waits where another one has the lock for a moment.
    let iptables = ["ip", "netns", "exec", &host, "iptables", "-w", "5"];
    quiet(&[&iptables[..], words].concat())
}

fn quiet(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", words.join(" "), said.trim()))
}

/// Has an interrupted run remove what it made. The nodes end by themselves
/// with this process.
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

/// libfaketime, which sets a program's wall clock wrong; where Debian's package
/// faketime puts it.
pub fn wrong_clock_library() -> Result<String, String> {
    let folders = std::fs::read_dir("/usr/lib").map_err(|error| error.to_string())?;
    let candidates = folders
        .flatten()
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = candidates
        .chain([Path::new("/usr/lib/faketime/libfaketimeMT.so.1").to_path_buf()])
        .find(|path| path.exists());
    found
        .map(|path| path.display().to_string())
        .ok_or("libfaketime is missing: apt-get install faketime".to_string())
}
