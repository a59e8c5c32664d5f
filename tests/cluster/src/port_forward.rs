//! An address on this machine that reaches a port of a pod or Service.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Open until it is dropped or the test process ends, even by a signal.
pub struct PortForward {
    /// Where to connect.
    pub address: SocketAddr,
    forward: Option<Child>,
}

const OPENS_WITHIN: Duration = Duration::from_secs(20);

impl PortForward {
    /// Without a forward: this machine reaches the addresses of pods and Services.
    pub(crate) fn straight(address: SocketAddr) -> Self {
        Self { address, forward: None }
    }

    /// By `kubectl port-forward`, restarted whenever it ends with its pod.
    pub(crate) fn forwarded(kubeconfig: &Path, namespace: &str, what: &str, port: u16) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let forward =
            r#"while :; do kubectl port-forward -n "$0" "$1" "$2"; sleep 0.2; done & read -r _; kill -- -$$"#;
        let child = Command::new("sh")
            .args(["-c", forward, namespace, what, &format!("{}:{port}", address.port())])
            .env("KUBECONFIG", kubeconfig)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                begun.elapsed() < OPENS_WITHIN,
                "kubectl port-forward does not reach {what} in {namespace}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Self { address, forward: Some(child) }
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        if let Some(mut child) = self.forward.take() {
            // The child ends when the pipe closes.
            drop(child.stdin.take());
            let _ended = child.wait();
        }
    }
}
