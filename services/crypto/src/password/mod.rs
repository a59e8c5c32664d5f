//! Passwords. Every device prepares them alike (RFC 8265 OpaqueString). A new password that is too easy to guess is refused with advice. With ten
//! tries an attacker reaches only the few most common passwords, so the list is short.

mod blocklist;

use std::fmt;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Fewest characters of a new password.
pub const MIN_CHARS: usize = 8;
/// Most bytes of a prepared password: enough for any sentence, and a limit if a user pastes a file.
pub const MAX_BYTES: usize = 1024;

/// Why a password can't be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nothing was typed.
    #[error("the password is empty")]
    Empty,
    /// See [`MAX_BYTES`].
    #[error("the password is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// RFC 8264's FreeformClass has no such character (a control character, an unassigned code point).
    #[error(
        "the password holds a character that can't be typed the same way everywhere, such as a control character"
    )]
    Character,
}

/// Why a new password was refused. `Display` is advice for the user. No variant holds the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// See [`MIN_CHARS`].
    #[error("use at least {MIN_CHARS} characters; three or four random words are easy to keep in mind")]
    Short,
    /// On the list, or a listed one with a few digits or signs behind it.
    #[error(
        "this is one of the passwords that everyone tries first; take three or four random words instead"
    )]
    Common,
    /// One or two characters, repeated.
    #[error("the same characters over and over are guessed first; mix different words")]
    Repeated,
    /// A sequence such as abcdefgh or 87654321.
    #[error(
        "a run of the alphabet or of the digits is guessed first; take three or four random words instead"
    )]
    Sequence,
    /// The account's own name, e-mail address or phone number.
    #[error("do not use the name of the account: an attacker knows it")]
    AccountName,
}

/// A password ready for hashing. Wiped on drop, never shown.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Prepared(String);

impl Prepared {
    /// RFC 8265 §4.2.2: checked against FreeformClass, other spaces made ASCII spaces, NFC; case kept.
    pub fn new(typed: &str) -> Result<Self, PasswordError> {
        if typed.is_empty() {
            return Err(PasswordError::Empty);
        }
        if typed.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        let mut prepared = Self::apply(typed)?;
        // RFC 8264, section 7: the rules apply until they change nothing, four times at most. NFC can make a character that the rules refuse: U+0387 becomes U+00B7.
        for _ in 0..3 {
            let again = Self::apply(&prepared.0)?;
            if again.0 == prepared.0 {
                return if prepared.0.len() > MAX_BYTES { Err(PasswordError::TooLong) } else { Ok(prepared) };
            }
            prepared = again;
        }
        Err(PasswordError::Character)
    }

    fn apply(text: &str) -> Result<Self, PasswordError> {
        // Errors of the library name the code point that they refuse: a part of the password, so it is dropped here.
        let prepared = OpaqueString::enforce(text).map_err(|_| PasswordError::Character)?;
        Ok(Self(prepared.into_owned()))
    }

    /// For the OPRF only.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Checks that it is good enough for a new password. Never call it for a password of a recovery. `account_names` are names that an attacker
    /// knows: user name, e-mail address, phone number.
    pub fn check_new(&self, account_names: &[&str]) -> Result<(), Weak> {
        let folded = fold(&self.0);
        if self.0.chars().count() < MIN_CHARS {
            return Err(Weak::Short);
        }
        let mut distinct = Zeroizing::new(folded.chars().collect::<Vec<char>>());
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() <= 2 {
            return Err(Weak::Repeated);
        }
        if is_run(&folded) {
            return Err(Weak::Sequence);
        }
        if account_names.iter().any(|name| is_name(&folded, name)) {
            return Err(Weak::AccountName);
        }
        if blocklist::contains(&folded) { Err(Weak::Common) } else { Ok(()) }
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prepared(..)")
    }
}

/// For comparison only: NFKC, lower case.
fn fold(s: &str) -> Zeroizing<String> {
    Zeroizing::new(s.nfkc().flat_map(char::to_lowercase).collect())
}

/// True if each character is the successor, or each the predecessor, of the one before it.
fn is_run(s: &str) -> bool {
    let steps = |by: i64| {
        s.chars().zip(s.chars().skip(1)).all(|(a, b)| i64::from(u32::from(b)) - i64::from(u32::from(a)) == by)
    };
    steps(1) || steps(-1)
}

/// The name itself, the part of an address before the @, either of them backwards, or with a few digits or signs behind it.
fn is_name(folded: &str, name: &str) -> bool {
    let name = fold(name.trim());
    let local = name.split('@').next().unwrap_or_default();
    let backwards: Zeroizing<String> = Zeroizing::new(folded.chars().rev().collect());
    [name.as_str(), local].into_iter().filter(|n| !n.is_empty()).any(|n| {
        let tail = |s: &str| s.strip_prefix(n).is_some_and(blocklist::is_tail);
        tail(folded) || tail(&backwards)
    })
}

#[cfg(test)]
mod password_test;
