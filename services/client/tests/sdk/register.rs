//! Registration in two phases. The client accepts the answers of t regions, never of one. A repetition leaves one live registration.

use bkv_client::{BackupKey, Error, RecoverOptions, RegisterOptions, State};
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::{Cut, MemoryFleet};
use crate::recover::{PASSWORD, registered};

#[tokio::test]
async fn a_first_registration_is_confirmed_and_its_receipt_verified() {
    let vaults = MemoryFleet::new();
    let done = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap();
    assert_eq!((done.generation.0, done.not_acknowledged.len(), done.wrong.len()), (1, 0, 0));
    assert_eq!(done.receipt.kind.name(), "registered");
    assert_eq!(vaults.state().account_state(), State::Live);
}

#[tokio::test]
async fn a_region_that_does_not_acknowledge_is_named_and_two_are_too_many() {
    let vaults = MemoryFleet::new();
    vaults.state().no_acknowledgement.insert(2);
    let done = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap();
    assert_eq!(done.not_acknowledged, ["region-2"]);
    let vaults = MemoryFleet::new();
    vaults.state().no_acknowledgement.extend([2, 3]);
    let e = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap_err();
    assert!(matches!(e, Error::VaultUnreachable(_)), "{e:?}");
    assert_eq!(
        vaults.state().seen(|o| matches!(o, Operation::Confirm(_))),
        0,
        "one region's word is nobody's"
    );
}

/// S12: a lost reply and a retry give one live registration, and a later recovery finds its key.
#[tokio::test]
async fn s12_a_stream_cut_at_any_step_leaves_one_registration_and_no_fresh_budget() {
    for cut in [Cut::Before, Cut::After, Cut::Silent] {
        for nth in 0..5 {
            let vaults = MemoryFleet::new();
            vaults.state().cut(nth, cut);
            let done = vaults.client().register(PASSWORD, RegisterOptions::default()).await;
            let done = done.unwrap_or_else(|e| panic!("{cut:?} at {nth}: {e:?}"));
            assert_eq!(vaults.state().generation(), 1, "{cut:?} at {nth}");
            let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
            assert_eq!(recovered.key, done.key, "{cut:?} at {nth}");
        }
    }
}

#[tokio::test]
async fn s16_what_is_live_is_overwritten_only_with_its_own_key() {
    let (vaults, key) = registered().await;
    let e =
        vaults.client().register("another good pass phrase", RegisterOptions::default()).await.unwrap_err();
    assert_eq!(e, Error::KeyExists);
    let other = BackupKey::from_bytes(&[5; 32]);
    let options = RegisterOptions { key: Some(&other), ..Default::default() };
    let e = vaults.client().register("another good pass phrase", options).await.unwrap_err();
    assert_eq!(e, Error::NotOwner);
    assert_eq!(vaults.state().generation(), 1);
    let own = BackupKey::from_bytes(&key);
    let options = RegisterOptions { key: Some(&own), ..Default::default() };
    vaults.client().register("another good pass phrase", options).await.unwrap();
    assert_eq!(vaults.state().generation(), 2);
}

#[tokio::test]
async fn s21_weak_passwords_are_refused_with_advice_and_nothing_is_sent() {
    let vaults = MemoryFleet::new();
    for weak in ["short", "letmein1", "12345678", "aaaaaaaaaa", "alice@example.org"] {
        let options = RegisterOptions { account_names: vec!["alice@example.org"], ..Default::default() };
        let e = vaults.client().register(weak, options).await.unwrap_err();
        assert!(matches!(&e, Error::PasswordRefused(advice) if !advice.contains(weak)), "{weak}: {e:?}");
    }
    assert_eq!(vaults.state().connections, 0);
}

#[tokio::test]
async fn a_lying_generation_gets_no_registration() {
    let (vaults, key) = registered().await;
    let own = BackupKey::from_bytes(&key);
    // Every region's attestation is stale. The client must not sign for a state that t regions don't attest now.
    vaults.state().replay = true;
    let options = RegisterOptions { key: Some(&own), ..Default::default() };
    let e = vaults.client().register("another good pass phrase", options).await.unwrap_err();
    assert!(matches!(e, Error::RegionAnsweredWrongly(_)), "{e:?}");
    assert_eq!(vaults.state().seen(|o| matches!(o, Operation::Store(_))), 0);
}
