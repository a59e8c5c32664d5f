//! A vault's view of its token, the same for every kind of token.

use std::collections::BTreeMap;

use crate::validate::{KeyOf, LibraryDelivery, ModuleFile, Quantity};

/// What a vault needs to know of its token.
pub(super) struct Token<'a> {
    /// The module's path in the vault's container.
    pub(super) path: String,
    /// The token's label.
    pub(super) label: String,
    /// Configuration files of the module that the operator writes beside vault.toml.
    pub(super) config: BTreeMap<String, String>,
    /// Environment of the vault.
    pub(super) env: BTreeMap<String, String>,
    /// A volume for a software token.
    pub(super) storage: Option<&'a Quantity>,
    /// The image that the module comes in, if it is not the vault's own.
    pub(super) library: Option<Library<'a>>,
    /// Files of Secrets and ConfigMaps that people make: folder → what appears in it.
    pub(super) folders: BTreeMap<&'a str, Vec<Source>>,
}

/// A module that comes in an image of its own.
pub(super) struct Library<'a> {
    /// The image.
    pub(super) image: &'a str,
    /// How it gets to the vault.
    pub(super) delivery: LibraryDelivery,
    /// What is copied.
    pub(super) copied: Vec<String>,
}

/// A file out of a Secret or ConfigMap.
pub(super) struct Source {
    /// Out of a Secret.
    pub(super) secret: bool,
    /// Which key.
    pub(super) from: KeyOf,
    /// The file's name.
    pub(super) file: String,
}

impl From<&ModuleFile> for Source {
    fn from(file: &ModuleFile) -> Self {
        Self { secret: file.secret, from: file.from.clone(), file: file.from.key.clone() }
    }
}
