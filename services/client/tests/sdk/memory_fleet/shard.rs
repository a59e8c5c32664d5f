//! One real [`bkv_core::shard::Shard`] with the real verifier, and the secrets that its effects ask every region to keep. This file contains no
//! account rules.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

use bkv_core::account::Account;
use bkv_core::command::{Command, Init, VERSION};
use bkv_core::document::NewDocuments;
use bkv_core::effect::Effect;
use bkv_core::id::{AccountId, Era, FleetId, RegId, Slot, Time};
use bkv_core::outcome::{Outcome, Refusal};
use bkv_core::record::SealedShare;
use bkv_core::secret::Secret32;
use bkv_core::shard::{Accounts, At, Fleet, Shard};
use bkv_core::statement;
use bkv_crypto::delivery::DeliveryKey;
use bkv_crypto::toprf::Commitments;
use bkv_wire::verifier::WireVerifier;

use super::keys::{self, Region, START};

struct Secrets {
    z: [u8; 32],
    sealed: Vec<SealedShare>,
}

#[derive(Default)]
struct Rows(BTreeMap<AccountId, Account>);

impl Accounts for Rows {
    type Error = Infallible;
    fn get(&mut self, id: &AccountId) -> Result<Option<Account>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
    fn put(&mut self, id: &AccountId, account: Account) -> Result<(), Infallible> {
        self.0.insert(*id, account);
        Ok(())
    }
    fn remove(&mut self, id: &AccountId) -> Result<(), Infallible> {
        self.0.remove(id);
        Ok(())
    }
}

/// What all regions have applied.
pub struct Applied {
    shard: Shard,
    rows: Rows,
    secrets: HashMap<RegId, Secrets>,
    delivery: Vec<DeliveryKey>,
    id: AccountId,
    pub index: u64,
}

impl Applied {
    pub fn new(id: AccountId, regions: &[Region], documents: NewDocuments) -> Self {
        let delivery =
            regions.iter().map(|r| DeliveryKey::from_secret(&r.delivery.secret().unwrap()).unwrap());
        let mut applied = Self {
            shard: Shard::default(),
            rows: Rows::default(),
            secrets: HashMap::new(),
            delivery: delivery.collect(),
            id,
            index: 0,
        };
        let init = Init {
            fleet: FleetId([7; 16]),
            lineage: keys::root(1).lineage(),
            era: Era(1),
            shard: 0,
            index: Secret32::new([8; 32]),
            documents,
            version: VERSION,
        };
        applied.apply(&Command::Init(init)).unwrap();
        applied
    }

    pub fn fleet(&self) -> &Fleet {
        self.shard.fleet.as_ref().unwrap()
    }

    pub fn account(&self) -> Option<&Account> {
        self.rows.0.get(&self.id)
    }

    pub fn account_mut(&mut self) -> &mut Account {
        self.rows.0.get_mut(&self.id).unwrap()
    }

    pub fn z(&self, reg_id: &RegId) -> &[u8; 32] {
        &self.secrets[reg_id].z
    }

    /// The share of the region at `slot`, opened with its delivery key and checked against the record.
    pub fn share(&self, reg_id: &RegId, slot: Slot) -> [u8; 32] {
        let live = self.account().unwrap().live.as_ref().unwrap();
        let at = usize::from(slot.0) - 1;
        let info = statement::share_info(&live.hash, slot);
        let share = self.delivery[at].open(&self.secrets[reg_id].sealed[at], &info, b"").unwrap();
        share.check(slot, &Commitments::parse(&live.record.commitments).unwrap()).unwrap();
        *share.to_bytes()
    }

    pub fn apply(&mut self, command: &Command) -> Result<Outcome, Refusal> {
        self.index += 1;
        let at = At { shard: 0, index: self.index, time: self.shard.advance(Time(START)) };
        let verifier = WireVerifier::new(keys::root(1));
        let Ok(applied) = self.shard.apply(at, command, &mut self.rows, &verifier);
        for effect in applied.effects {
            match effect {
                Effect::KeepSecrets { reg_id, z, shares, .. } => {
                    self.secrets.insert(reg_id, Secrets { z: *z.expose(), sealed: shares });
                }
                Effect::EraseSecrets { reg_id, .. } => {
                    self.secrets.remove(&reg_id);
                }
                Effect::Floor { .. } | Effect::Deadline { .. } | Effect::Event(_) => {}
            }
        }
        match applied.outcome {
            Outcome::Refused(why) => Err(why),
            outcome => Ok(outcome),
        }
    }
}
