use proptest::prelude::*;

use super::*;

#[test]
fn labels_are_frozen() {
    let vault = VaultName::new("demo/eu-west").unwrap();
    assert_eq!(KeyName::Identity.label(&vault), "bkv/demo/eu-west/identity");
    assert_eq!(KeyName::Mask.label(&vault), "bkv/demo/eu-west/mask");
    assert_eq!(KeyName::Epoch(7).label(&vault), "bkv/demo/eu-west/epoch-7");
    assert_eq!(KeyName::Mask.id(&vault).len(), 20);
    assert_ne!(KeyName::Mask.id(&vault), KeyName::Identity.id(&vault));
}

#[test]
fn bad_names_are_refused() {
    for bad in ["", "/", "a/", "/a", "a//b", "a b", "ä", &"x".repeat(65)] {
        assert!(VaultName::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn other_spellings_of_an_epoch_are_not_ours() {
    for label in
        ["bkv/v/epoch-007", "bkv/v/epoch-+7", "bkv/v/epoch-", "bkv/identity", "bkv/v/other", "x/v/mask"]
    {
        assert_eq!(KeyName::parse_label(label), None, "{label}");
    }
}

proptest! {
    #[test]
    fn any_label_is_read_or_refused_without_panic(label in ".{0,120}") {
        if let Some((vault, key)) = KeyName::parse_label(&label) {
            prop_assert_eq!(key.label(&vault), label);
        }
    }

    #[test]
    fn labels_round_trip(name in "[A-Za-z0-9._-]{1,20}(/[A-Za-z0-9._-]{1,20}){0,2}", epoch: u64) {
        let vault = VaultName::new(&name).unwrap();
        for key in [KeyName::Identity, KeyName::Mask, KeyName::Probe, KeyName::Epoch(epoch)] {
            prop_assert_eq!(KeyName::parse_label(&key.label(&vault)), Some((vault.clone(), key)));
        }
    }
}
