//! Operations that need a signature by the owner key.

use crate::account::{Account, Cause, Live};
use crate::apply::{Change, Changed, Step, missing};
use crate::command::{Command, Delete};
use crate::effect::Effect;
use crate::fleet::{At, Fleet};
use crate::outcome::{Outcome, Refusal};
use crate::signature::OwnerSignature;
use crate::statement::{self, Operation, Owned};
use crate::verify::Verifier;

pub(crate) fn delete(step: &Step<'_>, before: Option<Account>, c: &Delete) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    let Some(live) = account.live.clone() else {
        // A repetition of the deletion succeeds. Any other deletion finds nothing to delete.
        let deleted = account.ended.as_ref().is_some_and(|e| e.cause == Cause::Deleted);
        let again = deleted && account.last_operation == Some(c.owner.operation);
        return if again { Change::again(Outcome::Done) } else { Err(missing(Some(&account))) };
    };
    check_owner(step, &live, &c.owner, &Operation::Delete)?;
    let mut effects = Vec::new();
    if let Some(stored) = account.stored.take() {
        effects.push(Effect::EraseSecrets { account: step.id, reg_id: stored.record.reg_id });
    }
    account.last_operation = Some(c.owner.operation);
    effects.extend(step.end(&mut account, &live, Cause::Deleted));
    step.keep(account, Outcome::Done, effects)
}

/// Checks the owner key's signature over an operation. Only a client that has the backup key can make it.
pub(crate) fn check_owner(
    step: &Step<'_>,
    live: &Live,
    signature: &OwnerSignature,
    what: &Operation,
) -> Result<(), Refusal> {
    if step.is_past(signature.expires) {
        return Err(Refusal::Expired);
    }
    let statement = statement::owner(
        &Owned {
            lineage: &step.fleet.lineage,
            era: step.fleet.era,
            account: &step.id,
            generation: live.record.generation,
            operation: &signature.operation,
            expires: signature.expires,
        },
        what,
    );
    if step.verifier.signature(&live.record.owner, &statement, &signature.signature) {
        Ok(())
    } else {
        Err(Refusal::Owner)
    }
}

/// True if the live owner key signed this command of the account.
pub fn owner_signed(
    fleet: &Fleet,
    at: At,
    account: &Account,
    command: &Command,
    verifier: &dyn Verifier,
) -> bool {
    let (Some(id), Some(live)) = (command.account(), account.live.as_ref()) else { return false };
    let Some((signature, what)) = command.owner() else { return false };
    let step = Step { fleet, at, id, verifier, unconfirmed: 0 };
    check_owner(&step, live, signature, &what).is_ok()
}
