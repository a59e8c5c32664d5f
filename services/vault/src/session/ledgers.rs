//! V, for the owner of the backup key only. A token alone does not get it: with V and old ledgers from the person's drive, an attacker who gets the backup
//! key later would open backups that were let go in the meantime.

use bkv_core::id::Signature;
use bkv_core::statement;
use bkv_core::writers::{AttestedWriter, Writer};
use bkv_crypto::ed25519;
use bkv_wire::ledgers::EXPORTER;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use tokio::time::Instant;

use super::Session;
use super::reply::no;
use crate::replica::ProposeError;

impl Session {
    /// V of the account's writers, if the owner key has signed over this channel. The client compares it with H(V), which t regions attest.
    pub(super) async fn read_ledgers(
        &self,
        r: &p::ReadLedgers,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let Ok(signature) = Signature::try_from(&r.signature[..]) else {
            return Ok(no(Code::Malformed, "signature"));
        };
        let (id, replica, fleet) = self.known()?;
        replica.confirm_leadership(deadline).await?;
        let Some(account) = self.account()? else { return Ok(no(Code::NoKey, "")) };
        let channel =
            self.channel.exporter(EXPORTER, b"").map_err(|e| ProposeError::Unavailable(e.to_string()))?;
        let statement = statement::read_ledgers(&fleet.lineage, fleet.era, &id, &channel);
        let signed = |owner: &bkv_core::id::PublicKey| ed25519::verify(&owner.0, &statement, &signature.0);
        let vs = |writers: &[Writer]| writers.iter().map(p::WriterV::from).collect();
        if account.live.as_ref().is_some_and(|l| signed(&l.record.owner)) {
            let vs = vs(&account.writers);
            return Ok(Answer::Ledgers(p::Ledgers { vs, retired: Vec::new() }));
        }
        let Some(retired) = account.retired.iter().find(|r| signed(&r.owner)) else {
            return Ok(no(Code::Owner, "no key that is or was registered here has signed this"));
        };
        let of = |w: &Writer| p::Writer::from(&AttestedWriter::from(w));
        Ok(Answer::Ledgers(p::Ledgers {
            vs: vs(&retired.writers),
            retired: retired.writers.iter().map(of).collect(),
        }))
    }
}
