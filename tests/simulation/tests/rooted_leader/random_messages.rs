//! Random messages of an admitted vault to live replicas: not to their decoders only, but to what answers them. They follow a grammar, because random bytes would seldom
//! get past the decoder.
//!
//! `BKV_SEED` sets the seed, `BKV_MESSAGES` the number of messages to each vault.

use bkv_core::command::{Command, Expire};
use bkv_core::id::AccountId;
use bkv_wire::proto::peer as p;
use bkv_wire::proto::peer::raft_call::Call;
use openraft::{CommittedLeaderId, EntryPayload};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use bkv_simulation::rooted::fleet::{Fleet, HONEST, now};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::peer::Body;
use bkv_vault::raft::types::{LogId, Vote, entry_out, log_id_out, vote_out};

use crate::extremes::{SHARD, registered, serves};

/// Makes messages. It never calls a new entry committed: an attacker may have a different history for each honest vault, and then they rightly serve no more.
struct Grammar<'a> {
    rng: StdRng,
    fleet: &'a Fleet,
    leader: &'a Leader,
    to: usize,
    /// Rises, because a replica takes nothing more from a vault in a term in which that vault has contradicted it.
    term: u64,
}

impl Grammar<'_> {
    fn end(&self) -> (LogId, [u8; 32]) {
        let (id, chain) = self.leader.end(self.to, SHARD);
        (id, chain.0)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.rng.gen_range(0..=most)];
        self.rng.fill(&mut bytes[..]);
        bytes
    }

    fn number(&mut self, usual: u64) -> u64 {
        match self.rng.gen_range(0..8) {
            0 => u64::MAX - self.rng.gen_range(0..3),
            1 => self.rng.gen_range(0..3),
            2 => 1 << self.rng.gen_range(0..64),
            _ => usual.saturating_add(self.rng.gen_range(0..5)).saturating_sub(2),
        }
    }

    fn node(&mut self) -> u64 {
        if self.rng.gen_bool(0.9) { self.leader.node.0 } else { self.rng.gen_range(0..9) }
    }

    fn vote(&mut self) -> Option<p::Vote> {
        self.term += u64::from(self.rng.gen_bool(0.3));
        let term = match self.rng.gen_range(0..20) {
            0 => u64::MAX - self.rng.gen_range(0..3),
            1 => 0,
            _ => self.term + self.rng.gen_range(0..3),
        };
        let vote = Vote::new(term, self.node());
        let vote = p::Vote { committed: self.rng.r#gen(), ..vote_out(&vote) };
        self.rng.gen_bool(0.95).then_some(vote)
    }

    fn id(&mut self) -> p::LogId {
        let (end, _) = self.end();
        if self.rng.gen_bool(0.5) {
            return log_id_out(&end);
        }
        let id = CommittedLeaderId::new(self.number(end.leader_id.term), self.node());
        log_id_out(&LogId::new(id, self.number(end.index)))
    }

    /// A position that is applied at both honest vaults, or one that cannot be.
    fn committed(&mut self) -> Option<p::LogId> {
        let id = self.id();
        (id.index <= self.end().0.index).then_some(id)
    }

    fn hash(&mut self) -> Vec<u8> {
        let (_, chain) = self.end();
        match self.rng.gen_range(0..20) {
            0 => self.bytes(40),
            1 => vec![0; 32],
            _ => chain.to_vec(),
        }
    }

    fn entry(&mut self, term: u64, index: u64) -> p::Entry {
        let payload = match self.rng.gen_range(0..6) {
            0 => EntryPayload::Blank,
            1 => Leader::membership(&[self.leader.node.0, self.rng.gen_range(0..9)]),
            2 => {
                let mut entry = self.entry(term, index);
                entry.payload = Some(p::entry::Payload::Batch(self.bytes(60).into()));
                return entry;
            }
            3 => {
                let mut bytes = self.entry(term, index).encode_to_vec();
                if let Some(at) = bytes.len().checked_sub(1) {
                    bytes[self.rng.gen_range(0..=at)] = self.rng.r#gen();
                }
                return p::Entry::decode(&bytes[..]).unwrap_or_default();
            }
            _ => {
                let account = AccountId([self.rng.r#gen(); 32]);
                Leader::batch(now(), vec![Command::Expire(Expire { account })])
            }
        };
        let id = LogId::new(CommittedLeaderId::new(term, self.node()), index);
        entry_out(&openraft::Entry { log_id: id, payload })
    }

    fn append(&mut self) -> Call {
        // Two different appends in one term would exclude the attacker, and nothing more would be tested.
        self.term += 3;
        let previous = self.rng.gen_bool(0.9).then(|| self.id());
        let first = previous.map_or(0, |id| id.index.wrapping_add(1));
        let mut entries = Vec::new();
        for i in 0..self.rng.gen_range(0..4) {
            let (term, index) = (self.number(previous.map_or(1, |id| id.term)), first.wrapping_add(i));
            let index = if self.rng.gen_bool(0.9) { index } else { self.number(first) };
            entries.push(self.entry(term, index));
        }
        Call::Append(p::AppendEntries {
            vote: self.vote(),
            previous,
            previous_chain: self.hash().into(),
            entries,
            committed: self.committed(),
            ..Default::default()
        })
    }

    fn call(&mut self) -> p::RaftCall {
        let call = match self.rng.gen_range(0..6) {
            0 => None,
            1 | 2 => Some(Call::Vote(p::VoteRequest {
                vote: self.vote(),
                last: self.rng.gen_bool(0.9).then(|| self.id()),
                preliminary: self.rng.gen_bool(0.3),
            })),
            _ => Some(self.append()),
        };
        let mut call = call;
        if let Some(Call::Append(append)) = call.as_mut().filter(|_| self.rng.gen_bool(0.9)) {
            self.leader.sign(self.fleet, SHARD, append);
        }
        let shard = if self.rng.gen_bool(0.95) { u32::from(SHARD) } else { self.rng.r#gen() };
        p::RaftCall { id: 0, shard, call }
    }

    fn body(&mut self) -> Body {
        let shard = u32::from(SHARD);
        let short = |bytes: Vec<u8>| bytes::Bytes::from(bytes);
        match self.rng.gen_range(0..6) {
            0 => Body::Ask(p::Ask { shard, my_applied: self.rng.gen_bool(0.9).then(|| self.id()) }),
            1 => Body::Attest(p::Attest { shard, account: short(self.bytes(40)), ..Default::default() }),
            2 => Body::Told(p::Told { vote: self.vote(), last: Some(self.id()), ..Default::default() }),
            3 => Body::RaftAnswers(p::RaftAnswers { answers: vec![p::RaftAnswer::default()] }),
            // No whole snapshot, for the same reason as for new entries.
            _ => Body::Snapshot(p::SnapshotChunk {
                shard,
                vote: self.vote(),
                head: short(self.bytes(80)),
                rows: (0..self.rng.gen_range(0..3)).map(|_| short(self.bytes(80))).collect(),
                last: self.rng.r#gen(),
                stream: self.rng.gen_range(0..3),
                number: self.rng.gen_range(0..3),
                votes: Vec::new(),
            }),
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

/// S49: whatever an admitted vault sends, the honest vaults answer it and serve on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s49_no_message_of_one_vault_ends_a_replica() {
    let seed = setting("BKV_SEED", rand::random());
    println!("BKV_SEED={seed}");
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = registered(&fleet, &mut leader).await;
    for to in HONEST {
        let number = u64::try_from(to).unwrap();
        let (rng, term) =
            (StdRng::seed_from_u64(seed ^ number), leader.vote(SHARD).leader_id.term + 100_000 * number);
        let mut grammar = Grammar { rng, fleet: &fleet, leader: &leader, to, term };
        for _ in 0..setting("BKV_MESSAGES", 300) {
            // An answer or a refusal: both will do. `send` and `call` panic if there is neither.
            if grammar.rng.gen_bool(0.7) {
                let call = grammar.call();
                let _ = leader.raft(&fleet, to, call).await;
            } else {
                let body = grammar.body();
                let _ = leader.call(&fleet, to, body).await;
            }
        }
    }
    serves(&fleet, &alice).await;
}
