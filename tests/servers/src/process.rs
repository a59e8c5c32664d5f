//! A server's process and port.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// A running server, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Child, u16);

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl Process {
    /// Starts it with its output in `log`, and waits until it accepts connections.
    pub(crate) fn start(mut command: Command, port: u16, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("a log");
        // Apache's workers would outlive it and keep the port.
        command.process_group(0).stdin(std::process::Stdio::null());
        command.stdout(output.try_clone().expect("a handle")).stderr(output);
        let child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        let mut started = Self(child, port);
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = started.0.try_wait().expect("wait");
            let text = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "{} ended: {}", command.get_program().display(), text());
            assert!(Instant::now() < until, "it does not listen: {}", text());
            std::thread::sleep(Duration::from_millis(10));
        }
        started
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
        // The workers end a little later.
        let until = Instant::now() + Duration::from_secs(10);
        while TcpListener::bind(("127.0.0.1", self.1)).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
