//! S46: the account belongs to the person whose token the client has. Each region signs whose token it verified.

use std::collections::HashSet;

use bkv_client::{Error, LastTry, RecoverOptions, RegisterOptions, State, Whose};
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::MemoryFleet;
use crate::memory_fleet::state::{FRESH, MALLORY, TOKEN};
use crate::recover::{PASSWORD, registered};

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
    // The control: the attacker's own client recovers with the same answers. The recoveries above used up two of its account's tries.
    vaults.client_of(MALLORY).recover(PASSWORD, eager).await.unwrap();
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

/// Regions refuse the token, after the leader has charged the attempt: they have no key for it yet, or it ends in a moment. The client gets a fresh token
/// and goes on with the same attempt.
#[tokio::test]
async fn s11_a_token_that_regions_refuse_is_replaced_and_costs_no_try() {
    let (vaults, key) = registered().await;
    for refused_by_leader in [false, true] {
        {
            let mut state = vaults.state();
            state.log.clear();
            state.charged = 0;
            (state.refused_by_regions, state.refused_by_leader) =
                if refused_by_leader { (None, Some(TOKEN)) } else { (Some(TOKEN), None) };
        }
        let client = vaults.client_with_tokens(&[TOKEN, FRESH]);
        let eager = RecoverOptions { last_try: LastTry::Use, ..Default::default() };
        let recovered = client.recover(PASSWORD, eager).await.unwrap();
        assert_eq!(recovered.key.as_bytes(), &key);
        assert_eq!(vaults.state().charged, 1);
        client.status().await.unwrap();
        // All attempts have one id.
        let state = vaults.state();
        let attempts = state.log.iter().filter_map(|r| match r.operation.as_ref()? {
            Operation::Begin(b) => Some(b.attempt.clone()),
            _ => None,
        });
        assert_eq!(attempts.collect::<HashSet<_>>().len(), 1);
    }
}

/// The issuer has a new key, and too few regions have fetched it. The leader knows that and begins nothing, with fresh tokens of that key neither. The client repeats the
/// same attempt, and the same registration, until the regions have the key.
#[tokio::test]
async fn s11_a_key_that_too_few_regions_know_yet_costs_no_try() {
    for refusals in [1, 6] {
        let vaults = MemoryFleet::new();
        vaults.state().begins_nothing = refusals;
        let client = vaults.client_with_tokens(&[TOKEN, FRESH]);
        client.register(PASSWORD, RegisterOptions::default()).await.unwrap();
        let stored = vaults.state().ids(|o| match o {
            Operation::Store(s) => {
                Some(bkv_core::record::Record::decode(&s.record).unwrap().reg_id.0.to_vec())
            }
            _ => None,
        });
        assert_eq!((stored.len(), stored.iter().collect::<HashSet<_>>().len()), (refusals + 1, 1));
        for last_try in [LastTry::Use, LastTry::Decline] {
            {
                let mut state = vaults.state();
                state.log.clear();
                (state.charged, state.begins_nothing) = (0, refusals);
            }
            let client = vaults.client_with_tokens(&[TOKEN, FRESH]);
            client.recover(PASSWORD, RecoverOptions { last_try, ..Default::default() }).await.unwrap();
            let state = vaults.state();
            let begun = state.ids(|o| match o {
                Operation::Begin(b) => Some(b.attempt.to_vec()),
                _ => None,
            });
            assert_eq!((begun.len(), begun.iter().collect::<HashSet<_>>().len()), (refusals + 1, 1));
            assert_eq!(state.charged, 1);
        }
    }
}

/// A registration and a status go on with a fresh token too. Without one, the error names the token.
#[tokio::test]
async fn a_token_that_regions_refuse_is_replaced_or_named() {
    let vaults = MemoryFleet::new();
    vaults.state().refused_by_regions = Some(TOKEN);
    let e = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap_err();
    assert_eq!(e, Error::TokenRefused(Whose::Vault));
    let client = vaults.client_with_tokens(&[TOKEN, FRESH]);
    client.register(PASSWORD, RegisterOptions::default()).await.unwrap();
    let e = vaults.client().status().await.unwrap_err();
    assert_eq!(e, Error::TokenRefused(Whose::Vault));
    vaults.client_with_tokens(&[TOKEN, FRESH]).status().await.unwrap();
}
