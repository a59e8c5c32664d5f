//! The network between the vaults, in memory. A test can hold, delay or cut each direction of each pair.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::{mpsc, watch};

use bkv_vault::env::{BoxStream, Listener, Network, Pending};

/// What happens to bytes from one vault to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Pass,
    /// Nothing arrives and no end sees an error, as when packets are dropped.
    Hold,
    /// Bytes arrive after this time.
    Delay(Duration),
    /// Connections break at once and new ones are refused.
    Cut,
    /// Connections break after this many more bytes.
    CutAfter(usize),
}

struct Inner {
    rules: HashMap<(usize, usize), Rule>,
    /// Rises when a vault dies, so that connections of its old process end.
    lives: Vec<u64>,
    listening: Vec<Option<mpsc::Sender<BoxStream>>>,
    connections: u64,
}

/// The whole network. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<watch::Sender<u64>>,
    runtime: tokio::runtime::Handle,
}

const BUFFER: usize = 256 << 10;

pub fn address(vault: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], u16::try_from(vault + 1).unwrap()))
}

impl Hub {
    pub fn new(n: usize, runtime: tokio::runtime::Handle) -> Self {
        let (rules, lives) = (HashMap::new(), vec![0; n]);
        let inner = Inner { rules, lives, listening: (0..n).map(|_| None).collect(), connections: 0 };
        Self { inner: Arc::new(Mutex::new(inner)), changed: Arc::new(watch::Sender::new(0)), runtime }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn wake(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    pub fn set_rule(&self, from: usize, to: usize, rule: Rule) {
        self.lock().rules.insert((from, to), rule);
        self.wake();
    }

    /// Sets a rule for both directions between one vault and all others.
    pub fn around(&self, vault: usize, rule: Rule) {
        let n = self.lock().lives.len();
        for other in (0..n).filter(|o| *o != vault) {
            self.set_rule(vault, other, rule);
            self.set_rule(other, vault, rule);
        }
    }

    pub fn heal(&self) {
        self.lock().rules.clear();
        self.wake();
    }

    /// Ends all connections of a vault, as the death of its process does.
    pub fn kill(&self, vault: usize) {
        let mut inner = self.lock();
        inner.lives[vault] += 1;
        inner.listening[vault] = None;
        drop(inner);
        self.wake();
    }

    /// The network as this life of a vault uses it.
    pub fn network_of(&self, vault: usize) -> Arc<dyn Network> {
        Arc::new(Port { hub: self.clone(), me: vault, life: self.lock().lives[vault] })
    }

    /// Connections made so far. A vault connects again only when a connection has ended.
    pub fn connections(&self) -> u64 {
        self.lock().connections
    }

    pub fn rule_of(&self, from: usize, to: usize) -> Rule {
        self.lock().rules.get(&(from, to)).copied().unwrap_or(Rule::Pass)
    }
}

struct Port {
    hub: Hub,
    me: usize,
    life: u64,
}

struct HubListener {
    address: SocketAddr,
    calls: tokio::sync::Mutex<mpsc::Receiver<BoxStream>>,
}

fn refused() -> std::io::Error {
    std::io::ErrorKind::ConnectionRefused.into()
}

impl Network for Port {
    fn connect<'a>(&'a self, address: &'a str) -> Pending<'a, BoxStream> {
        Box::pin(async move {
            let to = address.parse::<SocketAddr>().map_err(|_| refused())?.port();
            let to = usize::from(to - 1);
            let hub = &self.hub;
            let (lives, listener) = {
                let inner = hub.lock();
                if inner.lives[self.me] != self.life {
                    return Err(refused());
                }
                ([inner.lives[self.me], inner.lives[to]], inner.listening[to].clone())
            };
            for way in [(self.me, to), (to, self.me)] {
                if hub.rule_of(way.0, way.1) == Rule::Cut {
                    return Err(refused());
                }
            }
            let listener = listener.ok_or_else(refused)?;
            let ((mine, a), (theirs, b)) = (duplex(BUFFER), duplex(BUFFER));
            let wire = Wire { hub: hub.clone(), ends: [self.me, to], lives };
            hub.runtime.spawn(wire.run(a, b));
            listener.send(Box::new(theirs)).await.map_err(|_| refused())?;
            self.hub.lock().connections += 1;
            Ok(Box::new(mine) as BoxStream)
        })
    }

    fn listen(&self, _: SocketAddr) -> Pending<'_, Box<dyn Listener>> {
        Box::pin(async move {
            let (tx, rx) = mpsc::channel(64);
            self.hub.lock().listening[self.me] = Some(tx);
            Ok(Box::new(HubListener { address: address(self.me), calls: tokio::sync::Mutex::new(rx) })
                as Box<dyn Listener>)
        })
    }
}

impl Listener for HubListener {
    fn accept(&self) -> Pending<'_, BoxStream> {
        Box::pin(async move {
            match self.calls.lock().await.recv().await {
                Some(stream) => Ok(stream),
                None => std::future::pending().await, // the process that listened is dead
            }
        })
    }

    fn address(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

struct Wire {
    hub: Hub,
    ends: [usize; 2],
    lives: [u64; 2],
}

impl Wire {
    async fn run(self, a: DuplexStream, b: DuplexStream) {
        let ((from_a, to_a), (from_b, to_b)) = (split(a), split(b));
        let [x, y] = self.ends;
        // The first part that ends closes both ends.
        tokio::select! {
            () = self.carry(x, y, from_a, to_b) => {}
            () = self.carry(y, x, from_b, to_a) => {}
            () = self.death() => {}
        }
    }

    async fn death(&self) {
        let mut changed = self.hub.changed.subscribe();
        loop {
            {
                let inner = self.hub.lock();
                let cut = [(self.ends[0], self.ends[1]), (self.ends[1], self.ends[0])]
                    .iter()
                    .any(|w| inner.rules.get(w) == Some(&Rule::Cut));
                if cut || (0..2).any(|i| inner.lives[self.ends[i]] != self.lives[i]) {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    async fn carry(
        &self,
        from: usize,
        to: usize,
        mut read: ReadHalf<DuplexStream>,
        mut write: WriteHalf<DuplexStream>,
    ) {
        let mut changed = self.hub.changed.subscribe();
        let mut buffer = vec![0u8; 32 << 10];
        loop {
            let Ok(n) = read.read(&mut buffer).await else { return };
            if n == 0 {
                return;
            }
            let mut end = n;
            loop {
                changed.borrow_and_update();
                match self.hub.rule_of(from, to) {
                    Rule::Pass => break,
                    Rule::Delay(time) => {
                        tokio::time::sleep(time).await; // the simulated delay itself
                        break;
                    }
                    Rule::Hold => {
                        if changed.changed().await.is_err() {
                            return;
                        }
                    }
                    Rule::Cut => return,
                    Rule::CutAfter(left) if left <= n => {
                        end = left;
                        break;
                    }
                    Rule::CutAfter(left) => {
                        self.hub.lock().rules.insert((from, to), Rule::CutAfter(left - n));
                        break;
                    }
                }
            }
            if write.write_all(&buffer[..end]).await.is_err() {
                return;
            }
            if end < n {
                self.hub.set_rule(from, to, Rule::Cut);
                return;
            }
        }
    }
}
