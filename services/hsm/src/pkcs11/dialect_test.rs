use proptest::prelude::*;

use super::*;

fn names(vault: &VaultName) -> Names<'_> {
    Names { vault, dialect: Dialect::CloudKms }
}

#[test]
fn ids_of_crypto_keys_are_frozen() {
    let vault = VaultName::new("demo/eu-west").unwrap();
    assert_eq!(names(&vault).label(KeyName::Identity), "bkv__demo__eu-west__identity");
    let vault = VaultName::new("a_b.c").unwrap();
    assert_eq!(names(&vault).label(KeyName::Epoch(7)), "bkv__a_5fb_2ec__epoch-7");
}

#[test]
fn a_name_that_is_too_long_is_reported() {
    let vault = VaultName::new(&"x".repeat(50)).unwrap();
    assert_eq!(names(&vault).unfit(KeyName::Mask), None);
    let why = names(&vault).unfit(KeyName::Identity).unwrap();
    assert!(why.contains("has 65") && why.contains("shorter region name"), "{why}");
    let standard = Names { vault: &vault, dialect: Dialect::Standard };
    assert_eq!(standard.unfit(KeyName::Identity), None);
}

#[test]
fn the_module_names_its_kind() {
    assert_eq!(Dialect::of("Google                          "), Dialect::CloudKms);
    for other in ["SoftHSM", "Googlewood", ""] {
        assert_eq!(Dialect::of(other), Dialect::Standard, "{other}");
    }
}

proptest! {
    #[test]
    fn ids_round_trip_and_are_ids(name in "[A-Za-z0-9._-]{1,20}(/[A-Za-z0-9._-]{1,20}){0,2}", epoch: u64) {
        let vault = VaultName::new(&name).unwrap();
        for key in [KeyName::Identity, KeyName::Mask, KeyName::Probe, KeyName::Epoch(epoch)] {
            let id = names(&vault).label(key);
            prop_assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)), "{id}");
            prop_assert_eq!(names(&vault).parse(&id), Some((vault.clone(), key)));
        }
    }

    #[test]
    fn any_id_is_read_or_refused_without_panic(id in ".{0,80}") {
        let vault = VaultName::new("v").unwrap();
        if let Some((vault, key)) = names(&vault).parse(&id) {
            prop_assert_eq!(names(&vault).label(key), id);
        }
    }
}
