//! S46: the account belongs to the person whose token the client has. Each region signs whose token it verified.

use bkv_client::{Error, LastTry, RecoverOptions, RegisterOptions, State};
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::MemoryFleet;
use crate::memory_fleet::state::MALLORY;
use crate::recover::PASSWORD;

/// A rooted leader keeps an account of its own under a guessed password, and answers a person's `Open` with it. All regions sign honestly for that account.
/// If the client went on, KE2 would open exactly if the guess is right: one free guess for each honest login.
#[tokio::test]
async fn s46_another_account_in_a_persons_place_gets_nothing_made_from_the_password() {
    let vaults = MemoryFleet::new();
    vaults.client_of(MALLORY).register(PASSWORD, RegisterOptions::default()).await.unwrap();
    vaults.state().log.clear();
    vaults.state().forwards = Some(MALLORY);
    let eager = RecoverOptions { last_try: LastTry::Use, ..Default::default() };
    for options in [RecoverOptions::default(), eager] {
        let e = vaults.client().recover(PASSWORD, options).await.unwrap_err();
        assert!(matches!(e.cause(), Error::RegionAnsweredWrongly(_)), "{e:?}");
        assert_eq!(vaults.state().made_from_password(), 0);
    }
    let e = vaults.client().status().await.unwrap_err();
    assert!(matches!(e, Error::RegionAnsweredWrongly(_)), "{e:?}");
    // The control: the attacker's own client recovers with the same answers.
    vaults.client_of(MALLORY).recover(PASSWORD, RecoverOptions::default()).await.unwrap();
}

/// A rooted leader files a person's new key under an account of its own. With the next leader the person would find no key.
#[tokio::test]
async fn s46_a_registration_filed_elsewhere_is_refused() {
    let vaults = MemoryFleet::new();
    vaults.state().forwards = Some(MALLORY);
    let e = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap_err();
    assert!(matches!(e, Error::RegionAnsweredWrongly(_)), "{e:?}");
    let state = vaults.state();
    assert_eq!(state.seen(|o| matches!(o, Operation::Store(_) | Operation::Confirm(_))), 0);
    assert_eq!(state.account_state(), State::None);
}
