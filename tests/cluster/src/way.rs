//! A port of this machine that leads to a Service of the cluster. A connection that the Service sends to a pod that is gone is tried again.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Open until the test process ends.
pub struct Way {
    /// The local port.
    pub port: u16,
    to: Arc<Mutex<SocketAddr>>,
}

const CONNECT: Duration = Duration::from_millis(700);
const TRIES: usize = 20;

impl Way {
    /// To an address and port.
    pub fn to(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let to = Arc::new(Mutex::new(address));
        let target = to.clone();
        std::thread::spawn(move || {
            for inward in listener.incoming().flatten() {
                let address = *target.lock().expect("nobody panics with it");
                std::thread::spawn(move || {
                    for _ in 0..TRIES {
                        if let Ok(outward) = TcpStream::connect_timeout(&address, CONNECT) {
                            join(&inward, &outward);
                            return;
                        }
                    }
                });
            }
        });
        Self { port, to }
    }

    /// Leads elsewhere from now on.
    pub fn lead_to(&self, address: SocketAddr) {
        *self.to.lock().expect("nobody panics with it") = address;
    }
}

fn join(a: &TcpStream, b: &TcpStream) {
    std::thread::scope(|scope| {
        for (from, to) in [(a, b), (b, a)] {
            scope.spawn(move || {
                let (mut reader, mut writer) = (from, to);
                let _ended = io::copy(&mut reader, &mut writer);
                let _ended = to.shutdown(Shutdown::Write);
            });
        }
    });
}
