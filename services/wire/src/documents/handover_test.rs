use bkv_core::id::{Era, FleetId};
use proptest::prelude::*;

use super::*;

fn root(seed: u8, fleet: u8) -> (Root, RootKey) {
    let key = RootKey::from_seed(&Zeroizing::new([seed; 32]));
    let fleet = FleetId([fleet; 16]);
    (Root { keys: vec![key.public()], threshold: 1, fleet, era: Era(1), development: false }, key)
}

#[test]
fn the_receiver_gets_the_key_and_nobody_else_does() {
    let (root, key) = root(1, 1);
    let (to, other) = (DeliveryKey::generate().unwrap(), DeliveryKey::generate().unwrap());
    let sealed = seal_root(&root, &key, Slot(2), to.public()).unwrap();
    assert!(!sealed.windows(32).any(|w| w == key.seed().as_slice()));
    let opened = open_root(&to, &root, Slot(2), &sealed).unwrap();
    assert_eq!(opened.public(), key.public());
    assert!(matches!(
        open_root(&other, &root, Slot(2), &sealed),
        Err(HandoverError::Delivery(DeliveryError::Open))
    ));
    assert!(matches!(
        open_root(&to, &root, Slot(3), &sealed),
        Err(HandoverError::Delivery(DeliveryError::Open))
    ));
}

#[test]
fn it_opens_under_no_other_root_or_fleet() {
    let (ours, key) = root(1, 1);
    let to = DeliveryKey::generate().unwrap();
    let sealed = seal_root(&ours, &key, Slot(1), to.public()).unwrap();
    for other in [root(2, 1).0, root(1, 2).0] {
        assert!(matches!(
            open_root(&to, &other, Slot(1), &sealed),
            Err(HandoverError::Delivery(DeliveryError::Open))
        ));
    }
}

/// An attacker can seal to a public key. The receiver refuses a key that is sealed under the right label but is not the pinned root's.
#[test]
fn another_key_under_the_right_label_is_refused() {
    let (root, key) = root(1, 1);
    let to = DeliveryKey::generate().unwrap();
    let label = info(&root, &key.public(), Slot(1));
    let (enc, ct) = seal_bytes(to.public(), &label, b"", &[9; 32]).unwrap();
    let forged = [enc, ct].concat();
    assert!(matches!(open_root(&to, &root, Slot(1), &forged), Err(HandoverError::NotTheRoot)));
}

/// As in S44: a share does not open as a root, nor a root as a share, whatever their lengths.
#[test]
fn a_sealed_share_does_not_open_as_a_root() {
    let (root, _) = root(1, 1);
    let to = DeliveryKey::generate().unwrap();
    let (enc, ct) = seal_bytes(to.public(), b"bkv/share", b"", &[9; 32]).unwrap();
    assert!(matches!(
        open_root(&to, &root, Slot(1), &[enc, ct].concat()),
        Err(HandoverError::Delivery(DeliveryError::Open))
    ));
}

proptest! {
    #[test]
    fn s38_arbitrary_and_changed_bytes_never_open(bytes: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
        let (root, key) = root(1, 1);
        let to = DeliveryKey::from_secret(&[3; 32]).unwrap();
        prop_assert!(open_root(&to, &root, Slot(1), &bytes).is_err());
        let mut sealed = seal_root(&root, &key, Slot(1), to.public()).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert!(open_root(&to, &root, Slot(1), &sealed).is_err());
    }
}
