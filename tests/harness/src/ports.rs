//! Free ports on loopback for clusters that run side by side.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the ports that Linux gives to outgoing connections, which could take
/// one again before a node listens on it.
const FIRST: u32 = 20_000;

/// Size of the range that ports are taken from.
const COUNT: u32 = 12_000;

/// How many ranges are tried before giving up.
const TRIES_MAX: u32 = 1_000;

/// Whether nobody listens on a port.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The first of `count` free ports in a row. Each call in a process starts
/// further on, because a port that is free now may be one that another cluster
/// of this process is about to take.
///
/// # Panics
/// If there are none.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Programs that start together have neighbouring process ids. They must
    // not try the same ports, which stay free until the first node listens.
    let start = std::process::id().wrapping_mul(37) % COUNT;
    for _ in 0..TRIES_MAX {
        let offset = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        let base = (FIRST + (start + offset) % COUNT) as u16;
        if (base..base + count).all(is_free) {
            return base;
        }
    }
    panic!("no {count} free ports in a row");
}
