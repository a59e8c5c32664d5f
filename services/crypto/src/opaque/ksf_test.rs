use bkv_core::id::{AccountId, Generation};

use super::{KsfError, KsfParams, Stretch, Stretched};
use crate::toprf::Hardened;

const FLOOR: KsfParams = KsfParams { memory_kib: 64, passes: 2, lanes: 1 };
const CEILING: KsfParams = KsfParams { memory_kib: 256, passes: 4, lanes: 2 };

#[test]
fn s21_below_the_floor_or_above_the_ceiling_is_refused() {
    let try_one = |memory_kib, passes, lanes| {
        Stretch::within(KsfParams { memory_kib, passes, lanes }, &FLOOR, &CEILING)
    };
    for (m, t, p) in [(64, 2, 1), (256, 4, 2), (100, 3, 1)] {
        let stretch = try_one(m, t, p).unwrap();
        assert_eq!(*stretch.params(), KsfParams { memory_kib: m, passes: t, lanes: p });
    }
    for (m, t, p) in [(63, 2, 1), (64, 1, 1), (64, 2, 0), (0, 0, 0), (255, 1, 2)] {
        assert!(matches!(try_one(m, t, p), Err(KsfError::BelowFloor(_))), "{m} {t} {p}");
    }
    for (m, t, p) in [(257, 4, 2), (256, 5, 2), (256, 4, 3), (u32::MAX, u32::MAX, u32::MAX)] {
        assert!(matches!(try_one(m, t, p), Err(KsfError::AboveCeiling(_))), "{m} {t} {p}");
    }
}

/// Within the policy, but not within RFC 9106 §3.1: at least 8 KiB a lane, one pass, one lane.
#[test]
fn s21_what_argon2id_does_not_have_is_refused() {
    let (none, all) = (
        KsfParams { memory_kib: 0, passes: 0, lanes: 0 },
        KsfParams { memory_kib: u32::MAX, passes: 9, lanes: 9 },
    );
    for (memory_kib, passes, lanes) in [(7, 1, 1), (15, 1, 2), (64, 0, 1), (64, 1, 0)] {
        let params = KsfParams { memory_kib, passes, lanes };
        assert_eq!(Stretch::within(params, &none, &all).unwrap_err(), KsfError::Invalid(params));
    }
    #[cfg(not(feature = "bench-identity-ksf"))]
    assert_eq!(
        Stretch::within(none, &none, &all).unwrap_err(),
        KsfError::Invalid(none),
        "no identity without the feature"
    );
}

/// RFC 9807 §7 fixes variant, version and salt: our call equals the plain one of the argon2 crate.
#[test]
fn argon2id_with_a_zero_salt() {
    use argon2::{Algorithm, Argon2, Params, Version};
    let stretch =
        Stretch::within(KsfParams { memory_kib: 100, passes: 3, lanes: 2 }, &FLOOR, &CEILING).unwrap();
    let ours = stretch.apply(&Hardened::new([3; 64])).unwrap();
    let mut plain = [0; 64];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(100, 3, 2, None).unwrap())
        .hash_password_into(&[3; 64], &[0; 16], &mut plain)
        .unwrap();
    assert_eq!(*ours.expose(), plain);
}

/// S55: account, generation and password each give another value.
#[test]
fn s55_right_is_of_one_password_account_and_generation() {
    let right = |pw: u8, account: u8, generation| {
        Stretched::new([pw; 64]).right(&AccountId([account; 32]), Generation(generation))
    };
    let base = right(1, 2, 3);
    assert_eq!(base, right(1, 2, 3));
    for other in [right(9, 2, 3), right(1, 9, 3), right(1, 2, 9)] {
        assert_ne!(base, other);
    }
}

/// The bench-only identity still needs a policy with a floor of zero.
#[cfg(feature = "bench-identity-ksf")]
#[test]
fn s21_identity_needs_a_floor_of_nothing() {
    let none = KsfParams { memory_kib: 0, passes: 0, lanes: 0 };
    assert!(matches!(Stretch::within(none, &FLOOR, &CEILING), Err(KsfError::BelowFloor(_))));
    assert_eq!(*Stretch::within(none, &none, &CEILING).unwrap().params(), none);
}
