//! The planned objects of one resource: planned, applied one by one, and what is no longer planned taken away.

use std::collections::BTreeSet;

use super::trouble::trouble;
use super::world::World;
use crate::apply::{ApplyError, Owner, Wanted};
use crate::conditions::Trouble;
use crate::journal::{Journal, Stage};
use crate::kinds::{Kind, Kinds};
use crate::observe::Observed;
use crate::plan::{self, Content, Input, Object};
use crate::validate::Fleet;

/// The plan.
pub(super) fn objects(
    world: &World,
    fleet: &Fleet,
    journal: &Journal,
    o: &Observed,
    (content, kinds): (&Content, &Kinds),
) -> Vec<Object> {
    let facts = plan::Facts {
        fleet_id: journal.fleet.clone(),
        seed: journal.seed.clone(),
        vault_image: journal.pinned.vault_image.clone(),
        copier_image: journal.pinned.copier_image.clone(),
        pull_policy: journal.pinned.pull_policy,
        // Also where it is there already: a journal that was set back must not take away what people connect to.
        initialised: journal.stage == Stage::Initialised || o.chatd.is_some(),
    };
    plan::objects(&Input {
        fleet,
        settings: &world.settings,
        journal: &facts,
        content,
        embedded: &world.embedded,
        kinds,
    })
}

/// The hash of the pod template that a region's StatefulSet is planned with.
pub(super) fn template_hash(planned: &[Object], fleet: &Fleet, region: &str) -> Option<String> {
    let name = format!("{}-{region}", fleet.name);
    let set = planned.iter().find(|o| o.kind == Kind::StatefulSet && o.name == name)?;
    let note = set.body.pointer("/spec/template/metadata/annotations/bkv.dev~1template-hash")?;
    note.as_str().map(str::to_owned)
}

/// Applies what differs; true if something was written. A fault of one object is a trouble, and the others go on. `kinds`: those of the plan.
pub(super) async fn carry_out(
    world: &World,
    fleet: &Fleet,
    planned: &[Object],
    kinds: &Kinds,
    troubles: &mut Vec<Trouble>,
) -> Result<bool, ApplyError> {
    let owner =
        Owner { namespace: fleet.namespace.clone(), name: fleet.name.to_string(), uid: fleet.uid.clone() };
    let mut changed = false;
    for object in planned {
        match apply(world, &owner, object).await {
            Ok(wrote) => changed |= wrote,
            Err(e) => troubles.push(trouble(e)?),
        }
    }
    // Only after a whole plan: a half one would take away what it did not come to.
    if troubles.is_empty() {
        let keep: BTreeSet<_> = planned.iter().map(|o| (o.kind, o.name.clone())).collect();
        match world.applier.prune(&owner, &keep, kinds).await {
            Ok(gone) => changed |= !gone.is_empty(),
            Err(e) => troubles.push(trouble(e)?),
        }
    }
    Ok(changed)
}

async fn apply(world: &World, owner: &Owner, object: &Object) -> Result<bool, ApplyError> {
    let owned = object.body.pointer("/metadata/ownerReferences").is_some();
    let wanted = Wanted { kind: object.kind, name: object.name.clone(), body: object.body.clone(), owned };
    let wrote = world.applier.apply(owner, wanted).await?;
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
