//! Operations that the owner of the backup key signs.

use bkv_core::account::Manifest;
use bkv_core::command::{Command, Delete, OwnerSignature, SetManifest};
use bkv_core::id::Hash;
use bkv_core::statement::ReceiptKind;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use tokio::time::Instant;

use super::Session;
use super::reply::no;
use crate::replica::ProposeError;

impl Session {
    pub(super) async fn set_manifest(
        &self,
        m: &p::SetManifest,
        deadline: Instant,
    ) -> Result<Answer, ProposeError> {
        let (id, ..) = self.known()?;
        let (Some(Ok(owner)), Ok(hash)) =
            (m.owner.as_ref().map(OwnerSignature::try_from), Hash::try_from(&m.hash[..]))
        else {
            return Ok(no(Code::Malformed, "manifest"));
        };
        let manifest = Manifest { sequence: m.sequence, hash };
        let committed = self
            .propose(Command::SetManifest(SetManifest { account: id, manifest, owner }), deadline)
            .await?;
        self.done(ReceiptKind::Manifest, &owner.operation.0, &committed)
    }

    pub(super) async fn delete(&self, d: &p::Delete, deadline: Instant) -> Result<Answer, ProposeError> {
        let (id, ..) = self.known()?;
        let Some(Ok(owner)) = d.owner.as_ref().map(OwnerSignature::try_from) else {
            return Ok(no(Code::Malformed, "delete"));
        };
        let committed = self.propose(Command::Delete(Delete { account: id, owner }), deadline).await?;
        self.done(ReceiptKind::Deleted, &owner.operation.0, &committed)
    }
}
