//! Captures every packet to and from a fleet's ports on loopback, as an attacker who listens on the network would. It needs the right to open a packet
//! socket.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with, sockopt};

/// Where the ports begin in a packet: behind an Ethernet and an IPv4 header without options.
const PORTS: usize = 14 + 20;
/// How long the capture waits for its own last packet after the request to stop.
const DEADLINE: Duration = Duration::from_secs(10);

/// A running capture.
pub struct PacketCapture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u8>>,
    control: UdpSocket,
    mark: Vec<u8>,
}

impl PacketCapture {
    /// Starts to capture. Returns an error if this machine does not allow it.
    pub fn start(mut ports: Vec<u16>) -> Result<Self, String> {
        let socket =
            socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(eth::ALL))
                .map_err(|e| e.to_string())?;
        // A burst must not be lost while the thread waits for its turn.
        sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20).map_err(|e| e.to_string())?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(100)))
            .map_err(|e| e.to_string())?;
        let control = UdpSocket::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
        let port = control.local_addr().map_err(|e| e.to_string())?.port();
        ports.push(port);
        let mark = format!("control packet of process {}, port {port}", std::process::id()).into_bytes();
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, last) = (stop.clone(), mark.clone());
        let thread = std::thread::spawn(move || capture(&socket, &ports, &last, &flag));
        Ok(Self { stop, thread, control, mark })
    }

    /// All packets since the start. Fails the test if the capture misses a packet that is known to be sent.
    #[track_caller]
    pub fn stop(self) -> Vec<u8> {
        self.control.set_read_timeout(Some(Duration::from_secs(5))).expect("a deadline");
        self.control.send_to(&self.mark, self.control.local_addr().expect("its address")).expect("send");
        self.control.recv(&mut [0; 200]).expect("the control packet arrives");
        self.stop.store(true, Ordering::Relaxed);
        let captured = self.thread.join().expect("the capture");
        assert!(crate::contains(&captured, &self.mark), "the capture misses its control packet");
        captured
    }
}

/// Ends at the control packet `mark`: the socket queues packets in the order in which they were sent, so all earlier ones have been read. Packets of other
/// programs do not count, however many there are.
fn capture(socket: &OwnedFd, ports: &[u16], mark: &[u8], stop: &AtomicBool) -> Vec<u8> {
    let mut all = Vec::new();
    let mut packet = vec![0; 128 << 10];
    let mut stopped: Option<Instant> = None;
    loop {
        if let Ok((n, _)) = recv(socket, packet.as_mut_slice(), RecvFlags::empty()) {
            let packet = packet.get(..n).unwrap_or_default();
            let port = |at: usize| packet.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b));
            // Packets are kept one behind the other: the search also finds what a program split over two packets, unless another packet came between.
            if [port(PORTS), port(PORTS + 2)].into_iter().flatten().any(|p| ports.contains(&p)) {
                all.extend_from_slice(packet);
                if packet.ends_with(mark) {
                    return all;
                }
            }
        }
        if stop.load(Ordering::Relaxed) && stopped.get_or_insert_with(Instant::now).elapsed() > DEADLINE {
            return all;
        }
    }
}
