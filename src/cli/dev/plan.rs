//! The nodes of a local cluster: their ports, their command lines, and whether
//! the ports are free. Nothing is started here.

use std::{
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use super::folder::BASE_PORT_DEFAULT;
use crate::{
    error::{CliError, os_reason},
    limits::{DEV_HTTP_PORTS_ABOVE, DEV_VOTERS_MAX, PORT_WAIT_MS},
};

/// How every node is started.
#[derive(Clone)]
pub struct Plan {
    pub program: PathBuf,
    pub nodes: u32,
    pub base_port: u16,
    /// Whether the nodes serve HTTP, too.
    pub http: bool,
    pub data: PathBuf,
    pub slots: Option<u32>,
    pub secret: Option<String>,
    /// A secret of the nodes' own.
    pub peer_secret: Option<String>,
    /// Whether nodes and clients speak by TLS.
    pub tls: bool,
    pub restart: bool,
}

impl Plan {
    fn port(&self, id: u32) -> u16 {
        // Both are bounded by clap and the folder: 65535 is never exceeded.
        self.base_port + (id - 1) as u16
    }

    fn http_port(&self, id: u32) -> Option<u16> {
        self.http.then(|| self.port(id) + DEV_HTTP_PORTS_ABOVE)
    }

    pub fn endpoints(&self) -> Vec<String> {
        (1..=self.nodes)
            .map(|id| format!("127.0.0.1:{}", self.port(id)))
            .collect()
    }

    /// What to type next, in another terminal.
    pub fn welcome(&self) -> String {
        let clients = format!("REELRAFT_ENDPOINTS={} ", self.endpoints().join(","));
        let authority = self.data.join("n1/tls/ca.pem");
        let known_by = match self.tls {
            true => format!("REELRAFT_CA={} ", authority.display()),
            false => String::new(),
        };
        format!(
            "starting {} nodes in {}{}; in another terminal: {known_by}{}reelraft transcode IN OUT",
            self.nodes,
            self.data.display(),
            self.http_port(1)
                .map(|port| match self.tls {
                    true => format!(", HTTPS at 127.0.0.1:{port}"),
                    false => format!(", HTTP at 127.0.0.1:{port}"),
                })
                .unwrap_or_default(),
            // Clients ask these by default.
            if self.base_port == BASE_PORT_DEFAULT {
                ""
            } else {
                &clients
            }
        )
    }

    /// The command line of node `id`, without the program.
    pub fn arguments(&self, id: u32) -> Vec<OsString> {
        let peers: Vec<String> = (1..=self.nodes)
            .zip(self.endpoints())
            .map(|(id, endpoint)| format!("{id}={endpoint}"))
            .collect();
        let voters: Vec<String> = (1..=voters(self.nodes)).map(|id| id.to_string()).collect();
        let mut arguments: Vec<OsString> = vec![
            "node".into(),
            "--id".into(),
            id.to_string().into(),
            "--listen".into(),
            format!("127.0.0.1:{}", self.port(id)).into(),
            "--data".into(),
            // As it is: a name in other letters would be another folder.
            self.data.join(format!("n{id}")).into(),
            "--peers".into(),
            peers.join(",").into(),
            "--voters".into(),
            voters.join(",").into(),
        ];
        if let Some(port) = self.http_port(id) {
            arguments.extend(["--http".into(), format!("127.0.0.1:{port}").into()]);
        }
        if self.tls {
            arguments.extend(["--tls".into(), "true".into()]);
        }
        if let Some(slots) = self.slots {
            arguments.extend(["--slots".into(), slots.to_string().into()]);
        }
        arguments
    }

    /// Refuses ports in use, after a moment for those just released.
    pub fn await_ports(&self) -> Result<(), CliError> {
        let deadline = Instant::now() + Duration::from_millis(PORT_WAIT_MS);
        for id in 1..=self.nodes {
            await_port(self.port(id), deadline)?;
            if let Some(port) = self.http_port(id) {
                await_port(port, deadline)?;
            }
        }
        Ok(())
    }
}

fn await_port(port: u16, deadline: Instant) -> Result<(), CliError> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while let Err(error) = TcpListener::bind(address) {
        if Instant::now() >= deadline {
            return Err(CliError::Local {
                what: format!("can't listen on {address}"),
                cause: os_reason(&error),
                hint: "stop what uses the port, or choose others with --base-port".into(),
            });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The largest odd number of nodes, up to 7: an even number survives no more
/// failures than the odd one below it.
fn voters(nodes: u32) -> u32 {
    let bounded = nodes.min(DEV_VOTERS_MAX);
    bounded - u32::from(bounded.is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    fn three_nodes() -> Plan {
        Plan {
            program: "reelraft".into(),
            nodes: 3,
            base_port: 7401,
            http: true,
            data: "d".into(),
            slots: Some(2),
            secret: None,
            peer_secret: None,
            tls: false,
            restart: true,
        }
    }

    #[test]
    fn voters_are_the_largest_odd_number_up_to_seven() {
        let counts: Vec<u32> = (1..=9).map(voters).collect();
        assert_eq!(counts, [1, 1, 3, 3, 5, 5, 7, 7, 7]);
    }

    #[test]
    fn a_node_gets_its_command_line() {
        let mut plan = three_nodes();
        assert_eq!(
            plan.arguments(2).join(OsStr::new(" ")),
            "node --id 2 --listen 127.0.0.1:7402 --data d/n2 --peers \
             1=127.0.0.1:7401,2=127.0.0.1:7402,3=127.0.0.1:7403 --voters 1,2,3 \
             --http 127.0.0.1:8402 --slots 2"
        );
        plan.data = OsStr::from_bytes(b"d\xff").into();
        let folder = OsStr::from_bytes(b"d\xff/n2");
        assert!(plan.arguments(2).iter().any(|word| word == folder));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plan = three_nodes();
        plan.nodes = 1;
        plan.base_port = held.local_addr().unwrap().port();
        let error = plan.await_ports().unwrap_err();
        assert!(error.to_string().contains(&plan.base_port.to_string()));
        assert!(error.hint().contains("--base-port"));
    }
}
