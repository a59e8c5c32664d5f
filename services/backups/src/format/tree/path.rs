//! A place in a tree: number of the source, then names.

/// Names below a source, outermost first.
pub type Steps = Vec<Vec<u8>>;

/// The place of an entry. The order of places is the order of a tree: a folder before its entries, names by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath {
    /// Number of the source, from 0.
    pub root: u32,
    /// Names below it. Empty for the source itself.
    pub steps: Steps,
}

impl TreePath {
    /// The names joined by slashes.
    pub fn joined(&self) -> Vec<u8> {
        self.steps.join(&b'/')
    }

    /// True if this is `other` or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.root == other.root && self.steps.starts_with(&other.steps)
    }
}
