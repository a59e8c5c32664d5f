//! One region's acknowledgement of a registration: clients confirm a registration only with acknowledgements of t regions.

use bkv_core::id::{AccountId, RegId};
use bkv_core::possession::Use;
use bkv_core::record::Record;
use bkv_core::statement;
use bkv_wire::proto::inner as p;
use tokio::time::Instant;

use super::error::RegionError;
use super::person::Asker;
use super::{Vault, state_of};
use crate::keeper::Unmasked;
use crate::replica::Replica;
use crate::server_keys::server_keys;

impl Vault {
    /// This region's acknowledgement that a registration is stored under a person's account and its share fits. Given only once the registration is on
    /// disk.
    pub(crate) async fn acknowledge(
        &self,
        replica: &Replica,
        asker: Asker<'_>,
        reg_id: &RegId,
        index: u64,
        deadline: Instant,
    ) -> Result<p::Acknowledgement, RegionError> {
        replica.wait_durable(index, deadline).await?;
        let fleet = state_of(replica)?;
        let id = &asker.person.account(&fleet);
        let account = replica.account(id)?.ok_or(RegionError::NoAccount)?;
        // The caller's index may be too low. Wait until the acknowledged registration is on this disk.
        replica.wait_durable(account.changed, deadline).await?;
        let stored = account.stored.as_ref().map(|s| (&s.record, s.hash, s.shares));
        let live = account.live.as_ref().map(|l| (&l.record, l.hash, l.shares));
        let (record, hash, shares) = stored
            .into_iter()
            .chain(live)
            .find(|(r, ..)| r.reg_id == *reg_id)
            .ok_or(RegionError::NoRegistration)?;
        asker.proves(&fleet, &Use::Registration { reg_id, record: &hash })?;
        let unmasked = self.unmask(replica, id, record).await?;
        server_keys(&record.server, &unmasked.z)?;
        if unmasked.share.is_none() {
            return Err(RegionError::NoShare);
        }
        let slot = self.slot().ok_or(RegionError::NotAdmitted)?;
        let (lineage, era, tag) = (&record.lineage, record.era, asker.tag());
        let statement = statement::acknowledgement(lineage, era, reg_id, slot, &hash, &shares, &tag);
        let (certificate, signature) = self.sign(&statement).ok_or(RegionError::NoBootKey)?;
        Ok(p::Acknowledgement { slot: u32::from(slot.0), certificate, signature })
    }

    /// Unmasks the secrets of a registration. Stores a better masked form if the token allows it now. Asks the other regions for a share that is missing here.
    pub(super) async fn unmask(
        &self,
        replica: &Replica,
        id: &AccountId,
        record: &Record,
    ) -> Result<Unmasked, RegionError> {
        let kept = replica.secrets(id, &record.reg_id)?.ok_or(RegionError::NoShare)?;
        let (unmasked, better) = self.keeper.unmask(id, &record.reg_id, record, &kept).await?;
        if let Some(better) = better {
            replica.keep_secrets(id, &record.reg_id, better);
        }
        if unmasked.share.is_none()
            && let Some(whole) = self.fetch_share(replica, id, record, &kept).await?
        {
            return Ok(self.keeper.unmask(id, &record.reg_id, record, &whole).await?.0);
        }
        Ok(unmasked)
    }
}
