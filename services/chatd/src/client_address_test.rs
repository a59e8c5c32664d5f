use std::net::IpAddr;

use axum::http::HeaderMap;
use proptest::prelude::*;

use crate::client_address::{Proxies, neighbourhood};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn proxies() -> Proxies {
    Proxies::new(["10.0.0.0/8", "fd00::/8"].map(|n| n.parse().unwrap()).to_vec())
}

/// Returns the address under which ChatD counts a connection from `sender` with these X-Forwarded-For lines.
fn client(sender: &str, lines: &[&str]) -> IpAddr {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append("x-forwarded-for", line.parse().unwrap());
    }
    proxies().client(ip(sender), &headers)
}

#[test]
fn s58_a_header_of_an_untrusted_address_is_ignored() {
    assert_eq!(client("203.0.113.9", &["198.51.100.1"]), ip("203.0.113.9"));
    assert_eq!(client("10.1.1.1", &[]), ip("10.1.1.1"), "a proxy that forwards nothing");
    assert_eq!(client("10.1.1.1", &["198.51.100.1"]), ip("198.51.100.1"));
    assert_eq!(client("::ffff:10.1.1.1", &["198.51.100.1"]), ip("198.51.100.1"), "a mapped address");
}

#[test]
fn s58_what_a_client_put_before_its_own_address_is_ignored() {
    let real = ip("203.0.113.9");
    for lines in [
        &["198.51.100.1, 203.0.113.9"][..],
        &["198.51.100.1", "203.0.113.9"],
        &["198.51.100.1, 10.9.9.9, 203.0.113.9, 10.2.2.2"],
        &["10.9.9.9, 203.0.113.9", "10.2.2.2 , fd00::1"],
        &["nonsense, 203.0.113.9"],
    ] {
        assert_eq!(client("10.1.1.1", lines), real, "{lines:?}");
    }
}

#[test]
fn an_entry_may_have_a_port_and_one_that_is_no_address_counts_for_its_proxy() {
    for (entry, address) in [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("unknown", "10.1.1.1"),
        ("", "10.1.1.1"),
    ] {
        assert_eq!(client("10.1.1.1", &[entry]), ip(address), "{entry}");
    }
}

#[test]
fn an_ipv6_host_is_one_neighbour_and_a_mapped_address_is_ipv4() {
    let n = |a: &str| neighbourhood(ip(a));
    assert_eq!(n("2001:db8:1:2:3:4:5:6"), n("2001:db8:1:2::1"));
    assert_ne!(n("2001:db8:1:2::1"), n("2001:db8:1:3::1"));
    assert_eq!(n("::ffff:192.0.2.1"), n("192.0.2.1"));
    assert_ne!(n("192.0.2.1"), n("192.0.2.2"));
}

proptest! {
    /// A client behind a trusted proxy can't change the address under which it is counted, whatever it sends. The proxy appends the true address.
    #[test]
    fn s58_no_header_of_a_client_changes_its_address(sent in proptest::collection::vec("[ -~]{0,40}", 0..4), own: [u8; 4]) {
        let own = IpAddr::from(own);
        prop_assume!(!proxies().trust(own));
        let mut headers = HeaderMap::new();
        for line in &sent {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        headers.append("x-forwarded-for", own.to_string().parse().unwrap());
        prop_assert_eq!(proxies().client(ip("10.1.1.1"), &headers), own);
        prop_assert_eq!(proxies().client(own, &headers), own);
    }
}
