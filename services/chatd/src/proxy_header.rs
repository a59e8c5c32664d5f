//! The PROXY protocol header of version 2, which a load balancer sends before the client's first byte.
//! Specification: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, section 2.2.

use std::io;
use std::net::IpAddr;

use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Length of the fixed part.
const FIXED: usize = 16;
/// Most bytes of addresses and extensions. Load balancers send less than 300.
const MOST: usize = 4 << 10;

/// Reads the header and not one byte more. Returns the client's address, or None for a connection of the proxy itself, such as a health check.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    let length = match header.last_chunk() {
        Some(length) => usize::from(u16::from_be_bytes(*length)),
        None => 0,
    };
    // Check the fixed part first: a client that sends TLS here must not make ChatD wait for the length that its bytes happen to contain.
    if !header.starts_with(ppp::v2::PROTOCOL_PREFIX) || length > MOST {
        return Err(io::Error::other("no PROXY header of version 2"));
    }
    header.resize(FIXED + length, 0);
    stream.read_exact(header.get_mut(FIXED..).unwrap_or_default()).await?;
    client(&header)
}

/// The client that a whole header names.
fn client(header: &[u8]) -> io::Result<Option<IpAddr>> {
    let header = Header::try_from(header).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(a)) => Some(a.source_address.into()),
        (Command::Proxy, Addresses::IPv6(a)) => Some(a.source_address.into()),
        _ => None,
    })
}
