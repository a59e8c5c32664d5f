//! The client accepts a status only if t regions signed it over its nonce.

use bkv_client::{Error, State, Timing, Zeroizing};

use crate::memory_fleet::{MemoryFleet, keys};
use crate::recover::registered;

#[tokio::test]
async fn s20_status_is_what_t_regions_sign_over_our_nonce() {
    let (vaults, _) = registered().await;
    let status = vaults.client().status().await.unwrap();
    assert_eq!((status.state, status.tries_left, status.agreeing.len()), (State::Live, 3, 3));
    assert!(
        status.development
            && status.differing.is_empty()
            && status.silent.is_empty()
            && status.wrong.is_empty()
    );
}

#[tokio::test]
async fn s20_attestations_played_again_are_refused() {
    let (vaults, _) = registered().await;
    vaults.client().status().await.unwrap();
    vaults.state().replay = true;
    let e = vaults.client().status().await.unwrap_err();
    assert!(matches!(&e, Error::RegionAnsweredWrongly(w) if w.what.contains("replay")), "{e:?}");
}

#[tokio::test]
async fn nobody_registered_is_a_state_and_not_an_error() {
    let status = MemoryFleet::new().client().status().await.unwrap();
    assert_eq!((status.state, status.tries_left), (State::None, 0));
}

#[tokio::test]
async fn a_wrong_clock_is_said_to_be_one() {
    let (vaults, _) = registered().await;
    for (clock, by_ms) in [(keys::START - keys::DAY, 86_400_000), (keys::START + keys::DAY, -86_400_000)] {
        let token = Zeroizing::new(crate::memory_fleet::state::TOKEN.to_owned());
        let client = bkv_client::Client::new(vaults.fleet(), vaults.runtime_at(clock), token)
            .with_timing(Timing::default());
        assert_eq!(client.status().await.unwrap_err(), Error::ClockWrong { by_ms });
    }
}

#[tokio::test]
async fn a_token_that_the_vault_refuses_is_said_to_be_the_vaults() {
    let vaults = MemoryFleet::new();
    let client = bkv_client::Client::new(vaults.fleet(), vaults.runtime(), Zeroizing::new("expired".into()));
    assert_eq!(client.status().await.unwrap_err(), Error::TokenRefused(bkv_client::Whose::Vault));
}
