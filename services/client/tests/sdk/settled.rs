//! S55: what the client calls done, t regions have signed after it was. The leader's receipt alone is not enough.

use std::time::Duration;

use bkv_client::{
    BackupKey, Client, Clock as _, Error, LastTry, LedgerName, Note, RecoverOptions, RegisterOptions, State,
    Timing, Zeroizing,
};
use bkv_core::id::Hash;
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::keys::START;
use crate::memory_fleet::state::TOKEN;
use crate::memory_fleet::{Cut, MemoryFleet, VirtualClock};
use crate::recover::{PASSWORD, registered};

/// Long enough for every repetition of a test.
const LIMIT: Duration = Duration::from_secs(60);
const OTHER: &str = "another good pass phrase";
const LEDGER: LedgerName = LedgerName { counter: 1, hash: Hash([7; 32]) };

/// The error of a change that too few regions sign. All of them answer, so it must not say that the vault can't be reached, but what they sign instead.
fn unsigned(e: &Error) -> bool {
    matches!(e, Error::RegionsDisagree(why) if why.contains(" signs "))
}

/// A rooted leader signs the receipt and proposes nothing. The registration would expire unconfirmed.
#[tokio::test]
async fn s55_a_receipt_without_a_confirm_is_not_registered() {
    let vaults = MemoryFleet::new();
    vaults.state().unproposed = u32::MAX;
    let e = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    assert_eq!(vaults.state().account_state(), State::None);

    vaults.state().unproposed = 1;
    vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap();
    assert_eq!(vaults.state().account_state(), State::Live);
}

/// The old password would stay valid, the deleted key would stay there, and an older backup would look like the newest.
#[tokio::test]
async fn s55_a_change_that_no_region_has_applied_is_not_done() {
    let (vaults, key) = registered().await;
    let key = BackupKey::from_bytes(&key);
    let overwrite = || RegisterOptions { key: Some(&key), ..RegisterOptions::default() };
    vaults.state().unproposed = u32::MAX;
    let e = vaults.client().register(OTHER, overwrite()).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    let e = vaults.client().name_file(&key, LEDGER).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    let e = vaults.client().delete(&key).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    assert_eq!(vaults.state().generation(), 1);

    vaults.state().unproposed = 2;
    vaults.client().register(OTHER, overwrite()).await.unwrap();
    vaults.state().unproposed = 2;
    vaults.client().name_file(&key, LEDGER).await.unwrap();
    vaults.state().unproposed = 2;
    vaults.client().delete(&key).await.unwrap();
    let state = vaults.state();
    assert_eq!((state.generation(), state.account_state()), (2, State::Deleted));
}

/// Whoever is root in a region that has not followed can still use there what was replaced or deleted. So that region is named.
#[tokio::test]
async fn s55_a_region_that_has_not_followed_is_named_and_two_are_too_many() {
    let (vaults, key) = registered().await;
    let key = BackupKey::from_bytes(&key);
    vaults.state().holds_back(2);
    let options = RegisterOptions { key: Some(&key), ..RegisterOptions::default() };
    let done = vaults.client().register(OTHER, options).await.unwrap();
    assert_eq!(done.not_followed, ["region-2"]);
    vaults.client().name_file(&key, LEDGER).await.unwrap();
    assert_eq!(vaults.client().delete(&key).await.unwrap().not_followed, ["region-2"]);

    let (vaults, key) = registered().await;
    let key = BackupKey::from_bytes(&key);
    vaults.state().holds_back(2);
    vaults.state().holds_back(3);
    let e = vaults.client().name_file(&key, LEDGER).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    let e = vaults.client().delete(&key).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    assert_eq!(vaults.client().status().await.unwrap().state, State::Live, "t regions still have it");
}

/// A later change also ends the question.
#[tokio::test]
async fn s55_a_state_past_what_was_asked_is_enough() {
    let (vaults, key) = registered().await;
    let key = BackupKey::from_bytes(&key);
    let ledger = |counter| LedgerName { counter, hash: Hash([7; 32]) };
    vaults.state().rival_ledger = Some(ledger(9));
    vaults.client().name_file(&key, ledger(1)).await.unwrap();
    assert_eq!(vaults.client().status().await.unwrap().newest_file(), Some(ledger(9)));
}

/// A rooted leader that hands out the record and never proposes the `Finish` would keep every try: after some honest recoveries the key is on its last one.
#[tokio::test]
async fn s55_a_finish_that_was_answered_and_never_proposed_is_repeated() {
    let (vaults, key) = registered().await;
    for _ in 0..9 {
        vaults.state().unproposed = 1;
        let client = vaults.client();
        let options = RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() };
        let recovered = client.recover(PASSWORD, options).await.unwrap();
        assert_eq!(recovered.key.as_bytes(), &key, "the key is handed over at once");
        let mut uncounted = recovered.uncounted.expect("no region has signed it");
        client.count(&mut uncounted, LIMIT).await.unwrap();
        assert_eq!(vaults.state().tries_left(), 3);
    }
    let finishes = vaults.state().seen(|o| matches!(o, Operation::Finish(_)));
    assert_eq!(finishes, 2 * 9);

    // An honest leader needs no second one.
    let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert!(recovered.uncounted.is_none());
}

/// The leader never proposes it: the user hears that the try stays counted.
#[tokio::test]
async fn s55_a_success_that_is_never_counted_is_reported() {
    let (vaults, _) = registered().await;
    vaults.state().unproposed = u32::MAX;
    let client = vaults.client();
    let mut uncounted = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap().uncounted.unwrap();
    let e = client.count(&mut uncounted, LIMIT).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    // The deadline has closed the attempt. A rooted leader can claim that at any time, so other leaders are asked until the client gives up.
    vaults.state().unproposed = 0;
    vaults.state().expire();
    let e = client.count(&mut uncounted, LIMIT).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    assert_eq!(vaults.state().tries_left(), 2);
    // A later attempt has begun, and t regions sign that.
    client.recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
    assert_eq!(client.count(&mut uncounted, LIMIT).await.unwrap_err(), Error::Superseded);
}

/// A rooted leader answers the right password with a KE2 that does not open. The user would take it for a wrong password and spend the tries.
#[tokio::test]
async fn s55_a_junk_ke2_for_a_right_password_costs_nothing() {
    let (vaults, key) = registered().await;
    vaults.state().junk_ke2 = 2;
    let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    assert!(
        matches!(&recovered.notes[..], [Note::Wrong(w)] if w.region == "region-1"),
        "{:?}",
        recovered.notes
    );
    {
        let state = vaults.state();
        assert_eq!((state.charged, state.tries_left()), (1, 3));
    }

    // With no other leader the user hears who it was. The attempt stays open: nothing is given up.
    vaults.state().junk_ke2 = u32::MAX;
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e.cause(), Error::RegionAnsweredWrongly(w) if w.region == "region-1"), "{e:?}");
    assert_eq!(vaults.state().seen(|o| matches!(o, Operation::GiveUp(_))), 0);
    let wrong =
        vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(wrong, Error::WrongPassword { .. }), "{wrong:?}");
}

/// The leader answers with the first t regions that sign the same. A rooted one among them signs with another key, and all regions are asked.
#[tokio::test]
async fn s55_a_forged_attestation_among_the_first_t_ends_nothing() {
    let (vaults, key) = registered().await;
    vaults.state().forges_attestations = Some(2);
    let status = vaults.client().quick_status().await.unwrap();
    assert_eq!((status.agreeing.len(), status.wrong.len()), (2, 1), "{status:?}");
    let client = vaults.client();
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    assert!(recovered.uncounted.is_none(), "t honest regions sign the success");
    client.name_file(&BackupKey::from_bytes(&key), LEDGER).await.unwrap();
}

/// The leader never proposes `Finish`. The recovery has used a part of the deadline, and the repetitions of `Finish` keep to the rest.
#[tokio::test]
async fn a_success_is_counted_within_what_is_left_of_the_deadline() {
    let (vaults, _) = registered().await;
    vaults.state().unproposed = u32::MAX;
    let (clock, token) = (VirtualClock::at(START), Zeroizing::new(TOKEN.into()));
    let deadline = Duration::from_secs(10);
    let client = Client::new(vaults.fleet(), vaults.runtime_with(clock.clone()), token)
        .with_timing(Timing { deadline, ..Timing::default() });
    // The first stream is lost, so the recovery takes some time.
    vaults.state().cut(0, Cut::Silent);
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    let took = clock.elapsed();
    assert!(!took.is_zero());
    assert_eq!(recovered.time_left, deadline.saturating_sub(took));
    let e = client.count(&mut recovered.uncounted.unwrap(), recovered.time_left).await.unwrap_err();
    assert!(unsigned(&e), "{e:?}");
    // The last repetition begins before the deadline and waits for the regions.
    let all = clock.elapsed();
    assert!(all <= deadline + Timing::default().followers, "{all:?}");
}
