//! What one region signs about an account: its attestation, on request, and its receipt for a change.

use bkv_core::account::Account;
use bkv_core::id::{AccountId, Era, Lineage, Time};
use bkv_core::shard::Fleet;
use bkv_core::statement::{self, ReceiptKind};
use bkv_core::view;
use bkv_wire::proto::inner as p;

use super::error::RegionError;
use super::person::Person;
use super::{Vault, state_of};
use crate::replica::Replica;

impl Vault {
    /// This region's attestation of a person's account, over a nonce.
    pub(crate) fn attest(
        &self,
        replica: &Replica,
        person: &Person,
        nonce: [u8; 32],
    ) -> Result<p::Attestation, RegionError> {
        let fleet = state_of(replica)?;
        let id = person.account(&fleet);
        // Another shard has no row of this account, and would sign that there is no key.
        if !fleet.holds(&id) {
            return Err(RegionError::OtherShard);
        }
        let slot = self.slot().ok_or(RegionError::NotAdmitted)?;
        let index = replica.applied();
        let account = replica.account(&id)?;
        let (tag, now) = (person.tag(&nonce), Time(self.now_ms()));
        let a = view::attested(&fleet, &id, account.as_deref(), nonce, tag, slot, index, now);
        let (certificate, signature) =
            self.sign(&statement::attestation(&a)).ok_or(RegionError::NoBootKey)?;
        Ok(p::Attestation::new(&a, certificate, signature))
    }

    /// A receipt for a change that was applied at `index`.
    #[allow(clippy::too_many_arguments)] // the receipt's fields, each once
    pub(crate) fn receipt(
        &self,
        fleet: &Fleet,
        id: &AccountId,
        account: &Account,
        kind: ReceiptKind,
        reference: &[u8],
        index: u64,
        at: Time,
    ) -> Option<p::Receipt> {
        let slot = self.slot()?;
        let (lineage, era): (&Lineage, Era) = (&fleet.lineage, fleet.era);
        let statement = statement::receipt(
            lineage,
            era,
            slot,
            id,
            account.generation,
            account.ordinal,
            kind,
            reference,
            index,
            at,
        );
        let (certificate, signature) = self.sign(&statement)?;
        Some(p::Receipt {
            slot: u32::from(slot.0),
            generation: account.generation.0,
            ordinal: account.ordinal.0,
            what: kind.name().into(),
            reference: reference.to_vec().into(),
            index,
            at_ms: at.0,
            certificate,
            signature,
        })
    }
}
