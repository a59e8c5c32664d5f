//! A port of this machine that forwards to a Service of the cluster, and retries a connection that the Service sends to a pod that is gone.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use crate::PortForward;

const CONNECT: Duration = Duration::from_millis(700);
const TRIES: usize = 20;
/// Pause after a try that was refused at once.
const PAUSE: Duration = Duration::from_millis(200);

/// Starts a proxy and returns its port. It runs until the test process ends.
pub fn retrying_proxy(forward: PortForward) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        // Moves the whole forward into the thread: a captured field alone would drop the rest, which ends the forward.
        let forward = forward;
        let address = forward.address;
        for inward in listener.incoming().flatten() {
            std::thread::spawn(move || {
                for _ in 0..TRIES {
                    match TcpStream::connect_timeout(&address, CONNECT) {
                        Ok(outward) => return join(&inward, &outward),
                        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::thread::sleep(PAUSE),
                        Err(_) => {}
                    }
                }
            });
        }
    });
    port
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
