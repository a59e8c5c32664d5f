//! A client behind a proxy. Both of its connections to ChatD, for GETs and for the WebSocket, go where `HTTPS_PROXY` and `NO_PROXY` say.

use std::io::{BufRead as _, BufReader, Write as _, copy};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bkv_stack_tests::{Account, Fleet, bin_dir};

/// A proxy that takes CONNECT (RFC 9110, section 9.3.6) and counts what it connected.
struct Proxy {
    url: String,
    connected: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connected = Arc::new(AtomicUsize::new(0));
        let count = connected.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, count) = (client.unwrap(), count.clone());
                thread::spawn(move || relay(client, &count));
            }
        });
        Self { url, connected }
    }
}

fn relay(mut client: TcpStream, connected: &AtomicUsize) {
    let mut request = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    request.read_line(&mut line).unwrap();
    let target = line.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
    while line != "\r\n" {
        line.clear();
        request.read_line(&mut line).unwrap();
    }
    let mut server = TcpStream::connect(target).unwrap();
    connected.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let mut back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answers = thread::spawn(move || {
        let _ = copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(Shutdown::Write);
    });
    let _ = copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    answers.join().unwrap();
}

/// The exit code of `bkv status` with these variables.
fn status(alice: &Account<'_>, variables: &[(&str, &str)]) -> Option<i32> {
    let mut command = Command::new(bin_dir().join("bkv"));
    command.args(alice.args(&["--json", "status", "--timeout", "5"], "proxied"));
    command.envs(variables.iter().copied()).env_remove("BKV_FLEET").output().unwrap().status.code()
}

#[test]
fn a_client_takes_the_proxy_that_its_environment_names() {
    let fleet = Fleet::up();
    let alice = fleet.registered("alice");
    let proxy = Proxy::start();
    assert_eq!(status(&alice, &[("HTTPS_PROXY", &proxy.url)]), Some(0));
    let connected = proxy.connected.load(Ordering::SeqCst);
    // The WebSocket may go on over the connection of the GETs before it.
    assert!(connected >= 1);
    assert_eq!(status(&alice, &[("HTTPS_PROXY", &proxy.url), ("NO_PROXY", "127.0.0.1,localhost")]), Some(0));
    assert_eq!(proxy.connected.load(Ordering::SeqCst), connected);
    // Nothing goes around a proxy that does not answer.
    assert_eq!(status(&alice, &[("HTTPS_PROXY", "http://127.0.0.1:1")]), Some(69));
}
