//! A person, and what its device has: the keys that it registered, a registration under way, an attempt under way.

use bkv_core::account::Account;
use bkv_core::command::Store;
use bkv_core::hash::tagged;
use bkv_core::id::{
    AccountId, AttemptId, Element, Generation, Hash, OperationId, PublicKey, RegId, Right, Time,
};
use bkv_core::record::{AttemptPolicy, KsfParams, Record, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::statement::{self, Attempt, Operation, Owned};

use super::super::fake::{ERA, LINEAGE, REGIONS, response, server_key, sign};
use super::super::machine::{account, route};
use super::secrets::all_sealed;

/// 32 bytes that occur once in a history.
pub(super) fn unique(what: &str, number: u64) -> [u8; 32] {
    let mut bytes = tagged(what, &[&number.to_be_bytes()]).0;
    bytes[0] = 1; // an element must not begin with 0, an upload not with 0xff
    bytes
}

fn half(bytes: [u8; 32]) -> [u8; 16] {
    *bytes.first_chunk().unwrap()
}

pub(super) fn attempt_id(number: u64) -> AttemptId {
    let [_, rest @ ..] = unique("model/attempt", number);
    AttemptId(*rest.first_chunk().unwrap())
}

pub(super) fn element(number: u64) -> Element {
    Element(unique("model/element", number))
}

/// A registration and its keys. Both halves of a key pair are the same bytes.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) record: Record,
    pub(super) hash: Hash,
    pub(super) server: PublicKey,
}

impl Key {
    pub(super) fn client(&self) -> PublicKey {
        self.record.client_public_key().unwrap()
    }

    /// A signature by its owner key.
    pub(super) fn owner(&self, what: &Operation, number: u64, now: Time) -> OwnerSignature {
        let operation = OperationId(half(unique("model/operation", number)));
        let expires = now.plus(600_000);
        let owned = Owned {
            lineage: &LINEAGE,
            era: ERA,
            account: &self.record.account,
            generation: self.record.generation,
            operation: &operation,
            expires,
        };
        let signature = sign(&self.record.owner, &statement::owner(&owned, what));
        OwnerSignature { operation, expires, signature }
    }
}

/// A registration that is not confirmed yet.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) key: Key,
    pub(super) store: Store,
    pub(super) subject: Hash,
    pub(super) acknowledgements: Vec<RegionSignature>,
}

/// How far an attempt is.
#[derive(Clone)]
pub(super) enum Stage {
    Blind,
    /// The password is right, as t regions sign.
    Exchange(Box<Attempt>),
    /// The password is wrong, as t regions sign.
    Wrong,
}

#[derive(Clone)]
pub(super) struct Try {
    pub(super) id: AttemptId,
    pub(super) blinded: Element,
    pub(super) cancel: [u8; 32],
    /// The password is the right one.
    pub(super) right: bool,
    pub(super) agreed: bool,
    pub(super) stage: Stage,
}

impl Try {
    pub(super) fn new(number: u64, right: bool, agreed: bool) -> Self {
        let (id, blinded) = (attempt_id(number), element(number));
        Self { id, blinded, cancel: unique("model/cancel", number), right, agreed, stage: Stage::Blind }
    }
}

#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) number: u8,
    pub(super) keys: Vec<Key>,
    pub(super) draft: Option<Draft>,
    pub(super) attempt: Option<Try>,
}

impl Person {
    pub(super) fn account(&self) -> AccountId {
        account(self.number)
    }

    pub(super) fn key(&self, hash: &Hash) -> Option<&Key> {
        self.keys.iter().find(|k| k.hash == *hash)
    }

    /// The person's own key that is live in this account.
    pub(super) fn live(&self, account: &Account) -> Option<&Key> {
        self.key(&account.live.as_ref()?.hash)
    }
}

/// A registration of this account on a base generation.
pub(super) fn registration(number: u64, who: u8, base: Generation, attempts: &AttemptPolicy) -> (Key, Store) {
    let z = unique("model/z", number);
    let mut upload = unique("model/client", number).to_vec();
    upload.resize(Record::UPLOAD_LEN, 0xab);
    let record = Record {
        lineage: LINEAGE,
        era: ERA,
        account: account(who),
        generation: Generation(base.0 + 1),
        reg_id: RegId(half(unique("model/registration", number))),
        threshold: REGIONS / 2 + 1,
        slots: REGIONS,
        admission: 1,
        policy: 1,
        attempts: attempts.clone(),
        upload,
        commitments: vec![element(number), Element([7; 32])],
        ciphertext: vec![0xcd; 60],
        owner: PublicKey(unique("model/owner", number)),
        ksf: KsfParams { memory_kib: 64, passes: 3, lanes: 1 },
        server: server_key(&z),
        right: Right(unique("model/right", number)),
    };
    let hash = record.hash();
    let request = unique("model/request", number).to_vec();
    let store = Store {
        account: record.account,
        route: route(who),
        response: response(&z, &request),
        request,
        record: record.clone(),
        shares: all_sealed(&hash),
        z: Secret32::new(z),
        owner: None,
    };
    (Key { server: server_key(&z), record, hash }, store)
}

impl Draft {
    /// What regions sign for this draft.
    pub(super) fn acknowledgement(&self, slot: bkv_core::id::Slot) -> Vec<u8> {
        let shares = shares_hash(&self.store.shares);
        let r = &self.key.record;
        statement::acknowledgement(&LINEAGE, ERA, &r.reg_id, slot, &self.key.hash, &shares, &self.subject)
    }
}
