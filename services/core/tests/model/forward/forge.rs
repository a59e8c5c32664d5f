//! Commands that the liar makes up or repeats.

use bkv_core::account::Account;
use bkv_core::command::{Begin, Command, Confirm, Delete, Expire, Finish, GiveUp, SetLedger, Store};
use bkv_core::id::{
    AttemptId, Generation, Hash, OperationId, Ordinal, PublicKey, Signature, Slot, Time, WriterId,
};
use bkv_core::record::SealedShare;
use bkv_core::secret::Secret32;
use bkv_core::signature::OwnerSignature;
use bkv_core::statement::{self, Operation};
use bkv_core::writers::{LedgerName, Naming, v_hash};

use super::super::fake::signed_by;
use super::super::fake::{ERA, LINEAGE, ke3, sign};
use super::super::machine::account;
use super::liar::Liar;
use super::person::{Draft, attempt_id, element, registration, unique};
use super::speak::Shown;
use super::world::World;

/// The kinds of forged commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forged {
    /// A Finish of the open attempt, signed by another key.
    Finish,
    /// A Finish of the open attempt with the proof of an earlier one.
    OldProof,
    /// A Delete without the owner.
    Delete,
    /// A ledger of the highest counter without the owner.
    Ledger,
    /// A GiveUp of the open attempt, with its cancel if the liar made the attempt up.
    GiveUp,
    /// The next attempt, as the last one, with permits by the liar alone.
    LastTry,
    /// Another element under the id of the open attempt.
    OtherElement,
    /// An attempt further ahead, or of another generation.
    Ahead,
    /// The deadline of the account has passed.
    Expire,
    /// A registration of the liar's own, with every acknowledgement that it can get.
    Register,
    /// A registration of the person with another share, z or owner.
    OtherStore(u8),
    /// The newest Confirm of the account, with its last acknowledgement under another slot.
    Confirm,
    /// A record of this account under another account or bucket.
    OtherAccount(u8),
}

impl World {
    /// The commands of a forgery against one person, from the view of one replica.
    pub(super) fn forged(&mut self, kind: Forged, who: u8, to: usize, shard: u16) -> Vec<Command> {
        let id = account(who);
        let number = self.fresh();
        let known = self.honest.replica(to, shard).memory.0.get(&id).cloned();
        let generation = known.as_ref().map_or(Generation(0), |a| a.generation);
        let ordinal = Ordinal(known.as_ref().map_or(0, |a| a.ordinal.0) + 1);
        let open = known.as_ref().and_then(|a| a.pending.clone());
        let attempt = open.as_ref().map_or(AttemptId([9; 16]), |p| p.attempt);
        let key = PublicKey(unique("model/liar", number));
        let live = known.as_ref().map(Account::record_hash);
        let owner = |what: &Operation| {
            // Its own key, if that is live there.
            let own = self.liar.keys.iter().find(|k| live == Some(k.hash)).cloned();
            let key = own.unwrap_or_else(|| registration(number, who, generation, &self.policy).0);
            key.owner(what, number, self.now)
        };
        let begin = |cancel: Hash| Begin {
            account: id,
            generation,
            ordinal,
            attempt: attempt_id(number),
            blinded: element(number),
            cancel,
            seed: Secret32::new([9; 32]),
            may_be_last: true,
            permits: Vec::new(),
        };
        vec![match kind {
            Forged::Finish => {
                let (ke1, ke2) = (vec![1; 96], vec![2; 64]);
                let p = open.as_ref().map_or((ordinal, element(number)), |p| (p.ordinal, p.blinded));
                let context = statement::login_context(&LINEAGE, ERA, &id, generation, p.0, &attempt, &p.1);
                let ke3 = ke3(&key, &context, &ke1, &ke2);
                Command::Finish(Finish { account: id, attempt, ke1, ke2, ke3 })
            }
            Forged::OldProof => {
                let old = self.liar.commands.iter().rev().find_map(|c| match c {
                    Command::Finish(f) if f.account == id => Some(f.clone()),
                    _ => None,
                });
                let Some(old) = old else { return Vec::new() };
                Command::Finish(Finish { attempt, ..old })
            }
            Forged::Delete => Command::Delete(Delete { account: id, owner: owner(&Operation::Delete) }),
            Forged::Ledger => {
                let writer = WriterId([0; 16]);
                let named = known.as_ref().and_then(|a| a.writers.iter().find(|w| w.id == writer));
                let expected = named.map(|w| w.ledger.hash);
                let ledger = LedgerName { counter: u64::MAX, hash: Hash([9; 32]) };
                let v = Some(Secret32::new([9; 32]));
                let naming = Naming { writer, expected, ledger, v: v.as_ref().map(v_hash) };
                let owner = owner(&Operation::SetLedger(naming));
                Command::SetLedger(SetLedger { account: id, writer, expected, ledger, v, owner })
            }
            Forged::GiveUp => {
                let cancel = self.liar.cancels.get(&attempt).copied().unwrap_or([9; 32]);
                Command::GiveUp(GiveUp { account: id, attempt, cancel: Secret32::new(cancel) })
            }
            Forged::LastTry => {
                let cancel = unique("model/cancel", number);
                let mut begin = begin(statement::cancel_hash(&cancel));
                self.liar.cancels.insert(begin.attempt, cancel);
                let own = signed_by(Liar::SLOT, &begin.permit(&LINEAGE, ERA, 1));
                let mut others = own.clone();
                others.slot = Slot(1);
                begin.permits = vec![own.clone(), own, others];
                Command::Begin(begin)
            }
            Forged::OtherElement => Command::Begin(Begin { attempt, ..begin(Hash([9; 32])) }),
            Forged::Ahead => {
                let mut begin = begin(Hash([9; 32]));
                if number.is_multiple_of(2) {
                    begin.ordinal.0 += 1;
                } else {
                    begin.generation.0 += 1;
                }
                Command::Begin(begin)
            }
            Forged::Expire => Command::Expire(Expire { account: id }),
            Forged::Register => return self.liars_registration(number, who, to, shard, generation),
            Forged::OtherStore(harm) => {
                let Some(store) = self.stored(&id) else { return Vec::new() };
                Command::Store(Box::new(harmed(store, harm, &key)))
            }
            Forged::Confirm => {
                let confirm = self.liar.commands.iter().rev().find_map(|c| match c {
                    Command::Confirm(c) if c.account == id => Some(c.clone()),
                    _ => None,
                });
                let Some(mut confirm) = confirm else { return Vec::new() };
                if let Some(last) = confirm.acknowledgements.last_mut() {
                    last.slot = Slot(last.slot.0 % 3 + 1);
                }
                Command::Confirm(confirm)
            }
            Forged::OtherAccount(other) => {
                let Some(mut store) = self.stored(&id) else { return Vec::new() };
                store.account = account(other);
                if number.is_multiple_of(2) {
                    store.record.account = account(other);
                }
                Command::Store(Box::new(store))
            }
        }]
    }

    /// The newest Store of an account that the liar has seen.
    fn stored(&self, id: &bkv_core::id::AccountId) -> Option<Store> {
        self.liar.commands.iter().rev().find_map(|c| match c {
            Command::Store(s) if s.account == *id => Some(s.as_ref().clone()),
            _ => None,
        })
    }

    /// Store and Confirm of a key of the liar's own. Honest regions acknowledge it only for the person, whose token the liar may have.
    fn liars_registration(
        &mut self,
        number: u64,
        who: u8,
        to: usize,
        shard: u16,
        base: Generation,
    ) -> Vec<Command> {
        let (key, mut store) = registration(number, who, base, &self.policy);
        let live = self.honest.replica(to, shard).memory.0.get(&account(who)).map(Account::record_hash);
        let own = self.liar.keys.iter().find(|k| live == Some(k.hash)).unwrap_or(&key);
        store.owner = Some(own.owner(&Operation::Register(key.hash), number, self.now));
        self.liar.keys.push(key.clone());
        let nonce = [9; 32];
        let token = self.liar.token(who, self.now);
        let subject = token.map_or(Hash([9; 32]), |t| t.tag(&nonce));
        let draft = Draft { key, store: store.clone(), subject, acknowledgements: Vec::new() };
        let stores = Command::Store(Box::new(store));
        let _ = self.liar_appends(&[to], shard, None, self.now, std::slice::from_ref(&stores));
        let reg_id = draft.key.record.reg_id;
        let mut acknowledgements = vec![signed_by(Liar::SLOT, &draft.acknowledgement(Liar::SLOT))];
        if let Some(token) = token {
            let shown = Shown { token, nonce };
            acknowledgements.extend(self.honest.replica(to, shard).acknowledge(&shown, &reg_id, self.now));
        }
        let confirm = confirm(&draft, acknowledgements);
        vec![stores, Command::Confirm(confirm)]
    }
}

/// The Confirm of a draft, signed by its own owner key.
pub(super) fn confirm(draft: &Draft, acknowledgements: Vec<bkv_core::signature::RegionSignature>) -> Confirm {
    let r = &draft.key.record;
    let base = Generation(r.generation.0 - 1);
    let statement = statement::confirm(&LINEAGE, ERA, &r.account, base, &r.reg_id, &draft.key.hash);
    Confirm {
        account: r.account,
        reg_id: r.reg_id,
        record: draft.key.hash,
        acknowledgements,
        signature: sign(&r.owner, &statement),
        subject: draft.subject,
    }
}

fn harmed(mut store: Store, harm: u8, key: &PublicKey) -> Store {
    match harm {
        0 => {
            if let Some(SealedShare { ct, .. }) = store.shares.first_mut() {
                ct[0] ^= 1;
            }
        }
        1 => store.z = Secret32::new([9; 32]),
        2 => store.record.owner = *key,
        _ => {
            store.owner = Some(OwnerSignature {
                operation: OperationId([9; 16]),
                expires: Time(u64::MAX),
                signature: Signature([9; 64]),
            });
        }
    }
    store
}
