//! The capture of a fleet's packets, beside other programs that use loopback.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bkv_stack_tests::contains;
use bkv_stack_tests::packet_capture::PacketCapture;
use bkv_stack_tests::program::skipped;

/// Another program that never stops sending on loopback does not keep the capture from ending.
#[test]
fn a_capture_ends_while_others_send() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let capture = match PacketCapture::start(vec![receiver.local_addr().unwrap().port()]) {
        Ok(capture) => capture,
        Err(why) => return skipped("a capture ends while others send", &why),
    };
    let quiet = Arc::new(AtomicBool::new(false));
    let (flag, noise) = (quiet.clone(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let sender = std::thread::spawn(move || {
        while !flag.load(Ordering::Relaxed) {
            noise.send_to(b"noise", noise.local_addr().unwrap()).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    receiver.send_to(b"a packet of the fleet", receiver.local_addr().unwrap()).unwrap();
    let begun = Instant::now();
    let captured = capture.stop();
    let took = begun.elapsed();
    quiet.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(contains(&captured, b"a packet of the fleet"));
    assert!(!contains(&captured, b"noise"));
}
