//! Log entries of a rooted leader.

use arbitrary::Arbitrary;
use bkv_core::batch::Batch;
use bkv_core::command::{Command, Expire, GiveUp, Init, Raise, VERSION};
use bkv_core::document::NewDocuments;
use bkv_core::id::{AccountId, Hash, Time};
use bkv_core::secret::Secret32;
use bkv_core::statement::Operation;
use bkv_core::writers::LedgerName;
use bkv_simulation::rooted::client::Client;
use bkv_simulation::rooted::fleet::now;
use bkv_wire::proto::peer as p;

use super::Attack;
use crate::change::{Change, changed};
use crate::numbers::Number;

/// The content of an entry.
#[derive(Arbitrary, Debug)]
pub enum Content {
    Batch { time: When, commands: Vec<Act>, changes: Vec<Change> },
    Empty { times: u8 },
    Blank,
    Membership { whole: bool, voters: Vec<u8>, nodes: Vec<Number> },
    Bytes(Vec<u8>),
    Nothing,
}

/// Entry time.
#[derive(Arbitrary, Debug)]
pub enum When {
    Now,
    Ago(u32),
    Ahead(u16),
    Any(Number),
}

/// A command. The client's signatures in it are genuine, or by another key.
#[derive(Arbitrary, Debug)]
pub enum Act {
    Begin {
        ordinal: u8,
        permits: u8,
    },
    Finish,
    GiveUp {
        cancel: u8,
    },
    Expire,
    /// Names a ledger of the one writer, of any counter, with V or without.
    Ledger {
        counter: Number,
        v: bool,
        expected: bool,
        genuine: bool,
    },
    Forget {
        genuine: bool,
    },
    /// Stores a registration over Bob's key.
    Store {
        genuine: bool,
    },
    Confirm {
        slots: [u8; 2],
        genuine: bool,
    },
    Delete {
        genuine: bool,
    },
    Documents {
        swapped: bool,
    },
    Init {
        shard: u16,
    },
    /// Raises the version by this much, signed by nobody.
    Raise {
        by: u8,
    },
}

impl Attack {
    pub(super) fn content(&mut self, content: &Content) -> Option<p::entry::Payload> {
        use p::entry::Payload;
        Some(match content {
            Content::Batch { time, commands, changes } => {
                let time = match time {
                    When::Now => now(),
                    When::Ago(ms) => Time(now().0.saturating_sub((*ms).into())),
                    When::Ahead(ms) => now().plus((*ms).into()),
                    When::Any(n) => Time(n.value()),
                };
                let commands = commands.iter().take(6).map(|act| self.command(act)).collect();
                let batch = minicbor::to_vec(Batch { version: VERSION, time, commands }).unwrap();
                Payload::Batch(changed(batch, changes).into())
            }
            Content::Empty { .. } => {
                let batch = Batch { version: VERSION, time: now(), commands: Vec::new() };
                Payload::Batch(minicbor::to_vec(batch).unwrap().into())
            }
            Content::Blank => Payload::Blank(true),
            Content::Membership { whole, voters, nodes } => {
                let members: Vec<u64> = self.fleet.list.members.iter().map(|m| m.node.0).collect();
                let chosen = voters.iter().map(|i| members[usize::from(*i) % members.len()]).collect();
                let voters = if *whole { members.clone() } else { chosen };
                let nodes = nodes.iter().take(4).map(|n| n.value()).chain(members).collect();
                Payload::Membership(p::Membership { joint: vec![p::Config { voters }], nodes })
            }
            Content::Bytes(bytes) => Payload::Batch(bytes.clone().into()),
            Content::Nothing => return None,
        })
    }

    /// Bob as the owner of his live key.
    fn owner(&self) -> &Client {
        let bob = &self.scene.bob;
        let live =
            self.victim().account(&bob.account).unwrap().and_then(|a| Some(a.live.as_ref()?.record.reg_id));
        self.scene.stored.as_ref().filter(|s| Some(s.record.reg_id) == live).unwrap_or(bob)
    }

    fn command(&mut self, act: &Act) -> Command {
        let (alice, bob) = (&self.scene.alice, &self.scene.bob);
        let ordinal = |id: &AccountId| self.victim().account(id).unwrap().map_or(0, |a| a.ordinal.0);
        match act {
            Act::Begin { ordinal: offset, permits } => {
                let next = ordinal(&alice.account).wrapping_add(1).wrapping_add((*offset).into());
                let begin = alice.begin(next);
                let slots: &[u8] = if permits % 2 == 0 { &[1] } else { &[1, 2] };
                let begin = if *permits > 2 { alice.permitted(&self.fleet, &begin, slots) } else { begin };
                self.scene.begun = Some(begin.clone());
                Command::Begin(begin)
            }
            Act::Finish => {
                let begun = self.scene.begun.clone().unwrap_or_else(|| alice.begin(1));
                Command::Finish(alice.finish(&begun))
            }
            Act::GiveUp { cancel } => {
                let attempt = self.scene.begun.clone().unwrap_or_else(|| alice.begin(1)).attempt;
                let cancel = Secret32::new([*cancel; 32]);
                Command::GiveUp(GiveUp { account: alice.account, attempt, cancel })
            }
            Act::Expire => Command::Expire(Expire { account: bob.account }),
            Act::Ledger { counter, v, expected, genuine } => {
                let counter = counter.value();
                let ledger = LedgerName { counter, hash: Hash([counter.to_le_bytes()[0]; 32]) };
                let named = self.victim().account(&alice.account).unwrap();
                let named = named.and_then(|a| a.writers.first().map(|w| w.ledger.hash));
                let v = v.then(|| Secret32::new([counter.to_le_bytes()[1]; 32]));
                let by = if *genuine { &alice.owner } else { &bob.owner };
                alice.set_ledger(named.filter(|_| *expected), ledger, v, by)
            }
            Act::Forget { genuine } => {
                let named = self.victim().account(&alice.account).unwrap();
                let named = named.and_then(|a| a.writers.first().map(|w| w.ledger.hash));
                alice.forget_writer(
                    named.unwrap_or(Hash([4; 32])),
                    if *genuine { &alice.owner } else { &bob.owner },
                )
            }
            Act::Store { genuine } => {
                let generation = self.victim().account(&bob.account).unwrap().map_or(0, |a| a.generation.0);
                let next = Client::new(&self.fleet, bob.account, generation + 1);
                let by = if *genuine { &self.owner().owner } else { &next.owner };
                let hash = next.record.hash();
                let owner = self.owner().owned(&Operation::Register(hash), now().plus(60_000), by);
                let store = next.store(Some(owner));
                self.scene.stored = Some(next);
                store
            }
            Act::Confirm { slots, genuine } => {
                let stored = self.scene.stored.as_ref().unwrap_or(bob);
                let by = if *genuine { &stored.owner } else { &alice.owner };
                stored.confirm(&self.fleet, &slots.map(|s| s % 3 + 1), by)
            }
            Act::Delete { genuine } => {
                let live = self.owner();
                let by = if *genuine { &live.owner } else { &alice.owner };
                live.delete(live.owned(&Operation::Delete, now().plus(60_000), by))
            }
            Act::Documents { swapped } => {
                let fleet = self.victim().fleet().unwrap();
                let (a, b) = (&fleet.documents.admission_signed, &fleet.documents.policy_signed);
                let (a, b) = if *swapped { (b, a) } else { (a, b) };
                Command::Documents(NewDocuments { admission: a.clone(), policy: b.clone() })
            }
            Act::Raise { by } => {
                Command::Raise(Raise { version: VERSION + u32::from(*by), signatures: Vec::new() })
            }
            Act::Init { shard } => {
                let fleet = self.victim().fleet().unwrap();
                let d = &fleet.documents;
                Command::Init(Init {
                    fleet: self.fleet.root.fleet,
                    lineage: self.fleet.root.lineage(),
                    era: self.fleet.root.era,
                    shard: *shard,
                    index: Secret32::new([5; 32]),
                    documents: NewDocuments {
                        admission: d.admission_signed.clone(),
                        policy: d.policy_signed.clone(),
                    },
                    version: VERSION,
                })
            }
        }
    }
}
