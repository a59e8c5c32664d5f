use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ppp::v2::{Builder, Command, Protocol, Version};
use proptest::prelude::*;

use crate::proxy_header::read;

fn header(from: IpAddr, command: Command) -> Vec<u8> {
    let to = match from {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    let ends = (SocketAddr::new(from, 4711), SocketAddr::new(to, 443));
    Builder::with_addresses(Version::Two | command, Protocol::Stream, ends).build().unwrap()
}

/// Calls `read` on these bytes. Returns its result, or None for an error, and the bytes that it leaves unread.
#[allow(clippy::option_option)] // an error, a header without a client, a client
fn reads(mut bytes: &[u8]) -> (Option<Option<IpAddr>>, &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let address = runtime.block_on(read(&mut bytes)).ok();
    (address, bytes)
}

#[test]
fn the_header_names_the_client_and_tls_begins_after_it() {
    for from in ["203.0.113.9", "2001:db8::1"] {
        let from: IpAddr = from.parse().unwrap();
        let bytes = [&header(from, Command::Proxy)[..], b"tls"].concat();
        assert_eq!(reads(&bytes), (Some(Some(from)), &b"tls"[..]));
        let check = header(from, Command::Local);
        assert_eq!(reads(&check), (Some(None), &b""[..]), "the proxy's own health check");
    }
}

#[test]
fn a_header_that_is_cut_or_too_long_is_refused() {
    let whole = header("203.0.113.9".parse().unwrap(), Command::Proxy);
    for length in 0..whole.len() {
        assert_eq!(reads(&whole[..length]).0, None, "{length}");
    }
    let mut long = whole;
    (long[14], long[15]) = (0xff, 0xff);
    let bytes = [long, vec![0; 70_000]].concat();
    let (address, rest) = reads(&bytes);
    assert_eq!((address, rest.len()), (None, bytes.len() - 16), "refused before more is read");
}

proptest! {
    #[test]
    fn s38_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), good in any::<bool>(), length in 0u16..700) {
        let mut bytes = bytes;
        if good && bytes.len() >= 16 {
            bytes[..12].copy_from_slice(ppp::v2::PROTOCOL_PREFIX);
            bytes[14..16].copy_from_slice(&length.to_be_bytes());
        }
        let (_, rest) = reads(&bytes);
        prop_assert!(bytes.len() - rest.len() <= 16 + usize::from(length));
    }
}
