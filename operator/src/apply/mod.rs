//! Stage: apply. Carries out a plan: server-side apply of what differs, under one field manager, and deletion of what is no longer planned. The operator
//! neither adopts nor overwrites a foreign object.
//!
//! `applier` does I/O.

mod applier;

use std::collections::BTreeSet;

use crate::api_server::ObjectError;
use crate::conditions::Trouble;
use crate::context::Context;
use crate::decide::Decision;
use crate::kinds::Kind;
use crate::plan::{Object, Planned, template_hash};
use crate::validate::Fleet;
use applier::{Applier, Owner, Wanted};

/// What became of a plan. The status shows what a plan asks for beside what runs, so the planned objects stay in it, also those that were withheld or that
/// failed: a trouble reports each failed one.
#[derive(Default)]
pub(crate) struct ApplyReport {
    planned: Vec<Object>,
    /// The server has changed or deleted an object.
    pub changed: bool,
}

impl ApplyReport {
    pub(crate) fn template_hash(&self, fleet: &Fleet, region: &str) -> Option<String> {
        template_hash(self.planned.iter(), fleet, region)
    }

    /// The name of the fleet's `HTTPRoute`.
    pub(crate) fn route(&self) -> Option<&str> {
        self.planned.iter().find(|o| o.kind == Kind::HttpRoute).map(|o| o.name.as_str())
    }
}

/// Applies a plan. An object that fails becomes a trouble, and the other objects are still applied. `prune` is false after an earlier trouble.
///
/// The plan is withheld if the fleet is paused, is lost, or contradicts its journal. Without a journal there is no plan.
pub(crate) async fn apply(
    context: &Context,
    fleet: &Fleet,
    planned: Option<Planned>,
    decision: &Decision,
    prune: bool,
) -> Result<(ApplyReport, Vec<Trouble>), ObjectError> {
    let Some(planned) = planned else { return Ok((ApplyReport::default(), Vec::new())) };
    if fleet.paused || !decision.allows_changes() {
        return Ok((ApplyReport { planned: planned.objects, changed: false }, Vec::new()));
    }
    let owner =
        Owner { namespace: fleet.namespace.clone(), name: fleet.name.to_string(), uid: fleet.uid.clone() };
    let applier = Applier::new(context.client.clone(), context.seen.clone());
    let (mut changed, mut troubles) = (false, Vec::new());
    for object in &planned.objects {
        match apply_object(&applier, &owner, object).await {
            Ok(wrote) => changed |= wrote,
            Err(e) => troubles.push(e.trouble()?),
        }
    }
    // An incomplete pass must not prune: it would delete objects that it could not apply.
    if prune && troubles.is_empty() {
        let keep: BTreeSet<_> = planned.objects.iter().map(|o| (o.kind, o.name.clone())).collect();
        match applier.prune(&owner, &keep, &planned.kinds).await {
            Ok(gone) => changed |= !gone.is_empty(),
            Err(e) => troubles.push(e.trouble()?),
        }
    }
    Ok((ApplyReport { planned: planned.objects, changed }, troubles))
}

async fn apply_object(applier: &Applier, owner: &Owner, object: &Object) -> Result<bool, ObjectError> {
    let owned = object.body.pointer("/metadata/ownerReferences").is_some();
    let wanted = Wanted { kind: object.kind, name: object.name.clone(), body: object.body.clone(), owned };
    let wrote = applier.apply(owner, wanted).await?;
    if wrote {
        tracing::info!(
            namespace = owner.namespace,
            vault = owner.name,
            kind = object.kind.name(),
            object = object.name,
            "applied"
        );
    }
    Ok(wrote)
}
