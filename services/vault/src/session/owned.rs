//! Operations that the owner of the backup key signs.

use bkv_core::command::Command;
use bkv_core::id::AccountId;
use bkv_core::signature::OwnerSignature;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use tokio::time::Instant;

use super::Session;
use super::reply::no;
use crate::replica::ProposeError;

impl Session {
    /// Proposes the command that `parse` makes of the message, and returns the receipt. `parse` returns None for a malformed field.
    pub(super) async fn owned(
        &self,
        name: &str,
        signature: Option<&p::OwnerSignature>,
        deadline: Instant,
        parse: impl FnOnce(AccountId, OwnerSignature) -> Option<Command>,
    ) -> Result<Answer, ProposeError> {
        let (account, ..) = self.known()?;
        let parsed = signature.and_then(|s| OwnerSignature::try_from(s).ok()).and_then(|owner| {
            let command = parse(account, owner)?;
            let (_, operation) = command.owner()?;
            Some((operation.receipt(), owner.operation, command))
        });
        let Some((kind, id, command)) = parsed else { return Ok(no(Code::Malformed, name)) };
        let committed = self.propose(command, deadline).await?;
        self.done(kind, &id.0, &committed)
    }
}
