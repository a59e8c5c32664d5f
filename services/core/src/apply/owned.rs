//! Operations that need a signature by the owner key.

use crate::account::{Account, Cause};
use crate::apply::register::check_owner;
use crate::apply::{Change, Changed, Step, missing};
use crate::command::{Delete, SetManifest};
use crate::effect::{Effect, EventKind, Outcome, Refusal};
use crate::statement::Operation;

pub(crate) fn set_manifest(step: &Step<'_>, before: Option<Account>, c: &SetManifest) -> Changed {
    let Some(mut account) = before else { return Err(Refusal::NoKey) };
    let Some(live) = &account.live else { return Err(missing(Some(&account))) };
    if account.last_operation == Some(c.owner.operation) && account.manifest == Some(c.manifest) {
        return Change::again(Outcome::Done);
    }
    check_owner(step, live, &c.owner, &Operation::SetManifest(&c.manifest))?;
    // The sequence must grow: an attacker who replays an old signed statement must not make an old backup look like the newest.
    if account.manifest.is_some_and(|m| c.manifest.sequence <= m.sequence) {
        return Err(Refusal::OldManifest);
    }
    account.manifest = Some(c.manifest);
    account.last_operation = Some(c.owner.operation);
    let effects = vec![step.event(&account, EventKind::Manifest)];
    step.keep(account, Outcome::Done, effects)
}

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
