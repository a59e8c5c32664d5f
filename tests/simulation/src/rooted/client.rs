//! A client with the real cryptography: its signatures are genuine.

use bkv_core::command::{Begin, Command, Confirm, Delete, Finish, ForgetWriter, SetLedger, Store};
use bkv_core::id::{
    AccountId, AttemptId, Element, Generation, Hash, OperationId, Ordinal, PublicKey, RegId, Route,
    Signature, Slot, Time, WriterId,
};
use bkv_core::record::{Record, SealedShare, shares_hash};
use bkv_core::secret::Secret32;
use bkv_core::signature::{OwnerSignature, RegionSignature};
use bkv_core::statement::{self, Operation, Owned};
use bkv_core::writers::{LedgerName, Naming, v_hash};
use bkv_crypto::delivery;
use bkv_crypto::opaque::{self, Registered, Server, Stretch, Stretched};
use bkv_crypto::toprf::{self, OprfKey};
use bkv_wire::boot::{Claims, MAX_VALIDITY_MS};
use ed25519_dalek::{Signer as _, SigningKey};
use rand::RngCore as _;
use rand::rngs::OsRng;

use super::fleet::{Fleet, now};

/// The writer of a client's device.
pub const WRITER: WriterId = WriterId([0x17; 16]);

const PASSWORD: &[u8] = b"quiet otter paints the north window";

/// The tag of the person in every acknowledgement.
const SUBJECT: Hash = Hash([0x5b; 32]);

/// One generation of one account's key.
pub struct Client {
    pub account: AccountId,
    pub record: Record,
    pub shares: Vec<SealedShare>,
    pub z: Secret32,
    pub owner: SigningKey,
    request: Vec<u8>,
    response: Vec<u8>,
    password: Stretched,
}

pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// The account of this name in a shard.
pub const fn account(name: u8, shard: u16) -> AccountId {
    let mut id = [name; 32];
    [id[0], id[1]] = shard.to_be_bytes();
    AccountId(id)
}

/// A route in the account's bucket.
fn route(account: &AccountId) -> Route {
    let bucket = u16::from_be_bytes([account.0[0], account.0[1]]) << 4;
    let mut route = [1; 32];
    route[..2].copy_from_slice(&bucket.to_be_bytes());
    Route(route)
}

/// A region's signature. The boot key is made here; the vault's own identity key certifies it.
fn signature_of(fleet: &Fleet, slot: Slot, statement: impl Fn(Slot) -> Vec<u8>) -> RegionSignature {
    let boot = SigningKey::generate(&mut OsRng);
    let from = now().0 - 60_000;
    let claims = Claims {
        lineage: fleet.list.lineage,
        era: fleet.list.era,
        node: fleet.list.member(slot).unwrap().node,
        slot,
        admission: fleet.list.number,
        key: PublicKey(boot.verifying_key().to_bytes()),
        not_before: Time(from),
        not_after: Time(from + MAX_VALIDITY_MS),
    };
    let identity = &fleet.keys[usize::from(slot.0) - 1].identity;
    RegionSignature {
        slot,
        certificate: claims.encode(&identity.sign(&claims.statement())),
        signature: Signature(boot.sign(&statement(slot)).to_bytes()),
    }
}

/// A blinded password: B.
pub fn blinded() -> Element {
    *toprf::blind(PASSWORD, &mut OsRng).unwrap().element()
}

impl Client {
    /// Makes a new key and everything that its registration needs.
    pub fn new(fleet: &Fleet, account: AccountId, generation: u64) -> Self {
        let (list, policy) = (&fleet.list, &fleet.policy);
        let key = OprfKey::random(&mut OsRng);
        let t = usize::from(list.threshold);
        let (shares, commitments) = key.split(t, list.members.len(), &mut OsRng).unwrap();
        let hardened = key.evaluate_whole(PASSWORD).unwrap();
        let stretch = Stretch::within(policy.ksf_floor, &policy.ksf_floor, &policy.ksf_ceiling).unwrap();
        let password = stretch.apply(&hardened).unwrap();
        let (state, request) = opaque::register_start(&password, &mut OsRng).unwrap();
        let z = Secret32::new(random());
        let response = opaque::server::registration_response(z.expose(), &request).unwrap();
        let Registered { upload, .. } = state.finish(&password, &response, &mut OsRng).unwrap();
        let owner = SigningKey::generate(&mut OsRng);
        let record = Record {
            lineage: list.lineage,
            era: list.era,
            account,
            generation: Generation(generation),
            reg_id: RegId(random()),
            threshold: list.threshold,
            slots: 3,
            admission: list.number,
            policy: policy.number,
            attempts: policy.attempts.clone(),
            upload,
            commitments: commitments.encoded().to_vec(),
            ciphertext: random::<48>().to_vec(),
            owner: PublicKey(owner.verifying_key().to_bytes()),
            ksf: policy.ksf_floor,
            server: Record::server_key(&response).unwrap(),
            right: password.right(&account, Generation(generation)),
        };
        let hash = record.hash();
        let shares = shares.iter().zip(&list.members).map(|(share, m)| {
            let public: &[u8; 32] = m.delivery.as_slice().try_into().unwrap();
            delivery::seal(m.slot, public, &statement::share_info(&hash, m.slot), b"", share).unwrap()
        });
        let shares = shares.collect();
        Self { account, record, shares, z, owner, request, response, password }
    }

    pub fn store(&self, owner: Option<OwnerSignature>) -> Command {
        Command::Store(Box::new(Store {
            account: self.account,
            route: route(&self.account),
            request: self.request.clone(),
            response: self.response.clone(),
            record: self.record.clone(),
            shares: self.shares.clone(),
            z: self.z.clone(),
            owner,
        }))
    }

    /// Confirms with acknowledgements of these slots. The boot keys are made here; the vaults' own identity keys certify them.
    pub fn confirm(&self, fleet: &Fleet, slots: &[u8], by: &SigningKey) -> Command {
        let r = &self.record;
        let (hash, base) = (r.hash(), Generation(r.generation.0 - 1));
        let word = statement::confirm(&r.lineage, r.era, &r.account, base, &r.reg_id, &hash);
        Command::Confirm(Confirm {
            account: self.account,
            reg_id: r.reg_id,
            record: hash,
            acknowledgements: slots.iter().map(|s| self.acknowledgement(fleet, Slot(*s))).collect(),
            signature: Signature(by.sign(&word).to_bytes()),
            subject: SUBJECT,
        })
    }

    fn acknowledgement(&self, fleet: &Fleet, slot: Slot) -> RegionSignature {
        let (r, shares) = (&self.record, shares_hash(&self.shares));
        let (reg_id, hash) = (&r.reg_id, r.hash());
        signature_of(fleet, slot, |slot| {
            statement::acknowledgement(&r.lineage, r.era, reg_id, slot, &hash, &shares, &SUBJECT)
        })
    }

    /// The owner's signature over an operation in this generation. `by` may be another key than the owner's.
    pub fn owned(&self, what: &Operation, expires: Time, by: &SigningKey) -> OwnerSignature {
        let operation = OperationId(random());
        let r = &self.record;
        let owned = Owned {
            lineage: &r.lineage,
            era: r.era,
            account: &r.account,
            generation: r.generation,
            operation: &operation,
            expires,
        };
        let signature = Signature(by.sign(&statement::owner(&owned, what)).to_bytes());
        OwnerSignature { operation, expires, signature }
    }

    pub fn delete(&self, owner: OwnerSignature) -> Command {
        Command::Delete(Delete { account: self.account, owner })
    }

    /// Names a ledger of [`WRITER`].
    pub fn set_ledger(
        &self,
        expected: Option<Hash>,
        ledger: LedgerName,
        v: Option<Secret32>,
        by: &SigningKey,
    ) -> Command {
        let (account, writer) = (self.account, WRITER);
        let naming = Naming { writer, expected, ledger, v: v.as_ref().map(v_hash) };
        let owner = self.owned(&Operation::SetLedger(naming), now().plus(60_000), by);
        Command::SetLedger(SetLedger { account, writer, expected, ledger, v, owner })
    }

    pub fn forget_writer(&self, expected: Hash, by: &SigningKey) -> Command {
        let what = Operation::ForgetWriter(WRITER, expected);
        let owner = self.owned(&what, now().plus(60_000), by);
        Command::ForgetWriter(ForgetWriter { account: self.account, writer: WRITER, expected, owner })
    }

    pub fn begin(&self, ordinal: u64) -> Begin {
        Begin {
            account: self.account,
            generation: self.record.generation,
            ordinal: Ordinal(ordinal),
            attempt: AttemptId(random()),
            blinded: blinded(),
            cancel: statement::cancel_hash(&random()),
            seed: Secret32::new(random()),
            may_be_last: true,
            permits: Vec::new(),
        }
    }

    /// The same attempt with permits of these slots, as their vaults give them for a valid token.
    pub fn permitted(&self, fleet: &Fleet, begin: &Begin, slots: &[u8]) -> Begin {
        let statement = begin.permit(&self.record.lineage, self.record.era, fleet.list.number);
        let permits = slots.iter().map(|s| signature_of(fleet, Slot(*s), |_| statement.clone())).collect();
        Begin { permits, ..begin.clone() }
    }

    /// The client's honest Finish of an attempt, bound to the attempt's own context.
    pub fn finish(&self, begin: &Begin) -> Finish {
        let r = &self.record;
        let context = statement::login_context(
            &r.lineage,
            r.era,
            &begin.account,
            begin.generation,
            begin.ordinal,
            &begin.attempt,
            &begin.blinded,
        );
        let (login, ke1) = opaque::login_start(&self.password, &mut OsRng).unwrap();
        let server = Server::new(self.z.expose()).unwrap();
        let (_, ke2) = server.answer(begin.seed.expose(), &r.upload, &context.0, &ke1).unwrap();
        let done = login.finish(&self.password, &ke2, &context.0, &mut OsRng).unwrap();
        Finish { account: begin.account, attempt: begin.attempt, ke1, ke2, ke3: done.ke3 }
    }
}
