//! Stage: plan. From the journal and what was observed to the objects that should exist.

use crate::context::Context;
use crate::journal::{Journal, Stage};
use crate::kinds::{Kind, Kinds};
use crate::observe::Observed;
use crate::plan::{self, Content, Input, Object};
use crate::validate::Fleet;

/// Objects that should exist. Nothing of them was applied yet.
#[derive(Default)]
pub(super) struct Planned {
    pub objects: Vec<Object>,
    /// The kinds that the cluster knew when the plan was made.
    pub kinds: Kinds,
}

impl Planned {
    pub(super) fn template_hash(&self, fleet: &Fleet, region: &str) -> Option<String> {
        template_hash(self.objects.iter(), fleet, region)
    }
}

pub(super) fn plan(
    context: &Context,
    fleet: &Fleet,
    journal: &Journal,
    observed: &Observed,
    (content, kinds): (&Content, &Kinds),
) -> Planned {
    let objects = plan::objects(&Input {
        fleet,
        settings: &context.settings,
        journal,
        // True also when ChatD exists: a journal that was set back must not remove what clients connect to.
        initialised: journal.stage == Stage::Initialised || observed.chatd.is_some(),
        content,
        embedded: &context.embedded,
        kinds,
    });
    Planned { objects, kinds: kinds.clone() }
}

/// The hash of the pod template in a region's StatefulSet.
pub(super) fn template_hash<'o>(
    mut objects: impl Iterator<Item = &'o Object>,
    fleet: &Fleet,
    region: &str,
) -> Option<String> {
    let name = format!("{}-{region}", fleet.name);
    let set = objects.find(|o| o.kind == Kind::StatefulSet && o.name == name)?;
    let note = set.body.pointer("/spec/template/metadata/annotations/bkv.dev~1template-hash")?;
    note.as_str().map(str::to_owned)
}
