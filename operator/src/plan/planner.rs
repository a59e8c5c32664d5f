//! The plan of one pass, as the stages decide and apply take it.

use super::{Content, Embedded, Input, Object, Settings, objects};
use crate::journal::{Journal, JournalStage};
use crate::kinds::{Kind, Kinds};
use crate::observe::Observed;
use crate::validate::Fleet;

/// Objects that should exist. Nothing of them was applied yet.
#[derive(Default)]
pub(crate) struct Planned {
    pub objects: Vec<Object>,
    /// The kinds that the cluster knew when the plan was made.
    pub kinds: Kinds,
}

impl Planned {
    pub(crate) fn template_hash(&self, fleet: &Fleet, region: &str) -> Option<String> {
        template_hash(self.objects.iter(), fleet, region)
    }
}

/// Plans for any journal of a fleet. The stage decide also plans: it compares the running vaults with what the journal would plan.
pub(crate) struct Planner<'a> {
    pub fleet: &'a Fleet,
    pub settings: &'a Settings,
    embedded: &'a Embedded,
    content: Content,
    kinds: Kinds,
    /// ChatD exists. A journal that was set back must not remove what clients connect to.
    chatd_exists: bool,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        embedded: &'a Embedded,
        fleet: &'a Fleet,
        observed: &Observed,
        content: Content,
    ) -> Self {
        Self {
            fleet,
            settings,
            embedded,
            content,
            kinds: observed.kinds.clone(),
            chatd_exists: observed.chatd.is_some(),
        }
    }

    /// The objects that should exist.
    pub(crate) fn plan(&self, journal: &Journal) -> Planned {
        let objects = objects(&Input {
            fleet: self.fleet,
            settings: self.settings,
            journal,
            initialised: journal.stage == JournalStage::Initialised || self.chatd_exists,
            content: &self.content,
            embedded: self.embedded,
            kinds: &self.kinds,
        });
        Planned { objects, kinds: self.kinds.clone() }
    }
}

/// The hash of the pod template in a region's StatefulSet.
pub(crate) fn template_hash<'o>(
    mut objects: impl Iterator<Item = &'o Object>,
    fleet: &Fleet,
    region: &str,
) -> Option<String> {
    let name = format!("{}-{region}", fleet.name);
    let set = objects.find(|o| o.kind == Kind::StatefulSet && o.name == name)?;
    let note = set.body.pointer("/spec/template/metadata/annotations/bkv.dev~1template-hash")?;
    note.as_str().map(str::to_owned)
}
