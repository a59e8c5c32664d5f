//! Free TCP ports of this machine.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// They lie below the ports that Linux gives to outgoing connections and to `bind(0)`: another process could get one of those while its vault is down.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// Free ports of 127.0.0.1. Each process begins elsewhere, and gives no port twice before it has given all.
pub fn free(n: usize) -> Vec<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let begin = u16::try_from(std::process::id() % 1000).unwrap() * 10;
    let mut listeners: Vec<TcpListener> = Vec::new();
    while listeners.len() < n {
        let port = FIRST + (begin + GIVEN.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        listeners.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    listeners.iter().map(|l| l.local_addr().unwrap().port()).collect()
}
