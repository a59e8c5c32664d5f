use proptest::prelude::*;

use super::*;

#[test]
fn s32_sixty_four_digits_round_trip_however_they_are_typed() {
    let key = BackupKey::generate().unwrap();
    let text = key.to_digits();
    assert_eq!(text.chars().filter(char::is_ascii_hexdigit).count(), DIGITS);
    assert_eq!(text.split_whitespace().count(), 16);
    for typed in [
        text.to_string(),
        text.to_uppercase(),
        text.split_whitespace().collect::<Vec<_>>().join("-"),
        text.split_whitespace().collect::<String>(),
        format!("  {}\r\n", text.replace('\n', "\r\n")),
        text.replace(' ', "\u{2013}"),
    ] {
        assert_eq!(BackupKey::from_digits(&typed).unwrap(), key);
    }
}

#[test]
fn s32_every_single_wrong_digit_changes_the_check_value() {
    let key = BackupKey::from_bytes(&[0x5a; 32]);
    let backup = [7; 16];
    let check = key.key_check(&backup).unwrap();
    let digits: Vec<char> = key.to_digits().split_whitespace().collect::<String>().chars().collect();
    for place in 0..DIGITS {
        let mut typo = digits.clone();
        typo[place] = if typo[place] == '0' { '1' } else { '0' };
        let wrong = BackupKey::from_digits(&typo.iter().collect::<String>()).unwrap();
        assert_ne!(wrong.key_check(&backup).unwrap(), check, "digit {place}");
    }
    assert_ne!(key.key_check(&[8; 16]).unwrap(), check, "bound to the backup");
}

/// Computed by Python's hmac and hashlib as RFC 5869 says. A change would lock people out of what other programs have encrypted.
#[test]
fn keys_for_other_programs_never_change() {
    let key = BackupKey::from_bytes(&std::array::from_fn(|n| u8::try_from(n).unwrap()));
    for (purpose, want) in [
        ("restic", "086f7d815199625b46152be4f3cd0eb729072278a36bdc82b3de5db8e8cc22dd"),
        ("borg", "736dab23483f151ea5617c5d2f8867fdd640f61f7a83cb164946612e1e9cfc1e"),
    ] {
        let want = BackupKey::from_digits(want).unwrap();
        assert!(*key.for_purpose(purpose).unwrap() == *want.as_bytes(), "{purpose}");
    }
}

#[test]
fn s32_errors_say_where_and_never_echo() {
    let mut typed = "0123 ".repeat(16);
    typed.replace_range(11..12, "g");
    let error = BackupKey::from_digits(&typed).unwrap_err();
    assert_eq!(error, KeyError::NotADigit { group: 3 });
    assert!(!error.to_string().contains("0123"));
    assert_eq!(BackupKey::from_digits(&"0123 ".repeat(15)).unwrap_err(), KeyError::Missing { missing: 4 });
    assert_eq!(BackupKey::from_digits("").unwrap_err(), KeyError::Missing { missing: 64 });
    assert_eq!(BackupKey::from_digits(&"01234".repeat(16)).unwrap_err(), KeyError::TooMany);
    assert_eq!(format!("{:?}", BackupKey::generate().unwrap()), "BackupKey(..)");
}

/// The derivations are part of the format: these values must never change.
#[test]
fn derivations_are_frozen() {
    let key = BackupKey::from_bytes(&std::array::from_fn(|i| u8::try_from(i).unwrap()));
    // Python: hmac-based HKDF-SHA256, no salt, info b"bkv/key-check/1" + bytes([9] * 16), 16 bytes.
    assert_eq!(key.key_check(&[9; 16]).unwrap(), FROZEN_CHECK);
}
const FROZEN_CHECK: [u8; 16] = [188, 136, 82, 69, 173, 33, 34, 141, 4, 34, 246, 20, 164, 244, 185, 254];

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,200}") {
        let _ = BackupKey::from_digits(&text);
    }

    #[test]
    fn any_key_round_trips(bytes: [u8; 32]) {
        let key = BackupKey::from_bytes(&bytes);
        prop_assert_eq!(BackupKey::from_digits(&key.to_digits()).unwrap(), key);
    }
}
