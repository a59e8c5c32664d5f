//! The address under which a client is counted. ChatD believes X-Forwarded-For from trusted proxies alone: any other client could choose its address, and
//! with it a fresh budget or somebody else's.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The proxies in front of ChatD.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// The proxies in these networks.
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// True if ChatD believes the headers of this address.
    pub fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind `sender`. Each proxy appends the address that it saw, so only the right end of the list is trustworthy. Reads it from there,
    /// and stops at the first address that is no trusted proxy: everything to its left may be invented.
    pub fn client(&self, sender: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = sender.to_canonical();
        for value in headers.get_all("x-forwarded-for").iter().rev() {
            for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
                if !self.trust(client) {
                    return client;
                }
                // A proxy that hides the address writes `unknown`. Its clients share the proxy's own address.
                let Some(address) = address(entry) else { return client };
                client = address;
            }
        }
        client
    }
}

/// An entry of X-Forwarded-For. Some proxies append the port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let address = entry.parse::<IpAddr>().ok();
    let address = address.or_else(|| entry.parse::<SocketAddr>().ok().map(|a| a.ip()));
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bracketed).map(|a| a.to_canonical())
}

/// The address under which a host is counted: its IPv4 address or its IPv6 /64. A host gets a whole /64, so each single IPv6 address would be a new budget.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}
