//! What a node tells the service manager that started it (`sd_notify(3)`).

use std::{
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::Duration,
};

use reelraft_harness::{binary, free_ports};

/// How long a node may take to say what is expected of it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn next(socket: &UnixDatagram) -> String {
    let mut word = [0; 256];
    let length = socket.recv(&mut word).unwrap();
    String::from_utf8_lossy(&word[..length]).trim().into()
}

#[test]
fn a_service_manager_is_told_that_a_node_serves_lives_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let listen = format!("127.0.0.1:{}", free_ports(1));
    let mut node = Command::new(binary());
    node.args(["node", "--id", "1", "--listen", &listen, "--data"])
        .arg(folder.path().join("data"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .stderr(Stdio::null());
    let mut node = Node(node.spawn().unwrap());

    assert_eq!(next(&socket), "READY=1");
    // It serves as soon as it says so.
    std::net::TcpStream::connect(&listen).unwrap();
    assert_eq!(next(&socket), "WATCHDOG=1");
    assert_eq!(next(&socket), "WATCHDOG=1");

    let pid = i32::try_from(node.0.id()).unwrap();
    // SAFETY: a signal to a child that has not been waited for.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    while next(&socket) != "STOPPING=1" {}
    assert!(node.0.wait().unwrap().success());
}
