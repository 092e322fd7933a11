//! Machines behind a router: each in a network namespace of its own, joined to a router's
//! that masquerades. They reach the hosts of a [`Network`](crate::network::Network), and
//! nobody reaches them.

use crate::network::{Network, add, run};

/// The network behind the router: reserved for such tests, as that of the nodes is.
const INSIDE: &str = "198.19.7";

/// The router's place in the nodes' network.
const ROUTER: u64 = 200;

/// The machines and their router. They are removed with the network.
pub struct NatSite;

impl NatSite {
    /// Puts this many machines behind a router of a network.
    ///
    /// # Errors
    /// What can't be created.
    pub fn create(network: &Network, machines: u64) -> Result<Self, String> {
        let router = router();
        add(&router)?;
        network.join(&router, ROUTER)?;
        let switch = ["link", "add", "br1", "type", "bridge"];
        ip(&router, &switch)?;
        ip(
            &router,
            &["addr", "add", &format!("{INSIDE}.254/24"), "dev", "br1"],
        )?;
        ip(&router, &["link", "set", "br1", "up"])?;
        for machine in 1..=machines {
            let (host, port) = (namespace(machine), format!("in{machine}"));
            add(&host)?;
            ip(
                &router,
                &[
                    "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host,
                ],
            )?;
            ip(&router, &["link", "set", &port, "master", "br1", "up"])?;
            let address = format!("{INSIDE}.{machine}/24");
            ip(&host, &["addr", "add", &address, "dev", "eth0"])?;
            ip(&host, &["link", "set", "eth0", "up"])?;
            ip(&host, &["link", "set", "lo", "up"])?;
            ip(
                &host,
                &["route", "add", "default", "via", &format!("{INSIDE}.254")],
            )?;
        }
        inside(
            &router,
            &["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        )?;
        let masquerade = ["-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE"];
        let nat = ["iptables", "-w", "5", "-t", "nat"];
        inside(&router, &[&nat[..], &masquerade].concat())?;
        Ok(NatSite)
    }

    /// Words that run a program on a machine.
    pub fn host_prefix(&self, machine: u64) -> Vec<String> {
        let host = namespace(machine);
        ["ip", "netns", "exec", &host].map(str::to_string).to_vec()
    }
}

fn router() -> String {
    format!("rr{}nat", std::process::id())
}

fn namespace(machine: u64) -> String {
    format!("rr{}e{machine}", std::process::id())
}

fn ip(host: &str, words: &[&str]) -> Result<(), String> {
    run(&[&["ip", "-n", host], words].concat())
}

fn inside(host: &str, words: &[&str]) -> Result<(), String> {
    run(&[&["ip", "netns", "exec", host], words].concat())
}
