//! Decides what the key ceremony does with the objects that it finds, from their counts alone, without the token. The order (identity, then mask) is the
//! journal: without a mask the ceremony never ended and no key was ever used, so objects that a crash left may be removed. Once there is a mask,
//! nothing is ever removed.

/// What a ceremony did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ceremony {
    /// Labels of keys made now.
    pub made: Vec<String>,
    /// Labels of keys that were there.
    pub found: Vec<String>,
    /// Objects of an interrupted ceremony that were removed now: label and number.
    pub removed: Vec<(String, usize)>,
    /// The identity's public part, `SubjectPublicKeyInfo` DER, for the admission list.
    pub identity_spki: Vec<u8>,
}

/// How many objects there are under this vault's labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Present {
    pub(crate) identity_private: usize,
    pub(crate) identity_public: usize,
    pub(crate) mask: usize,
}

/// What to do with the identity; the mask is made after it, if there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It is whole.
    Keep,
    /// There is none.
    Make,
    /// Leftovers of a ceremony that never ended: remove them and make it.
    Remake,
    /// The ceremony had ended, but the objects differ from what it leaves: a person must look.
    Refuse(String),
}

pub(crate) fn decide(present: Present) -> Step {
    let Present { identity_private, identity_public, mask } = present;
    if mask > 1 {
        // The counts can't show which mask the store uses, and the wrong one opens nothing.
        return Step::Refuse(format!("there are {mask} keys 'mask'; two ceremonies ran at once"));
    }
    match (identity_private, identity_public, mask) {
        (1, 1, _) => Step::Keep,
        (0, 0, 0) => Step::Make,
        (_, _, 0) => Step::Remake,
        (private, public, _) => Step::Refuse(format!(
            "'identity' has {private} private and {public} public objects instead of one of each, though the \
             ceremony had ended"
        )),
    }
}

#[cfg(test)]
#[path = "ceremony_test.rs"]
mod tests;
