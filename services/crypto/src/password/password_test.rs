//! S21: prepared alike everywhere; weak ones refused with advice.

use proptest::prelude::*;

use super::blocklist::{COMMON, contains};
use super::{MAX_BYTES, PasswordError, Prepared, Weak, fold};

fn prepared(s: &str) -> String {
    String::from_utf8(Prepared::new(s).unwrap().expose().to_vec()).unwrap()
}

/// RFC 8265 §4.3: a password that two devices encode differently has one prepared form.
#[test]
fn s21_rfc8265_opaque_string() {
    assert_eq!(prepared("correct horse battery staple"), "correct horse battery staple");
    assert_eq!(prepared("Correct Horse Battery Staple"), "Correct Horse Battery Staple");
    assert_eq!(prepared("πßå"), "πßå");
    assert_eq!(prepared("Jack of ♦s"), "Jack of ♦s");
    assert_eq!(prepared("foo\u{1680}bar"), "foo bar", "other spaces become ASCII spaces");
    assert_eq!(prepared("Passwo\u{0308}rter"), prepared("Passw\u{00f6}rter"), "NFC");
    assert_ne!(prepared("ﬁnal"), prepared("final"), "no NFKC: a ligature is a character of its own");
    assert_eq!(Prepared::new("").unwrap_err(), PasswordError::Empty);
    for control in ["my cat is a \u{0009}by", "a\0b", "line\nline"] {
        assert_eq!(Prepared::new(control).unwrap_err(), PasswordError::Character);
    }
    assert_eq!(Prepared::new(&"x".repeat(MAX_BYTES + 1)).unwrap_err(), PasswordError::TooLong);
    assert!(Prepared::new(&"x".repeat(MAX_BYTES)).is_ok());
}

#[test]
fn s21_weak_passwords_are_refused_with_advice() {
    let names = ["Erika.Mustermann@example.org", "+49 170 1234567"];
    let check = |s: &str| Prepared::new(s).unwrap().check_new(&names);
    for (weak, why) in [
        ("short", Weak::Short),
        ("äöüäöüß", Weak::Short),
        ("password", Weak::Common),
        ("PassWord123", Weak::Common),
        ("Sunshine1!", Weak::Common),
        ("ｐａｓｓｗｏｒｄ", Weak::Common),
        ("correct horse battery staple", Weak::Common),
        ("Contraseña", Weak::Common),
        ("ZZZZZZZZZ", Weak::Repeated),
        ("abababababab", Weak::Repeated),
        ("abcdefghij", Weak::Sequence),
        ("98765432", Weak::Sequence),
        ("erika.mustermann", Weak::AccountName),
        ("Erika.Mustermann99", Weak::AccountName),
        ("nnamretsum.akire", Weak::AccountName),
        ("ERIKA.MUSTERMANN@EXAMPLE.ORG", Weak::AccountName),
        ("+49 170 1234567", Weak::AccountName),
    ] {
        assert_eq!(check(weak), Err(why), "{weak}");
        assert!(why.to_string().len() > 20);
    }
    for good in [
        "blanket orbit teapot canyon",
        "vR7#qLm2x",
        "passwordless dolphins sing",
        "12 monkeys ate 5 mangoes",
        "ἄνθρωπος μέτρον",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
}

#[test]
fn the_list_is_sorted_folded_and_complete() {
    assert!(COMMON.len() >= 200);
    assert!(COMMON.windows(2).all(|w| w[0] < w[1]), "binary search needs it sorted, without doubles");
    for entry in COMMON {
        assert_eq!(fold(entry).as_str(), *entry);
        assert!(contains(entry));
        assert!(Prepared::new(entry).unwrap().check_new(&[]).is_err(), "{entry}");
    }
}

#[test]
fn neither_debug_nor_errors_show_it() {
    let p = Prepared::new("canary-7f3a-password").unwrap();
    assert_eq!(format!("{p:?}"), "Prepared(..)");
    let e = Prepared::new("canary\u{7}").unwrap_err();
    assert!(!format!("{e} {e:?}").contains("canary") && !format!("{e}").contains('7'));
}

/// RFC 8264, section 7. A Greek keyboard's U+0387 becomes U+00B7 under NFC, which stands only between two l's (RFC 5892, appendix A.3). One application of the rules took it.
#[test]
fn s21_a_character_that_is_refused_once_it_is_normalized_is_refused() {
    for dot in ["\u{387}", "\u{b7}"] {
        assert_eq!(Prepared::new(&format!("a{dot}b")).unwrap_err(), PasswordError::Character);
        assert_eq!(prepared(&format!("l{dot}l")), "l\u{b7}l");
    }
}

proptest! {
    /// Preparing a prepared password does not change it. No input panics.
    #[test]
    fn preparing_is_stable(s in any::<String>(), name in any::<String>()) {
        if let Ok(p) = Prepared::new(&s) {
            let _ = p.check_new(&[&name, ""]);
            let once = String::from_utf8(p.expose().to_vec()).unwrap();
            let twice = Prepared::new(&once).unwrap();
            prop_assert_eq!(twice.expose(), once.as_bytes());
        }
    }

    #[test]
    fn printable_ascii_is_kept(s in "[ -~]{1,60}") {
        prop_assert_eq!(prepared(&s), s);
    }
}
