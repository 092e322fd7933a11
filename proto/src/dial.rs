//! Calls to nodes: the one place that makes an endpoint of an address, and the
//! one that bounds an answer. What differs between callers is how soon each
//! gives up.

use std::time::Duration;

use tonic::{Status, transport::Endpoint};

/// How soon a connection is given up.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// To establish it.
    pub connect: Duration,
    /// Between two HTTP/2 pings, sent while a call waits.
    pub keepalive_every: Duration,
    /// Until an unanswered ping breaks the connection and ends its calls.
    pub keepalive_timeout: Duration,
}

/// An address that no connection can be made to.
#[derive(Debug)]
pub struct BadAddress {
    /// The address as it was given.
    pub address: String,
    /// Why it can't be one.
    pub cause: String,
}

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' is not an address: {}", self.address, self.cause)
    }
}

impl std::error::Error for BadAddress {}

/// An endpoint for `host:port`. Nothing is connected yet.
///
/// # Errors
/// [`BadAddress`] for text that is not a host and a port.
pub fn endpoint(address: &str, timing: Timing) -> Result<Endpoint, BadAddress> {
    let bad = |cause: String| BadAddress {
        address: address.to_string(),
        cause,
    };
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(bad("it has no port".to_string()));
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| bad(error.to_string()))?;
    Ok(endpoint
        .connect_timeout(timing.connect)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(timing.keepalive_every)
        .keep_alive_timeout(timing.keepalive_timeout))
}

/// An answer within its time.
///
/// # Errors
/// The call's own status, or `DEADLINE_EXCEEDED`.
pub async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            let cause = format!("no answer within {} ms", limit.as_millis());
            Err(Status::deadline_exceeded(cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let timing = Timing {
            connect: Duration::from_secs(1),
            keepalive_every: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(1),
        };
        for good in ["127.0.0.1:7401", "node-1:7401", "[::1]:7401"] {
            assert!(endpoint(good, timing).is_ok(), "{good}");
        }
        for bad in [
            "",
            "node-1",
            "node-1:",
            "node-1:x",
            "node 1:7401",
            "https://h:1/:2x",
        ] {
            assert!(endpoint(bad, timing).is_err(), "{bad}");
        }
    }
}
