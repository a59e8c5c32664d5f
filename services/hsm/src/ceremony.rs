//! Decides from the number of objects in the token what the key ceremony does. The ceremony makes the identity first and the mask last. So without a
//! mask no ceremony ended and no key was ever used, and the ceremony may remove what a crash left. With a mask it never removes anything.

/// What a ceremony did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ceremony {
    /// Labels of the keys that it made.
    pub made: Vec<String>,
    /// Labels of the keys that existed.
    pub found: Vec<String>,
    /// Objects of an interrupted ceremony that it removed: label and number.
    pub removed: Vec<(String, usize)>,
    /// The identity's public part for the admission list, `SubjectPublicKeyInfo` DER.
    pub identity_spki: Vec<u8>,
}

/// The number of objects under this vault's labels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Present {
    pub(crate) identity_private: usize,
    pub(crate) identity_public: usize,
    pub(crate) mask: usize,
}

/// What the ceremony does with the identity. After it the ceremony makes the mask if there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Keep the whole identity.
    Keep,
    /// Make the missing identity.
    Make,
    /// Remove what an interrupted ceremony left, then make the identity.
    Remake,
    /// Refuse: a ceremony ended, but the objects differ from what it leaves. A person must decide.
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
