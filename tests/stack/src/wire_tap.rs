//! Every packet to and from a fleet's ports on this machine's loopback: what a listener on the network would have. Needs the right to open a packet
//! socket.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with, sockopt};

/// Where the ports begin in a packet: behind an Ethernet and an IPv4 header without options.
const PORTS: usize = 14 + 20;

/// A running capture.
pub struct WireTap {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u8>>,
    control: UdpSocket,
}

impl WireTap {
    /// Listens from now on; the reason if this machine does not let the test.
    pub fn start(mut ports: Vec<u16>) -> Result<Self, String> {
        let socket =
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(eth::ALL))
                .map_err(|e| e.to_string())?;
        // A burst must not be lost while the thread waits for its turn.
        sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).map_err(|e| e.to_string())?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(100)))
            .map_err(|e| e.to_string())?;
        let control = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        ports.push(control.local_addr().map_err(|e| e.to_string())?.port());
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let thread = std::thread::spawn(move || listen(&socket, &ports, &flag));
        Ok(Self { stop, thread, control })
    }

    /// All that was heard. Fails the test if the tap does not hear a packet that is known to be sent.
    #[track_caller]
    pub fn stop(self) -> Vec<u8> {
        let mark = format!("control packet of process {}", std::process::id());
        self.control.set_read_timeout(Some(Duration::from_secs(5))).expect("a deadline");
        self.control.send_to(mark.as_bytes(), self.control.local_addr().expect("its address")).expect("send");
        self.control.recv(&mut [0; 200]).expect("the control packet arrives");
        self.stop.store(true, Ordering::Relaxed);
        let heard = self.thread.join().expect("the tap");
        assert!(crate::contains(&heard, mark.as_bytes()), "the tap hears nothing");
        heard
    }
}

fn listen(socket: &OwnedFd, ports: &[u16], stop: &AtomicBool) -> Vec<u8> {
    let mut all = Vec::new();
    let mut packet = vec![0; 128 << 10];
    loop {
        match recv(socket, packet.as_mut_slice(), RecvFlags::empty()) {
            Ok((n, _)) => {
                let packet = packet.get(..n).unwrap_or_default();
                let port = |at: usize| packet.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b));
                // Kept one behind the other: what a program splits over two packets is found too, unless something came between.
                if [port(PORTS), port(PORTS + 2)].into_iter().flatten().any(|p| ports.contains(&p)) {
                    all.extend_from_slice(packet);
                }
            }
            // Nothing for a while: the end, once it was asked for.
            Err(_) if stop.load(Ordering::Relaxed) => return all,
            Err(_) => {}
        }
    }
}
