//! The SDK's transport to the simulated vaults, in place of ChatD. Streams lead to the leader. The streams of a vault that dies break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bkv_client::{Duplex, Transport, TransportError};
use bkv_core::document::NewDocuments;
use bkv_core::id::Route;
use bkv_wire::proto::outer::{self, Frame, frame::Body};
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::machine::Process;
use bkv_vault::session::{End, Session};

/// The running processes. Cheap to clone.
#[derive(Clone, Default)]
pub struct Vaults(Arc<Mutex<[Option<Process>; 3]>>);

impl Vaults {
    pub fn put(&self, i: usize, process: Process) {
        self.0.lock().unwrap()[i] = Some(process);
    }

    pub fn take(&self, i: usize) -> Option<Process> {
        self.0.lock().unwrap()[i].take()
    }

    pub fn with<T>(&self, i: usize, f: impl FnOnce(&Process) -> T) -> Option<T> {
        self.0.lock().unwrap()[i].as_ref().map(f)
    }
}

/// One client's connection to the vaults.
pub struct VaultTransport {
    vaults: Vaults,
    route: Route,
    bundle: Bytes,
    /// The nth answer from now on is lost, and its stream breaks. 0: none is lost.
    pub lose: Arc<AtomicUsize>,
    /// After the first answer no new stream opens.
    pub once: bool,
    /// Answers that the vaults sent, lost ones included.
    pub answers: Arc<AtomicUsize>,
    /// Always to this vault, whether it leads or not.
    pub only: Option<usize>,
}

impl VaultTransport {
    pub fn new(vaults: Vaults, route: Route, documents: &NewDocuments) -> Self {
        let bundle = outer::Bundle {
            admission: documents.admission.clone().into(),
            policy: documents.policy.clone().into(),
            region: String::new(),
        };
        let bundle = bundle.encode_to_vec().into();
        Self { vaults, route, bundle, lose: Arc::default(), once: false, answers: Arc::default(), only: None }
    }

    fn leader(&self) -> Option<usize> {
        let leads = |p: &Process| p.alive() && p.vault.node().replicas()[0].status().borrow().lead;
        match self.only {
            Some(i) => self.vaults.with(i, Process::alive).filter(|a| *a).map(|_| i),
            None => (0..3).find(|i| self.vaults.with(*i, leads) == Some(true)),
        }
    }
}

struct Stream {
    to: mpsc::Sender<Bytes>,
    from: mpsc::Receiver<Body>,
}

#[async_trait]
impl Transport for VaultTransport {
    async fn open(&self) -> Result<Box<dyn Duplex>, TransportError> {
        let gone = || TransportError::Unreachable("no vault leads".into());
        if self.once && self.answers.load(Ordering::SeqCst) > 0 {
            return Err(gone());
        }
        let until = tokio::time::Instant::now() + Duration::from_secs(1);
        let leader = loop {
            match self.leader() {
                Some(leader) => break leader,
                None if tokio::time::Instant::now() > until => return Err(gone()),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let parts = self.vaults.with(leader, |p| (p.vault.clone(), p.alive.clone(), p.handle()));
        let (vault, alive, runtime) = parts.ok_or_else(gone)?;
        let (to, mut requests) = mpsc::channel::<Bytes>(32);
        let (answers, from) = mpsc::channel(32);
        let (lose, count, route) = (self.lose.clone(), self.answers.clone(), self.route);
        // The session ends with its vault's process.
        runtime.spawn(async move {
            let Some(mut session) = Session::new(vault, route) else { return };
            while let Some(bytes) = requests.recv().await {
                let (answer, end) = session.data(&bytes).await;
                if !alive.load(Ordering::SeqCst) {
                    return; // a dead machine sends nothing
                }
                if !answer.is_empty() {
                    count.fetch_add(1, Ordering::SeqCst);
                    let left = lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
                    if left == Ok(1) {
                        return;
                    }
                    let _ = answers.send(Body::Data(answer.into())).await;
                }
                let last = match end {
                    End::Open => continue,
                    End::NotLeader(_) => {
                        Body::Reset(outer::Reset { reason: outer::reset::Reason::LeaderMoved.into() })
                    }
                    End::Close => Body::Close(outer::Close {}),
                };
                let _ = answers.send(last).await;
                return;
            }
        });
        Ok(Box::new(Stream { to, from }))
    }

    async fn get(&self, _: &str) -> Result<Bytes, TransportError> {
        Ok(self.bundle.clone())
    }
}

#[async_trait]
impl Duplex for Stream {
    async fn send(&mut self, frame: Frame) -> Result<(), TransportError> {
        let Some(Body::Data(data)) = frame.body else { return Ok(()) };
        // The client notices a break when it waits for an answer, as on a real connection.
        let _ = self.to.send(data).await;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Frame, TransportError> {
        match self.from.recv().await {
            Some(body) => Ok(Frame { stream: 0, body: Some(body) }),
            None => Err(TransportError::Lost("the vault went away".into())),
        }
    }
}
