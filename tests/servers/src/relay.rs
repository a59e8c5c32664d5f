//! A connection between a client and a server that fails as no real server does on demand.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What happens to requests that write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// So many answers to a PUT reach nobody: the connection breaks when the server answers.
    LosesAnswers(usize),
    /// So many PUTs get this answer, whole with its head, and do not reach the server.
    Answers(usize, &'static str),
    /// So many PUTs break off after their first bytes.
    CutsBodies(usize),
    /// A PUT and its answer are held back for ever.
    HoldsWrites,
}

/// Passes connections on to a server. Its threads end with the test's process.
#[derive(Debug)]
pub struct Relay {
    address: String,
    failed: Arc<AtomicUsize>,
}

impl Relay {
    /// Begins to pass on to `HOST:PORT`.
    #[must_use]
    pub fn to(server: &str, fails: Fails) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let failed = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (server.to_owned(), Arc::clone(&failed));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away refuses.
                if let Ok(server) = TcpStream::connect(&server) {
                    pass(client, server, fails, &counter);
                }
            }
        });
        Self { address, failed }
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many requests have failed so far.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }
}

fn pass(client: TcpStream, server: TcpStream, fails: Fails, failed: &Arc<AtomicUsize>) {
    let writes = Arc::new(AtomicBool::new(false));
    let handle = |stream: &TcpStream| stream.try_clone().expect("a handle");
    let mut back = handle(&client);
    let (from, to, seen, counter) =
        (handle(&client), handle(&server), Arc::clone(&writes), Arc::clone(failed));
    thread::spawn(move || {
        copy(from, to, |bytes| {
            if bytes.starts_with(b"PUT ") {
                seen.store(true, Ordering::SeqCst);
                if let Fails::Answers(most, answer) = fails
                    && counter.load(Ordering::SeqCst) < most
                {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let _ = back.write_all(answer.as_bytes());
                    return false;
                }
                if fails == Fails::HoldsWrites {
                    counter.fetch_add(1, Ordering::SeqCst);
                    loop {
                        thread::park();
                    }
                }
            } else if let Fails::CutsBodies(most) = fails
                && seen.load(Ordering::SeqCst)
                && counter.load(Ordering::SeqCst) < most
            {
                // The head and the first bytes have gone through.
                counter.fetch_add(1, Ordering::SeqCst);
                return false;
            }
            true
        });
    });
    let counter = Arc::clone(failed);
    thread::spawn(move || {
        copy(server, client, |_| match fails {
            Fails::LosesAnswers(most)
                if writes.load(Ordering::SeqCst) && counter.load(Ordering::SeqCst) < most =>
            {
                counter.fetch_add(1, Ordering::SeqCst);
                false
            }
            _ => true,
        });
    });
}

/// Copies until the end, or until `goes_on` is false.
fn copy(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..n).unwrap_or_default();
        if !goes_on(bytes) || to.write_all(bytes).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
