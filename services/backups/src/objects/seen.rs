//! Which objects a destination shows. A listing may lag, so what it lacks is asked for by name before it counts as missing.

use std::ops::ControlFlow;

use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::format::Folder;

/// The objects of a writer's folder, sorted by name. 24 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<(u128, u64)>);

impl Seen {
    pub(crate) fn list(destination: &dyn Destination, folder: &Folder) -> Result<Self> {
        let mut seen = Vec::new();
        let mut each = |listed: crate::destination::Listed| {
            seen.extend(folder.parse(&listed.name).map(|name| (name, listed.meta.length)));
            ControlFlow::Continue(())
        };
        destination
            .list(folder.path(), &mut each)
            .map_err(|fault| Error::at("list", folder.path(), fault))?;
        seen.sort_unstable();
        Ok(Self(seen))
    }

    /// True if the listing shows an object of this name and length.
    pub(crate) fn lists(&self, name: u128, length: u64) -> bool {
        self.0.binary_search(&(name, length)).is_ok()
    }

    /// True if an object of this name and length is there.
    pub(crate) fn has(
        &self,
        destination: &dyn Destination,
        folder: &Folder,
        name: u128,
        length: u64,
    ) -> Result<bool> {
        if self.lists(name, length) {
            return Ok(true);
        }
        let path = folder.path_of(name);
        let copies = destination.stat(&path).map_err(|fault| Error::at("look at", &path, fault))?;
        Ok(copies.iter().any(|meta| meta.length == length))
    }
}
