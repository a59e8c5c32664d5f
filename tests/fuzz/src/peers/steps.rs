//! The attacker's messages.

use arbitrary::Arbitrary;
use bkv_core::checkpoint::Certificate;
use bkv_simulation::rooted::fleet::ROOTED;
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::peer::{Body, PeerError};
use bkv_vault::raft::types::{LogId, Vote, log_id_out, vote_out};
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::CommittedLeaderId;
use prost::Message as _;

use super::entries::Content;
use super::{Attack, VICTIM};
use crate::change::{Change, changed};
use crate::numbers::Number;
use crate::process::soon;

/// One message.
#[derive(Arbitrary, Debug)]
pub enum Step {
    Append {
        vote: Ballot,
        previous: Place,
        chain: Chain,
        entries: Vec<Entry>,
        committed: Place,
    },
    /// An append as an honest leader would send it.
    Next {
        content: Content,
        committed: bool,
    },
    Vote {
        vote: Ballot,
        last: Place,
        preliminary: bool,
    },
    Snapshot(Box<Snapshot>),
    Checkpoint(Box<Checkpoint>),
    Ask {
        shard: Shard,
        last: Place,
    },
    /// Any message whose bytes were changed.
    Changed {
        of: Box<Step>,
        changes: Vec<Change>,
    },
}

/// A vote.
#[derive(Arbitrary, Debug)]
pub enum Ballot {
    /// The victim takes it.
    Leading,
    Next(u8),
    Candidate(u8),
    Any {
        term: Number,
        node: Number,
        committed: bool,
    },
    None,
}

/// A position of the log.
#[derive(Arbitrary, Debug)]
pub enum Place {
    End,
    Before(u8),
    After(u8),
    LaterTerm { term: u8, before: u8 },
    Any { term: Number, node: Number, index: Number },
    None,
}

/// A chain hash.
#[derive(Arbitrary, Debug)]
pub enum Chain {
    End,
    None,
    Other(u8),
    Short(u8),
}

/// An entry.
#[derive(Arbitrary, Debug)]
pub struct Entry {
    at: Option<Place>,
    content: Content,
}

/// A shard's number.
#[derive(Arbitrary, Debug)]
pub enum Shard {
    This,
    Any(Number),
}

/// A part of a snapshot: the other honest vault's, or one that the attacker has changed and signed.
#[derive(Arbitrary, Debug)]
pub struct Snapshot {
    vote: Ballot,
    head: Option<Head>,
    rows: Vec<(u8, Vec<Change>)>,
    /// All rows as they are.
    all: bool,
    last: bool,
    stream: u8,
    number: Number,
}

#[derive(Arbitrary, Debug)]
pub(super) struct Head {
    changes: Vec<Change>,
    index: Option<Number>,
    rows: Option<Number>,
    /// The attacker signs what it changed.
    signed: bool,
}

/// A certificate with the attacker's signature.
#[derive(Arbitrary, Debug)]
pub struct Checkpoint {
    index: Option<Number>,
    term: Option<Number>,
    list: Option<Number>,
    shard: Option<u16>,
    digest: Option<u8>,
    signed: bool,
    changes: Vec<Change>,
}

/// A message before it is sent.
enum Sent {
    Raft(p::RaftCall),
    Call(Body),
}

impl Attack {
    pub(super) async fn step(&mut self, step: &Step) {
        if let Some(sent) = self.message(step, 0) {
            self.send(sent).await;
        }
    }

    async fn send(&self, sent: Sent) {
        let to = self.fleet.node(VICTIM).node();
        let answered = match sent {
            Sent::Raft(call) => self.leader.peers().raft(to, call, soon()).await.map(drop),
            Sent::Call(body) => self.leader.peers().call(to, body, soon()).await.map(drop),
        };
        // Refusing is what a replica should do. Anything else means that it is silent, or has closed the connection of all shards.
        match answered {
            Ok(()) | Err(PeerError::Refused { .. }) => {}
            Err(e) => panic!("no answer: {e}"),
        }
    }

    fn message(&mut self, step: &Step, depth: u8) -> Option<Sent> {
        let raft =
            |shard: u16, call| Sent::Raft(p::RaftCall { id: 0, shard: shard.into(), call: Some(call) });
        Some(match step {
            Step::Append { vote, previous, chain, entries, committed } => {
                let previous = self.place(previous);
                let first = previous.as_ref().map_or(0, |p| p.index.wrapping_add(1));
                let mut sent = Vec::new();
                for entry in entries.iter().take(8) {
                    let times = if let Content::Empty { times } = entry.content { times.into() } else { 1 };
                    for _ in 0..times {
                        let next = self.next(first.wrapping_add(sent.len() as u64));
                        let id = entry.at.as_ref().map_or(Some(next), |at| self.place(at));
                        sent.push(p::Entry { id, payload: self.content(&entry.content) });
                    }
                }
                let chain = match chain {
                    Chain::End => self.end().1.to_vec(),
                    Chain::None => Vec::new(),
                    Chain::Other(n) => vec![*n; 32],
                    Chain::Short(n) => vec![1; usize::from(*n)],
                };
                // Two histories under one vote would exclude the attacker, and nothing more would be tested in this shard.
                let vote = if matches!(vote, Ballot::Leading) { &Ballot::Next(1) } else { vote };
                let mut append = p::AppendEntries {
                    vote: self.ballot(vote),
                    previous,
                    previous_chain: chain.into(),
                    entries: sent,
                    committed: self.place(committed),
                    ..Default::default()
                };
                self.leader.sign(&self.fleet, self.shard, &mut append);
                raft(self.shard, Call::Append(append))
            }
            Step::Next { content, committed } => {
                let (end, chain) = self.end();
                let entry = p::Entry { id: Some(self.next(end.index + 1)), payload: self.content(content) };
                let end = log_id_out(&end);
                let mut append = p::AppendEntries {
                    vote: Some(vote_out(&self.leading())),
                    previous: Some(end),
                    previous_chain: chain.to_vec().into(),
                    committed: if *committed { entry.id } else { Some(end) },
                    entries: vec![entry],
                    ..Default::default()
                };
                self.leader.sign(&self.fleet, self.shard, &mut append);
                raft(self.shard, Call::Append(append))
            }
            Step::Vote { vote, last, preliminary } => raft(
                self.shard,
                Call::Vote(p::VoteRequest {
                    vote: self.ballot(vote),
                    last: self.place(last),
                    preliminary: *preliminary,
                }),
            ),
            Step::Snapshot(s) => Sent::Call(Body::Snapshot(self.chunk(s))),
            Step::Checkpoint(c) => Sent::Call(Body::Checkpoint(self.checkpoint(c))),
            Step::Ask { shard, last } => {
                let shard = match shard {
                    Shard::This => self.shard.into(),
                    Shard::Any(n) => n.value() as u32,
                };
                Sent::Call(Body::Ask(p::Ask { shard, my_applied: self.place(last) }))
            }
            Step::Changed { of, changes } if depth < 2 => match self.message(of, depth + 1)? {
                Sent::Raft(call) => {
                    let mut call = p::RaftCall::decode(&changed(call.encode_to_vec(), changes)[..]).ok()?;
                    call.call.as_ref()?;
                    call.id = 0;
                    Sent::Raft(call)
                }
                Sent::Call(body) => {
                    let message = p::Message { id: 0, body: Some(body) };
                    let message = p::Message::decode(&changed(message.encode_to_vec(), changes)[..]).ok()?;
                    match message.body? {
                        // Answers to nothing are dropped without an answer.
                        Body::Raft(_) | Body::RaftAnswers(_) => return None,
                        body => Sent::Call(body),
                    }
                }
            },
            Step::Changed { .. } => return None,
        })
    }

    /// The id of an entry under the leading vote.
    fn next(&self, index: u64) -> p::LogId {
        p::LogId { term: self.leading().leader_id.term, node: self.leader.node.0, index }
    }

    fn ballot(&self, vote: &Ballot) -> Option<p::Vote> {
        let leading = self.leading();
        let (term, node) = (leading.leader_id.term, self.leader.node.0);
        let vote = match vote {
            Ballot::Leading => leading,
            Ballot::Next(n) => Vote::new_committed(term + u64::from(*n), node),
            Ballot::Candidate(n) => Vote::new(term + u64::from(*n), node),
            Ballot::Any { term, node, committed } => {
                return Some(p::Vote { term: term.value(), node: node.value(), committed: *committed });
            }
            Ballot::None => return None,
        };
        Some(vote_out(&vote))
    }

    fn place(&self, place: &Place) -> Option<p::LogId> {
        let end = self.end().0;
        let moved = |index: u64| LogId::new(end.leader_id, index);
        let id = match place {
            Place::End => end,
            Place::Before(n) => moved(end.index.saturating_sub((*n).into())),
            Place::After(n) => moved(end.index + u64::from(*n)),
            Place::LaterTerm { term, before } => LogId::new(
                CommittedLeaderId::new(end.leader_id.term + u64::from(*term), self.leader.node.0),
                end.index.saturating_sub((*before).into()),
            ),
            Place::Any { term, node, index } => {
                return Some(p::LogId { term: term.value(), node: node.value(), index: index.value() });
            }
            Place::None => return None,
        };
        Some(log_id_out(&id))
    }

    fn chunk(&self, s: &Snapshot) -> p::SnapshotChunk {
        let (head, rows) = &self.scene.snapshot;
        let head = s.head.as_ref().map(|h| {
            let mut head = head.clone();
            let checkpoint = &mut head.certificate.checkpoint;
            checkpoint.index = h.index.map_or(checkpoint.index, Number::value);
            checkpoint.rows = h.rows.map_or(checkpoint.rows, Number::value);
            if h.signed {
                head.certificate = self.fleet.certificate(&head.certificate.checkpoint, &[ROOTED]);
            }
            changed(minicbor::to_vec(head).unwrap(), &h.changes)
        });
        let whole = || rows.iter().map(|r| minicbor::to_vec(r).unwrap());
        let chosen = s.rows.iter().take(8).filter_map(|(i, changes)| {
            let row = rows.get(usize::from(*i) % rows.len().max(1))?;
            Some(changed(minicbor::to_vec(row).unwrap(), changes))
        });
        let rows = if s.all { whole().chain(chosen).collect::<Vec<_>>() } else { chosen.collect() };
        let vote = self.ballot(&s.vote);
        p::SnapshotChunk {
            shard: self.shard.into(),
            vote,
            votes: Leader::mandate(&self.fleet, self.shard, vote),
            head: head.unwrap_or_default().into(),
            rows: rows.into_iter().map(Into::into).collect(),
            last: s.last,
            stream: s.stream.into(),
            number: s.number.value() as u32,
        }
    }

    fn checkpoint(&self, c: &Checkpoint) -> p::Checkpoint {
        let mut certificate: Certificate = self.scene.snapshot.0.certificate.clone();
        let checkpoint = &mut certificate.checkpoint;
        checkpoint.index = c.index.map_or(checkpoint.index, Number::value);
        checkpoint.term = c.term.map_or(checkpoint.term, Number::value);
        checkpoint.list = c.list.map_or(checkpoint.list, Number::value);
        checkpoint.shard = c.shard.unwrap_or(checkpoint.shard);
        if let Some(n) = c.digest {
            checkpoint.digest.0[0] ^= n;
        }
        if c.signed {
            certificate = self.fleet.certificate(&certificate.checkpoint, &[ROOTED]);
        }
        p::Checkpoint { certificate: changed(minicbor::to_vec(&certificate).unwrap(), &c.changes).into() }
    }
}
