//! A client inside the inner channel: it has a valid access token, and replays what the person's device sent, with changes.

use arbitrary::Arbitrary;
use bkv_core::id::AttemptId;
use bkv_simulation::{Simulation, raw_client};
use bkv_vault::session::{End, Session};
use bkv_wire::channel::{Channel, ClientSettings};
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bytes::Bytes;
use prost::Message as _;
use tokio::time::timeout_at;

use crate::change::{Change, changed};
use crate::process::soon;
use crate::target::Target;
use crate::vaults::{Token, Vaults};

/// Most steps of one input.
const STEPS: usize = 16;

/// One message of the client.
#[derive(Arbitrary, Debug)]
pub enum Step {
    Open {
        token: Token,
        nonce: u8,
        attest: bool,
        all: bool,
    },
    /// A new channel, opened in order.
    Channel,
    /// What the person's device sent, perhaps about another attempt or registration.
    Recorded {
        which: u8,
        about: About,
        changes: Vec<Change>,
    },
    Begin {
        attempt: Attempt,
        blinded: Element,
        cancel: u8,
        may_be_last: bool,
    },
    GiveUp {
        attempt: Attempt,
        cancel: u8,
    },
    More {
        attempt: Attempt,
    },
    Attest {
        nonce: u8,
        all: bool,
    },
    RegisterStart {
        request: Element,
    },
    /// The bytes of a message.
    Message(Vec<u8>),
    /// Bytes outside the channel.
    Raw(Vec<u8>),
}

/// Which id a recorded request gets.
#[derive(Arbitrary, Debug)]
pub enum About {
    Recorded,
    /// The newest attempt or registration of this input.
    Newest,
    Other(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Attempt {
    Newest,
    New(u8),
    Short(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Element {
    Guess,
    Zero,
    Any([u8; 32]),
    Long(u16),
}

impl Element {
    fn bytes(self) -> Bytes {
        match self {
            Self::Guess => raw_client::blinded("a guess").0.to_vec(),
            Self::Zero => vec![0; 32],
            Self::Any(bytes) => bytes.to_vec(),
            Self::Long(n) => vec![1; n.into()],
        }
        .into()
    }
}

/// The client's side of one channel.
struct Client {
    channel: Channel,
    session: Session,
    last: u64,
    over: bool,
}

/// What one input has done so far.
struct Under<'a> {
    vaults: &'a Vaults,
    client: Client,
    attempt: Bytes,
    registration: Bytes,
}

/// The vaults that the client talks to.
pub struct Requests(Vaults);

impl Target for Requests {
    type Message = Step;
    const TOKENS: bool = true;

    async fn begin(share: u32) -> Self {
        Self(Vaults::begin(share).await)
    }

    async fn input(&mut self, steps: &[Step]) -> bool {
        Box::pin(send(&self.0, steps)).await;
        self.0.check().await;
        true
    }

    async fn end(self) {
        self.0.sim.down().await;
    }
}

async fn send(vaults: &Vaults, steps: &[Step]) {
    let client = client(vaults).await;
    let mut under = Under { vaults, client, attempt: vec![9; 16].into(), registration: vec![9; 16].into() };
    for step in steps.iter().take(STEPS) {
        under.step(step).await;
    }
}

async fn client(vaults: &Vaults) -> Client {
    let sim = &vaults.sim;
    let mut accepted = Vec::new();
    for machine in &sim.machines {
        accepted.push(machine.token.identity_spki().await.unwrap());
    }
    let channel = Channel::client(&ClientSettings::new(accepted).unwrap()).unwrap();
    let leader = sim.leader().await;
    let session = Session::new(sim.vault(leader), Simulation::route(&vaults.person)).unwrap();
    let mut client = Client { channel, session, last: 0, over: false };
    let open = p::Open {
        token: vaults.token(Token::Valid),
        nonce: vec![3; 32].into(),
        attest: false,
        all: false,
        proof: None,
    };
    // If the vault has just lost its leadership, the other steps meet a closed channel.
    client.ask(Operation::Open(open)).await;
    client
}

impl Client {
    async fn ask(&mut self, operation: Operation) -> Option<Answer> {
        self.last += 1;
        let request = p::Request { protocol: 1, id: self.last, operation: Some(operation) };
        self.message(&request.encode_to_vec()).await
    }

    /// Sends a message. None if there is no answer because the vault has closed the channel, or if the bytes are no request.
    async fn message(&mut self, bytes: &[u8]) -> Option<Answer> {
        self.channel.send(bytes).ok()?;
        loop {
            let out = self.channel.take_outgoing();
            if out.is_empty() || self.over {
                return None;
            }
            self.bytes(&out).await;
            if let Ok(Some(message)) = self.channel.next_message() {
                return p::Reply::decode(&message[..]).expect("a reply that can't be decoded").result;
            }
        }
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        let (answer, end) = timeout_at(soon(), self.session.data(bytes)).await.expect("the session hangs");
        self.over |= !matches!(end, End::Open) || self.channel.feed(&answer).is_err();
    }
}

impl Under<'_> {
    async fn step(&mut self, step: &Step) {
        let operation = match step {
            Step::Channel => {
                self.client = client(self.vaults).await;
                return;
            }
            Step::Message(bytes) => {
                self.client.message(bytes).await;
                return;
            }
            Step::Raw(bytes) => {
                if !self.client.over {
                    self.client.bytes(bytes).await;
                }
                return;
            }
            Step::Recorded { which, about, changes } => {
                let recorded = &self.vaults.recorded;
                let mut operation = recorded[usize::from(*which) % recorded.len()].clone();
                self.about(&mut operation, about);
                self.client.last += 1;
                let request = p::Request { protocol: 1, id: self.client.last, operation: Some(operation) };
                let bytes = changed(request.encode_to_vec(), changes);
                let answer = self.client.message(&bytes).await;
                self.learn(answer);
                return;
            }
            Step::Open { token, nonce, attest, all } => Operation::Open(p::Open {
                token: self.vaults.token(*token),
                nonce: vec![1; usize::from(*nonce)].into(),
                attest: *attest,
                all: *all,
                proof: None,
            }),
            Step::Begin { attempt, blinded, cancel, may_be_last } => {
                self.attempt = self.attempt(*attempt);
                Operation::Begin(p::Begin {
                    attempt: self.attempt.clone(),
                    blinded: blinded.bytes(),
                    cancel: bkv_core::statement::cancel_hash(&[*cancel; 32]).0.to_vec().into(),
                    may_be_last: *may_be_last,
                    proof: None,
                })
            }
            Step::GiveUp { attempt, cancel } => Operation::GiveUp(p::GiveUp {
                attempt: self.attempt(*attempt),
                cancel: vec![*cancel; 32].into(),
            }),
            Step::More { attempt } => {
                Operation::MoreEvaluations(p::MoreEvaluations { attempt: self.attempt(*attempt) })
            }
            Step::Attest { nonce, all } => {
                Operation::Attest(p::Attest { nonce: vec![1; usize::from(*nonce)].into(), all: *all })
            }
            Step::RegisterStart { request } => {
                Operation::RegisterStart(p::RegisterStart { request: request.bytes() })
            }
        };
        let answer = self.client.ask(operation).await;
        self.learn(answer);
    }

    fn learn(&mut self, answer: Option<Answer>) {
        if let Some(Answer::RegisterStarted(started)) = answer {
            self.registration = started.reg_id;
        }
    }

    fn attempt(&self, attempt: Attempt) -> Bytes {
        match attempt {
            Attempt::Newest => self.attempt.clone(),
            Attempt::New(n) => AttemptId([n; 16]).0.to_vec().into(),
            Attempt::Short(n) => vec![1; n.into()].into(),
        }
    }

    fn about(&mut self, operation: &mut Operation, about: &About) {
        let of = |newest: &Bytes| match about {
            About::Recorded => None,
            About::Newest => Some(newest.clone()),
            About::Other(n) => Some(Bytes::from(vec![*n; 16])),
        };
        let (attempt, registration) = (of(&self.attempt), of(&self.registration));
        match operation {
            Operation::Begin(o) => {
                o.attempt = attempt.unwrap_or_else(|| o.attempt.clone());
                self.attempt = o.attempt.clone();
            }
            Operation::KeyExchange(o) => o.attempt = attempt.unwrap_or_else(|| o.attempt.clone()),
            Operation::Finish(o) => o.attempt = attempt.unwrap_or_else(|| o.attempt.clone()),
            Operation::GiveUp(o) => o.attempt = attempt.unwrap_or_else(|| o.attempt.clone()),
            Operation::Confirm(o) => o.reg_id = registration.unwrap_or_else(|| o.reg_id.clone()),
            _ => {}
        }
    }
}
