//! A client that sends any operation: for replays, for other elements under known ids, and to see answers byte for byte.

use std::time::Duration;

use bkv_client::{Duplex, Transport as _};
use bkv_core::id::{AttemptId, Element};
use bkv_core::statement;
use bkv_crypto::toprf;
use bkv_wire::channel::{Channel, ClientSettings};
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use bkv_wire::proto::outer::{Frame, frame::Body};
use prost::Message as _;
use tokio::time::timeout;

use crate::Simulation;
use crate::transport::VaultTransport;

pub struct RawClient {
    stream: Box<dyn Duplex>,
    channel: Channel,
    last: u64,
}

/// The nonce of every session.
const NONCE: [u8; 32] = [3; 32];

/// Why there was no answer. The caller repeats the request.
#[derive(Debug)]
pub struct Broken(#[allow(dead_code)] pub String); // for the message of a test that fails

/// A Begin for this guess.
pub fn begin(attempt: AttemptId, blinded: Element) -> Operation {
    Operation::Begin(p::Begin {
        attempt: attempt.0.to_vec().into(),
        blinded: blinded.0.to_vec().into(),
        cancel: statement::cancel_hash(&cancel(attempt)).0.to_vec().into(),
        may_be_last: true,
        proof: None,
    })
}

/// The operation that closes the attempt.
pub fn give_up(attempt: AttemptId) -> Operation {
    Operation::GiveUp(p::GiveUp {
        attempt: attempt.0.to_vec().into(),
        cancel: cancel(attempt).to_vec().into(),
    })
}

fn cancel(attempt: AttemptId) -> [u8; 32] {
    [attempt.0, attempt.0].concat().try_into().unwrap()
}

/// A guess at a password, blinded.
pub fn blinded(password: &str) -> Element {
    *toprf::blind(password.as_bytes(), &mut rand::rngs::OsRng).unwrap().element()
}

impl RawClient {
    /// Opens a channel and waits for the answer to `Open`.
    pub async fn open(sim: &Simulation, subject: &str, transport: &VaultTransport) -> Result<Self, Broken> {
        Self::open_with(sim, sim.token(subject), transport).await
    }

    /// The same with this token.
    pub async fn open_with(
        sim: &Simulation,
        token: String,
        transport: &VaultTransport,
    ) -> Result<Self, Broken> {
        Self::open_proved(sim, token, None, transport).await
    }

    /// The same with this proof, which may be of another channel.
    pub async fn open_proved(
        sim: &Simulation,
        token: String,
        proof: Option<p::Proof>,
        transport: &VaultTransport,
    ) -> Result<Self, Broken> {
        let broken = |e: &dyn std::fmt::Display| Broken(e.to_string());
        let mut accepted = Vec::new();
        for machine in &sim.machines {
            accepted.push(machine.token.identity_spki_blocking().map_err(|e| broken(&e))?);
        }
        let settings = ClientSettings::new(accepted).unwrap();
        let stream = transport.open().await.map_err(|e| broken(&e))?;
        let channel = Channel::client(&settings).unwrap();
        let mut raw = Self { stream, channel, last: 0 };
        let open = Operation::Open(p::Open {
            token,
            nonce: NONCE.to_vec().into(),
            attest: false,
            all: false,
            proof,
        });
        match raw.ask(open).await? {
            Answer::Opened(_) => Ok(raw),
            other => Err(Broken(format!("{other:?}"))),
        }
    }

    /// Keying material of the channel.
    pub fn exporter(&self, label: &[u8]) -> [u8; 32] {
        self.channel.exporter(label, &[]).unwrap()
    }

    /// Sends one request and returns its answer.
    pub async fn ask(&mut self, operation: Operation) -> Result<Answer, Broken> {
        self.last += 1;
        let request = p::Request { protocol: 1, id: self.last, operation: Some(operation) };
        self.channel.send(&request.encode_to_vec()).map_err(|e| Broken(e.to_string()))?;
        timeout(Duration::from_secs(10), self.answer())
            .await
            .unwrap_or_else(|_| Err(Broken("no answer in time".into())))
    }

    async fn answer(&mut self) -> Result<Answer, Broken> {
        let broken = |e: &dyn std::fmt::Display| Broken(e.to_string());
        loop {
            let out = self.channel.take_outgoing();
            if !out.is_empty() {
                let frame = Frame { stream: 0, body: Some(Body::Data(out.into())) };
                self.stream.send(frame).await.map_err(|e| broken(&e))?;
            }
            if let Some(message) = self.channel.next_message().map_err(|e| broken(&e))? {
                let reply = p::Reply::decode(&message[..]).unwrap();
                if reply.id == self.last {
                    return Ok(reply.result.unwrap());
                }
                continue;
            }
            match self.stream.receive().await.map_err(|e| broken(&e))?.body {
                Some(Body::Data(data)) => self.channel.feed(&data).map_err(|e| broken(&e))?,
                other => return Err(Broken(format!("{other:?}"))),
            }
        }
    }
}

impl Simulation {
    /// Repeats a request until a leader answers with more than a passing refusal.
    pub async fn insist(&self, subject: &str, operation: &Operation) -> Answer {
        let transport = self.transport(subject);
        let until = crate::soon();
        loop {
            let answer = match RawClient::open(self, subject, &transport).await {
                Ok(mut raw) => raw.ask(operation.clone()).await,
                Err(e) => Err(e),
            };
            match answer {
                Ok(Answer::Refused(ref r)) if passing(r.code()) => {}
                Ok(answer) => return answer,
                Err(_) => {}
            }
            assert!(tokio::time::Instant::now() < until, "no final answer: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Refusals that a client answers by repeating the request.
pub fn passing(code: p::refused::Code) -> bool {
    use p::refused::Code;
    matches!(code, Code::Unavailable | Code::TooFewRegions | Code::Stale | Code::Rate | Code::Busy)
}
