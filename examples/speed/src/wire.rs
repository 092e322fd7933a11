//! What goes over the network for one film: the bytes that leave each machine's own
//! interface, beside what has to: the source and the output to each home, and what is
//! encoded elsewhere is read there. Each node is a machine of its own in a network of
//! namespaces; what ffmpeg reads from its node does not leave that machine. Heartbeats
//! are among what is counted.
//!
//! Options: the film and its options as for `film`. Needs root, iproute2 and iptables.

use std::{collections::BTreeSet, path::Path, process::Command};

use reelraft_failover::network::Network;
use serde_json::Value;

use crate::{cluster::Cluster, film::spec, films, options::Options};

/// Nodes, of which two are homes of a film.
const NODES: u16 = 3;

/// Runs the measurement.
pub fn run(options: &Options, folder: &Path) -> Result<(), String> {
    if let Some(reason) = Network::missing_prerequisite() {
        println!("skipped: {reason}");
        return Ok(());
    }
    let film = films::film(options, 60, folder)?;
    let spec = spec(options, None);
    println!("{} {}", film.display(), spec.join(" "));
    let source = std::fs::metadata(&film).map_err(|error| error.to_string())?;
    let source = source.len();
    let _network = Network::create(NODES.into())?;
    let cluster = Cluster::in_network(&folder.join("cluster"), NODES)?;
    let out = folder.join("out.mp4");
    let before = sent()?;
    cluster.transcode(&spec, &film, &out)?;
    let sent = sent()? - before;
    let output = std::fs::metadata(&out).map_err(|error| error.to_string())?;
    let output = output.len();
    let job = cluster.job()?;
    let homes = homes_of(&job);
    let elsewhere = read_elsewhere(&cluster.tasks(&job)?, &homes);
    // The client fetches the film as well, which any way of encoding it elsewhere would.
    let needed = homes.len() as u64 * (source + output) + elsewhere + output;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "source {:.1} MiB, output {:.1} MiB, {} homes, read elsewhere {:.1} MiB, fetched {:.1} MiB",
        mib(source),
        mib(output),
        homes.len(),
        mib(elsewhere),
        mib(output),
    );
    println!(
        "over the wire {:.1} MiB, of which {:.1} MiB had to go there: {:.3}",
        mib(sent),
        mib(needed),
        sent as f64 / needed as f64
    );
    Ok(())
}

/// The nodes that hold the job's bytes.
fn homes_of(job: &Value) -> BTreeSet<u64> {
    let homes = job["homes"].as_array();
    let homes = homes.into_iter().flatten();
    homes.filter_map(|home| home["node"].as_u64()).collect()
}

/// Bytes of the source that nodes have read which are no homes.
fn read_elsewhere(tasks: &[Value], homes: &BTreeSet<u64>) -> u64 {
    let away = tasks.iter().filter(|task| {
        let node = task["node"].as_u64();
        node.is_some_and(|node| !homes.contains(&node))
    });
    away.filter_map(|task| task["bytes_in"].as_u64()).sum()
}

/// Bytes that all machines have sent so far, the clients' too.
fn sent() -> Result<u64, String> {
    let nodes = (1..=NODES.into()).map(|node| sent_by(&Network::host_prefix(node), "eth0"));
    let clients = sent_by(&Network::clients_prefix(), "br0");
    nodes.chain([clients]).sum()
}

/// Bytes that one machine has sent over an interface.
fn sent_by(prefix: &[String], interface: &str) -> Result<u64, String> {
    let (program, args) = prefix.split_first().ok_or("no namespace")?;
    let output = Command::new(program)
        .args(args)
        .args(["cat", "/proc/net/dev"])
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    sent_in(&text, interface).ok_or_else(|| format!("no {interface} in {text}"))
}

/// Reads a line such as `eth0: 90 1 0 0 0 0 0 0 86 1 …`: eight numbers of what came,
/// then what was sent (proc(5), /proc/net/dev).
fn sent_in(text: &str, interface: &str) -> Option<u64> {
    let mut lines = text.lines();
    let numbers = lines.find_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        (name.trim() == interface).then_some(numbers)
    })?;
    numbers.split_whitespace().nth(8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_read() {
        let text =
            "Inter-|   Receive\n    lo: 1 2 3 4 5 6 7 8 9 10\n  eth0: 90 1 0 0 0 0 0 0 86 1 0\n";
        assert_eq!(sent_in(text, "eth0"), Some(86));
        assert_eq!(sent_in(text, "eth1"), None);
    }
}
