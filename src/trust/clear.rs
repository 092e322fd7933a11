//! What may be said in clear, without TLS: to this machine all, to others no secret.

use std::net::IpAddr;

/// What a port that speaks by TLS alone tells whoever asks it by `http://`.
pub const SPEAKS_HTTPS: &str = "this port speaks HTTPS: ask by https://";

/// Whether a host is a name of this machine for itself, so that nobody else hears what
/// is said to it.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_this_machine_for_itself_are_loopback() {
        for own in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(own), "{own}");
        }
        assert!(is_loopback("[::ffff:127.0.0.1]"));
        for other in [
            "",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "node1",
            "localhost.example.org",
            "127.0.0.1.example.org",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
