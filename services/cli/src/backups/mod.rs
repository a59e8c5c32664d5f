//! What the commands on series and generations share: the place, this device's writers, what is backed up, and how a person names a generation.

mod choice;
mod dry;
mod entries;
mod failure;
mod forms;
mod pattern;
mod place;
mod reader;
mod remote;
mod selection;
mod shown;
mod single;
mod vault;
mod what;
mod writers;

pub(crate) use choice::{Number, Series, WhichGeneration, number, warn_of_standing};
pub(crate) use dry::{DryPlace, DryState, DryVault};
pub(crate) use entries::{entries, find, shown, source_names};
pub(crate) use forms::Forms;
pub(crate) use pattern::Patterns;
pub(crate) use place::Place;
pub(crate) use reader::{Reader, report_not_here};
pub(crate) use remote::Remote;
pub(crate) use selection::{Exclude, Excluded, host, own_places, sources};
pub(crate) use shown::{local, name, path_fact, table, writer};
pub(crate) use single::{PIPE, Single, shown as shown_place, single_file};
pub(crate) use vault::{AccountVault, expected};
pub(crate) use what::{Stdin, What};
pub(crate) use writers::Writers;

use bkv_backups::format::Tag;

use crate::device::Kept;
use crate::exit::Outcome;

/// The folder of the key's account at every destination.
pub(crate) fn tag(kept: &Kept) -> Outcome<Tag> {
    Ok(Tag::new(&kept.lineage()?, &kept.account()?))
}
