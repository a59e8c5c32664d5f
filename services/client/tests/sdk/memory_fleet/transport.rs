//! The SDK's transport onto the vaults: a stream is a TLS server channel in this process.

use std::collections::VecDeque;

use async_trait::async_trait;
use bkv_client::{Duplex, Transport, TransportError};
use bkv_wire::channel::Channel;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use bkv_wire::proto::outer::{self, Frame, frame::Body};
use bytes::Bytes;
use prost::Message as _;

use super::MemoryFleet;
use super::state::Cut;

pub struct Wire(pub MemoryFleet);

struct Stream {
    vaults: MemoryFleet,
    server: Channel,
    leader: usize,
    opened: bool,
    cut: bool,
    out: VecDeque<Body>,
}

#[async_trait]
impl Transport for Wire {
    async fn open(&self) -> Result<Box<dyn Duplex>, TransportError> {
        let mut state = self.0.state();
        state.connections += 1;
        if let Some(e) = state.unreachable.pop_front() {
            return Err(e);
        }
        let stranger = state.stranger.clone().filter(|_| state.strangers > 0);
        state.strangers = state.strangers.saturating_sub(1);
        let settings = stranger.unwrap_or_else(|| state.regions[state.leader].settings.clone());
        let server = Channel::server(&settings).unwrap();
        let (leader, vaults) = (state.leader, self.0.clone());
        Ok(Box::new(Stream { vaults, server, leader, opened: false, cut: false, out: VecDeque::new() }))
    }

    async fn get(&self, path: &str) -> Result<Bytes, TransportError> {
        let not = path.strip_prefix("/v1/fleet").expect("the path of the bundle");
        let not: Vec<&str> =
            not.strip_prefix("?not=").map(|list| list.split(',').collect()).unwrap_or_default();
        let mut state = self.0.state();
        state.bundles_served += 1;
        let lie = state.wrong_bundles.iter().find(|lie| !not.contains(&lie.region.as_str()));
        Ok(lie.map_or_else(|| state.bundle.clone(), outer::Bundle::encode_to_vec).into())
    }
}

impl Stream {
    fn flush(&mut self) {
        let bytes = self.server.take_outgoing();
        if !bytes.is_empty() && !self.cut {
            self.out.push_back(Body::Data(bytes.into()));
        }
    }

    /// ChatD names the first region of the stranger that the client does not avoid, and relays to an honest region if the client avoids all of them.
    fn relayed(&mut self, not: &[String]) {
        let mut state = self.vaults.state();
        state.most_avoided = state.most_avoided.max(not.len());
        if state.stranger_regions.is_empty() {
            return;
        }
        match state.stranger_regions.iter().find(|region| !not.contains(region)) {
            Some(region) => self.out.push_back(Body::Relayed(outer::Relayed { region: region.clone() })),
            None => self.server = Channel::server(&state.regions[state.leader].settings).unwrap(),
        }
    }

    fn request(&mut self, request: &p::Request) {
        let mut state = self.vaults.state();
        let number = state.requests;
        let last = matches!(&request.operation, Some(Operation::Begin(b)) if b.may_be_last);
        let cut = state.cuts.remove(&number).or_else(|| state.last_begin.filter(|_| last));
        state.requests += 1;
        state.log.push(request.clone());
        if !matches!(cut, Some(Cut::Before)) {
            let server = &self.server;
            let exporter = |label: &[u8]| server.exporter(label, &[]).unwrap();
            let replies = state.handle(&mut self.opened, self.leader, request, &exporter);
            if cut.is_none() {
                for reply in replies {
                    self.server.send(&reply.encode_to_vec()).unwrap();
                }
            }
        }
        if let Some(cut) = cut {
            drop(state);
            self.flush();
            self.cut = true;
            let mut state = self.vaults.state();
            state.elect();
            if !matches!(cut, Cut::Silent) {
                self.out.push_back(Body::Reset(outer::Reset {
                    reason: outer::reset::Reason::LeaderMoved.into(),
                }));
            }
        }
    }
}

#[async_trait]
impl Duplex for Stream {
    async fn send(&mut self, frame: Frame) -> Result<(), TransportError> {
        let data = match frame.body {
            Some(Body::Data(data)) => data,
            Some(Body::Open(open)) => {
                self.relayed(&open.not);
                return Ok(());
            }
            _ => return Ok(()),
        };
        self.vaults.state().relayed.extend_from_slice(&data);
        if self.vaults.state().nobody_leads {
            let reason = outer::reset::Reason::NoLeader.into();
            self.out.push_back(Body::Reset(outer::Reset { reason }));
            return Ok(());
        }
        let fed = self.server.feed(&data);
        while fed.is_ok() && !self.cut {
            let Ok(Some(message)) = self.server.next_message() else { break };
            self.request(&p::Request::decode(&message[..]).unwrap());
        }
        self.flush();
        Ok(())
    }

    async fn receive(&mut self) -> Result<Frame, TransportError> {
        match self.out.pop_front() {
            Some(body) => Ok(Frame { stream: 0, body: Some(body) }),
            None => std::future::pending().await,
        }
    }
}
