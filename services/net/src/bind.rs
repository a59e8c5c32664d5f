//! Binds ports for IPv6 and IPv4 together.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// Listens on `address`. `[::]` takes IPv4 connections as well, whatever the machine's default is. On a machine without IPv6 it is `0.0.0.0`.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match listen(address) {
        Err(error) if address.ip().is_unspecified() && is_without_ipv6(&error) => {
            listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        bound => bound,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() && address.ip().is_unspecified() {
        set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The kernel was built without IPv6, or it is turned off.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::dial::dial;

    #[tokio::test]
    async fn one_port_takes_both_families_and_reports_ipv4_addresses_as_such() {
        let listener = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut listener = listener;
        let _client = dial(&format!("127.0.0.1:{port}")).await.unwrap();
        let (_, peer) = crate::accept::Listen::next(&mut listener).await.unwrap();
        assert_eq!(peer.ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        if TcpListener::bind("[::1]:0").await.is_ok() {
            let _client = dial(&format!("[::1]:{port}")).await.unwrap();
            let (_, peer) = crate::accept::Listen::next(&mut listener).await.unwrap();
            assert_eq!(peer.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
    }

    #[test]
    fn other_failures_are_no_reason_for_ipv4() {
        assert!(is_without_ipv6(&io::Error::from(Errno::AFNOSUPPORT)));
        assert!(!is_without_ipv6(&io::Error::from(Errno::ADDRINUSE)));
    }
}
