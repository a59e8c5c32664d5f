//! One stream through ChatD that carries the inner TLS channel. Matches each reply to its request.

use std::collections::VecDeque;
use std::time::Duration;

use bkv_wire::channel::{Channel, ChannelError};
use bkv_wire::possession;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use bkv_wire::proto::outer::{self, frame::Body};
use prost::Message as _;

use crate::error::{Distrust, Error};
use crate::fault::{Cause, Fault, unexpected};
use crate::runtime::{Runtime, within};
use crate::token_key::Prover;
use crate::transport::Duplex;
use crate::trusted::Trusted;

/// The version of the messages.
const PROTOCOL: u32 = 1;
/// The most replies kept until the caller asks for them. An honest vault sends at most a few per region.
const MAX_WAITING: usize = 64;

pub(crate) struct Session {
    stream: Box<dyn Duplex>,
    channel: Channel,
    last_id: u64,
    waiting: VecDeque<p::Reply>,
    /// The region whose vault answers, as ChatD reports it.
    region: Option<String>,
    /// If the person's token is bound to a key.
    prover: Option<Prover>,
}

impl Session {
    /// Opens a stream to a vault of a region that is not in `avoided`, and begins the handshake. Requests may be queued at once: they leave with the client's last handshake message.
    pub(crate) async fn connect(
        runtime: &Runtime,
        trusted: &Trusted,
        avoided: Vec<String>,
        limit: Duration,
    ) -> Result<Self, Fault> {
        let channel = Channel::client(&trusted.settings).map_err(channel_fault)?;
        let Some(stream) = within(&*runtime.clock, limit, runtime.transport.open()).await else {
            return Err(Fault::Repeat(Cause::Chatd("no connection in time".into())));
        };
        let mut session = Self {
            stream: stream?,
            channel,
            last_id: 0,
            waiting: VecDeque::new(),
            region: None,
            prover: None,
        };
        // Without a route: ChatD takes the account's from its own token.
        let open = outer::Open { not: avoided, ..Default::default() };
        session.stream.send(frame(Body::Open(open))).await?;
        Ok(session)
    }

    /// From now on requests bring the proofs of this prover. Waits for the handshake: the proofs sign keying material of the channel. Requests leave only then anyway.
    pub(crate) async fn prove_with(
        &mut self,
        runtime: &Runtime,
        prover: Prover,
        limit: Duration,
    ) -> Result<(), Fault> {
        self.flush().await?;
        let Some(ready) = within(&*runtime.clock, limit, self.ready()).await else {
            runtime.transport.suspect();
            return Err(Fault::Repeat(Cause::Vault("no answer in time".into())));
        };
        ready?;
        self.prover = Some(prover);
        Ok(())
    }

    async fn ready(&mut self) -> Result<(), Fault> {
        while !self.channel.is_ready() {
            self.take_frame().await?;
        }
        Ok(())
    }

    /// Queues a request and returns its id.
    pub(crate) async fn ask(&mut self, mut operation: Operation) -> Result<u64, Fault> {
        if let Some(prover) = &self.prover {
            let channel = self.exporter(possession::EXPORTER, &[])?;
            // Boxed: most tokens are bound to no key, and every caller's future would hold the room for it.
            Box::pin(prover.prove(&mut operation, &channel)).await?;
        }
        self.last_id += 1;
        let request = p::Request { protocol: PROTOCOL, id: self.last_id, operation: Some(operation) };
        self.channel.send(&request.encode_to_vec()).map_err(channel_fault)?;
        Ok(self.last_id)
    }

    /// Sends the queued requests.
    pub(crate) async fn flush(&mut self) -> Result<(), Fault> {
        let out = self.channel.take_outgoing();
        if !out.is_empty() {
            self.stream.send(frame(Body::Data(out.into()))).await?;
        }
        Ok(())
    }

    /// The next reply to request `id`, and whether more follow. A refusal is a fault. Replies to earlier requests are dropped.
    pub(crate) async fn reply(
        &mut self,
        runtime: &Runtime,
        id: u64,
        limit: Duration,
    ) -> Result<(Answer, bool), Fault> {
        self.flush().await?;
        let Some(reply) = within(&*runtime.clock, limit, self.next(id)).await else {
            runtime.transport.suspect();
            return Err(Fault::Repeat(Cause::Vault("no answer in time".into())));
        };
        let reply = reply?;
        match reply.result {
            Some(Answer::Refused(r)) => Err(Fault::Refused(r)),
            Some(answer) => Ok((answer, reply.more)),
            None => Err(unexpected()),
        }
    }

    async fn next(&mut self, id: u64) -> Result<p::Reply, Fault> {
        loop {
            while let Some(reply) = self.waiting.pop_front() {
                if reply.id == id {
                    return Ok(reply);
                }
                if reply.id > id {
                    self.waiting.push_front(reply);
                    break;
                }
            }
            if self.take_frame().await? {
                self.take_in(id)?;
            }
        }
    }

    /// Takes the next frame. True if it was of the channel.
    async fn take_frame(&mut self) -> Result<bool, Fault> {
        let frame = self.stream.receive().await?;
        match frame.body {
            Some(Body::Data(data)) => {
                let fed = self.channel.feed(&data);
                // An alert, or the handshake's next message followed by the requests.
                self.flush().await?;
                fed.map_err(channel_fault)?;
                return Ok(true);
            }
            Some(Body::Relayed(relayed)) => self.region = crate::fleet::name(relayed.region),
            Some(Body::Reset(reset)) => {
                return Err(Fault::Repeat(Cause::Vault(words(reset.reason()).into())));
            }
            Some(Body::Close(_)) => {
                return Err(Fault::Repeat(Cause::Vault("the stream was closed".into())));
            }
            _ => {} // a later version's frame
        }
        Ok(false)
    }

    fn take_in(&mut self, id: u64) -> Result<(), Fault> {
        while let Some(message) = self.channel.next_message().map_err(channel_fault)? {
            let reply = p::Reply::decode(&message[..]).map_err(|_| unexpected())?;
            if reply.id >= id && reply.id <= self.last_id {
                if self.waiting.len() >= MAX_WAITING {
                    return Err(unexpected());
                }
                let at = self.waiting.partition_point(|r| r.id <= reply.id);
                self.waiting.insert(at, reply);
            }
        }
        Ok(())
    }

    /// True if a request may have reached a vault. Requests leave only after the inner TLS handshake, and ChatD's NO_LEADER reset always arrives
    /// before that.
    pub(crate) fn may_have_asked(&self) -> bool {
        self.channel.is_ready()
    }

    /// Keying material that only this channel's two ends know.
    pub(crate) fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], Fault> {
        self.channel.exporter(label, context).map_err(channel_fault)
    }

    /// The region of the vault at the other end, as ChatD reports it. Enough to ask another region, and no proof.
    pub(crate) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The identity of the vault at the other end.
    pub(crate) fn peer(&self) -> Option<&[u8]> {
        self.channel.peer_spki()
    }
}

/// Why ChatD reset a stream, as text for people. No vault vouches for it.
fn words(reason: outer::reset::Reason) -> &'static str {
    use outer::reset::Reason;
    match reason {
        Reason::NoLeader => "too few of its regions answer: no majority, so nobody leads",
        Reason::LeaderMoved => "another region has taken over",
        Reason::VaultLost => "the region that answered is gone",
        Reason::Draining => "ChatD is being restarted",
        Reason::Overloaded => "too much is going on there",
        Reason::Idle => "the stream was idle for too long",
        Reason::Expired => "the token for ChatD has expired",
        Reason::Protocol | Reason::Unspecified => "the stream was cut",
    }
}

fn frame(body: Body) -> outer::Frame {
    outer::Frame { stream: 0, body: Some(body) }
}

fn channel_fault(e: ChannelError) -> Fault {
    match e {
        ChannelError::NotAdmitted => Fault::Final(Error::FleetNotTrusted(Distrust::NotAdmitted)),
        // ChatD or the network can break a channel. A repetition costs no try.
        e => Fault::Repeat(Cause::Vault(e.to_string())),
    }
}
