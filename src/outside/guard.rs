//! Who may be connected to. The connector itself asks for addresses here, so that
//! what was judged is what is connected to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::{FutureExt, future::BoxFuture};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::AllowedAddresses;

/// How names are resolved.
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of a host.
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As the system does it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

/// A host that may not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("{host} has an address that this node may not connect to")]
pub struct RefusedHost {
    pub host: String,
}

/// Resolves names to addresses that are permitted, or not at all.
#[derive(Clone)]
pub struct Guard {
    allowed: Arc<AllowedAddresses>,
    lookup: Arc<dyn Lookup>,
}

impl Guard {
    pub fn new(allowed: AllowedAddresses, lookup: Arc<dyn Lookup>) -> Self {
        let allowed = Arc::new(allowed);
        Guard { allowed, lookup }
    }

    /// Judges a host that is written as an address, for which no resolver is
    /// asked.
    pub fn check_literal(&self, host: &str) -> Result<(), RefusedHost> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        match literal.parse::<IpAddr>() {
            Ok(address) => self.check(host, &[address]),
            // The connector would not take it for an address either.
            Err(_) => Ok(()),
        }
    }

    /// One address that is not permitted spoils the answer: it is no name for the
    /// outside.
    fn check(&self, host: &str, addresses: &[IpAddr]) -> Result<(), RefusedHost> {
        let permitted = |address: &IpAddr| self.allowed.permits(*address);
        match addresses.iter().all(permitted) {
            true => Ok(()),
            false => Err(RefusedHost {
                host: host.to_string(),
            }),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        async move {
            let host = name.as_str().to_string();
            let addresses = guard.lookup.addresses(host.clone()).await?;
            guard.check(&host, &addresses)?;
            if addresses.is_empty() {
                return Err(io::Error::other("the name has no address").into());
            }
            // The connector puts the URL's port in place of 0.
            let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(sockets) as Addrs)
        }
        .boxed()
    }
}
