//! Which addresses may be connected to: global ones, and the ranges that the
//! node's setting allows.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Ranges of IPv4 that are not global (the registry of special purpose addresses,
/// RFC 6890, with multicast and what is reserved).
const V4_REFUSED: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // behind a carrier's NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, and clouds' metadata
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 52, 193, 0], 24), // AMT
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
];

/// All global unicast addresses of IPv6. What lies beyond (unspecified, loopback,
/// mapped and compatible IPv4, NAT64, private, link-local, multicast) is refused.
const V6_GLOBAL: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Ranges within that are not global, or carry an IPv4 address.
const V6_REFUSED: [(Ipv6Addr, u8); 4] = [
    // Protocol assignments, Teredo and ORCHID among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation, twice.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    base: IpAddr,
    prefix: u8,
}

/// Ranges that may be connected to although they are not global.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedAddresses(Vec<Range>);

impl AllowedAddresses {
    /// Whether an address may be connected to.
    pub fn permits(&self, address: IpAddr) -> bool {
        is_global(address) || self.0.iter().any(|range| range.contains(address))
    }
}

impl FromStr for AllowedAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ranges = text.split(',').map(str::trim).filter(|it| !it.is_empty());
        Ok(AllowedAddresses(
            ranges.map(str::parse).collect::<Result<_, _>>()?,
        ))
    }
}

impl fmt::Display for AllowedAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Range { base, prefix }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{base}/{prefix}")?;
        }
        Ok(())
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base
            .parse()
            .map_err(|_| format!("'{text}' is no address and no range such as 10.0.0.0/8"))?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(|| format!("the prefix of '{text}' is not within 0 and {longest}"))?,
        };
        Ok(Range { base, prefix })
    }
}

impl Range {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => within_v4(address, base, self.prefix),
            (IpAddr::V6(base), IpAddr::V6(address)) => within_v6(address, base, self.prefix),
            _ => false,
        }
    }
}

fn within_v4(address: Ipv4Addr, base: Ipv4Addr, prefix: u8) -> bool {
    let differ = u32::from(address) ^ u32::from(base);
    prefix == 0 || differ >> (32 - u32::from(prefix)) == 0
}

fn within_v6(address: Ipv6Addr, base: Ipv6Addr, prefix: u8) -> bool {
    let differ = u128::from(address) ^ u128::from(base);
    prefix == 0 || differ >> (128 - u32::from(prefix)) == 0
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4_REFUSED
            .iter()
            .any(|(base, prefix)| within_v4(address, Ipv4Addr::from(*base), *prefix)),
        IpAddr::V6(address) => {
            within_v6(address, V6_GLOBAL.0, V6_GLOBAL.1)
                && !V6_REFUSED
                    .iter()
                    .any(|(base, prefix)| within_v6(address, *base, *prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn permits(allowed: &str, address: &str) -> bool {
        let allowed: AllowedAddresses = allowed.parse().unwrap();
        allowed.permits(address.parse().unwrap())
    }

    #[test]
    fn only_global_addresses_are_permitted() {
        for global in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
        ] {
            assert!(permits("", global), "{global}");
        }
        for refused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::1",
            "100::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!permits("", refused), "{refused}");
        }
    }

    #[test]
    fn a_setting_allows_what_it_names_and_nothing_else() {
        let allowed = "127.0.0.0/8, 10.1.0.0/16,::1";
        for address in ["127.0.0.1", "10.1.9.9", "::1"] {
            assert!(permits(allowed, address), "{address}");
        }
        for address in ["10.2.0.1", "::2", "::ffff:127.0.0.1"] {
            assert!(!permits(allowed, address), "{address}");
        }
        let parsed: AllowedAddresses = allowed.parse().unwrap();
        assert_eq!(parsed.to_string(), "127.0.0.0/8,10.1.0.0/16,::1/128");
        assert!(permits("0.0.0.0/0", "127.0.0.1"));
        for bad in [
            "10.0.0.0/33",
            "10.0.0/8",
            "localhost",
            "::/129",
            "1.1.1.1/x",
        ] {
            assert!(bad.parse::<AllowedAddresses>().is_err(), "{bad}");
        }
    }
}
