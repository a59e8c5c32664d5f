//! Recovery: what the client sends, whose answers it accepts, and that only a wrong password costs a try.

use bkv_client::{
    BackupKey, Counted, Distrust, Error, KsfParams, LastTry, Note, RecoverOptions, RegisterOptions, State,
    TransportError, Whose,
};
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::{Cut, Lie, MemoryFleet};

pub const PASSWORD: &str = "seven purple kettles hum";

pub async fn registered() -> (MemoryFleet, [u8; 32]) {
    let vaults = MemoryFleet::new();
    let done = vaults.client().register(PASSWORD, RegisterOptions::default()).await.unwrap();
    let key = *done.key.as_bytes();
    vaults.state().log.clear();
    (vaults, key)
}

fn eager() -> RecoverOptions<'static> {
    RecoverOptions { last_try: LastTry::Use, ..Default::default() }
}

#[tokio::test]
async fn the_right_password_gives_the_key_and_the_try_back() {
    let (vaults, key) = registered().await;
    for options in [RecoverOptions::default(), eager()] {
        let recovered = vaults.client().recover(PASSWORD, options).await.unwrap();
        assert_eq!(recovered.key.as_bytes(), &key);
        assert_eq!(recovered.receipt.kind.name(), "recovered");
        assert_eq!(recovered.notes, vec![]);
        assert_eq!(vaults.state().tries_left(), 3);
    }
    assert_eq!(vaults.state().charged, 2);
}

#[tokio::test]
async fn open_and_begin_leave_in_one_flight_when_the_last_try_may_be_used() {
    let (vaults, _) = registered().await;
    vaults.client().recover(PASSWORD, eager()).await.unwrap();
    let state = vaults.state();
    let order: Vec<_> = state.log.iter().map(|r| r.operation.as_ref().unwrap()).collect();
    assert!(matches!(
        order[..],
        [
            Operation::Open(_),
            Operation::Begin(_),
            Operation::KeyExchange(_),
            Operation::Finish(_),
            Operation::Attest(_)
        ]
    ));
}

/// The password, its hardened form and the token never appear in what ChatD relays (S04, S05).
#[tokio::test]
async fn s05_chatd_sees_no_token_and_no_password() {
    let (vaults, key) = registered().await;
    vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    let state = vaults.state();
    for secret in [PASSWORD.as_bytes(), crate::memory_fleet::state::TOKEN.as_bytes(), &key] {
        assert!(!state.relayed.windows(secret.len()).any(|w| w == secret));
    }
}

#[tokio::test]
async fn s20_a_wrong_password_is_told_with_the_tries_that_the_regions_signed_and_the_last_one_is_asked_for() {
    let (vaults, _) = registered().await;
    for left in [2, 1] {
        let e =
            vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
        assert!(
            matches!(e, Error::WrongPassword { tries_left, next_allowed: Some(_) } if tries_left == left),
            "{e:?}"
        );
    }
    assert_eq!(vaults.state().charged, 2);
    let declined = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert_eq!(declined, Error::LastTryDeclined);
    assert_eq!(vaults.state().charged, 2, "declining costs nothing");
    let yes = |_: &bkv_client::LastTryWarning| true;
    let asked = RecoverOptions { last_try: LastTry::Ask(&yes), ..Default::default() };
    assert_eq!(vaults.client().recover("wrong password indeed", asked).await.unwrap_err(), Error::Destroyed);
    assert_eq!(vaults.client().recover(PASSWORD, eager()).await.unwrap_err(), Error::Destroyed);
    assert_eq!(vaults.state().charged, 3);
}

/// S09: this device saw two tries left, and another device uses one before the Begin. The user is asked before the last try is charged.
#[tokio::test]
async fn s09_a_try_that_another_device_took_makes_no_last_try_without_consent() {
    let (vaults, key) = registered().await;
    vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
    vaults.state().rival = true;
    let e = vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
    assert_eq!(e, Error::LastTryDeclined);
    let (charged, left) = {
        let state = vaults.state();
        (state.charged, state.tries_left())
    };
    assert_eq!((charged, left), (2, 1));
    let recovered = vaults.client().recover(PASSWORD, eager()).await.unwrap();
    assert_eq!(recovered.key.as_bytes()[..], key[..]);
}

/// S11: two tries are left, the Begin is charged and its reply is lost. The charge is this attempt's own, and no last try: it goes on without a question.
#[tokio::test]
async fn s11_a_lost_reply_makes_no_last_try_of_the_one_before() {
    for cut in [Cut::After, Cut::Silent] {
        let (vaults, key) = registered().await;
        vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
        vaults.state().cut(1, cut);
        let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
        assert_eq!(recovered.key.as_bytes()[..], key[..]);
    }
}

/// S09: a rooted leader makes a last try of an attempt without the user's consent. The client does not end it: a device with the key can save it until its
/// deadline.
#[tokio::test]
async fn s09_a_last_try_without_consent_is_not_ended_by_the_client() {
    let (vaults, _) = registered().await;
    vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
    vaults.state().rival = true;
    vaults.state().claims_consent = true;
    let e = vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e, Error::WrongPassword { tries_left: 0, .. }), "{e:?}");
    assert_eq!(vaults.state().account_state(), State::LastTry);
}

#[tokio::test]
async fn a_wrong_last_try_can_be_left_open_for_a_rescue() {
    let (vaults, _) = registered().await;
    for _ in 0..2 {
        vaults.client().recover("wrong password indeed", eager()).await.unwrap_err();
    }
    let options = RecoverOptions { leave_last_try_open: true, ..eager() };
    let e = vaults.client().recover("wrong password indeed", options).await.unwrap_err();
    assert!(matches!(e, Error::WrongPassword { tries_left: 0, .. }), "{e:?}");
    assert_eq!(vaults.state().account_state(), bkv_client::State::LastTry);
}

/// S11: after any cut the same attempt goes on, also at another leader, and is charged once.
#[tokio::test]
async fn s11_a_stream_cut_at_any_step_costs_no_try() {
    for options in [RecoverOptions::default(), eager()] {
        for cut in [Cut::Before, Cut::After, Cut::Silent] {
            for nth in 0..6 {
                let (vaults, key) = registered().await;
                vaults.state().cut(nth, cut);
                let recovered = vaults.client().recover(PASSWORD, options).await;
                let recovered = recovered.unwrap_or_else(|e| panic!("{cut:?} at {nth}: {e:?}"));
                let state = vaults.state();
                assert_eq!(
                    (recovered.key.as_bytes(), state.charged, state.tries_left()),
                    (&key, 1, 3),
                    "{cut:?} {nth}"
                );
                assert_eq!(state.evaluated.len(), 1, "one blinded element: {cut:?} {nth}");
            }
        }
    }
}

/// The same with every pair of cuts.
#[tokio::test]
async fn s11_two_cuts_in_one_recovery_cost_no_try() {
    for first in 0..4 {
        for second in first + 1..8 {
            let (vaults, key) = registered().await;
            vaults.state().cut(first, Cut::After);
            vaults.state().cut(second, Cut::Silent);
            let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
            assert_eq!((recovered.key.as_bytes(), vaults.state().charged), (&key, 1), "{first} {second}");
        }
    }
}

#[tokio::test]
async fn s11_a_wrong_password_is_charged_once_whatever_is_cut() {
    for nth in 0..7 {
        let (vaults, _) = registered().await;
        vaults.state().cut(nth, Cut::After);
        let e =
            vaults.client().recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
        assert!(matches!(e, Error::WrongPassword { tries_left: 2, .. }), "{nth}: {e:?}");
        assert_eq!(vaults.state().charged, 1, "{nth}");
    }
}

#[tokio::test]
async fn chatd_away_for_a_while_is_waited_for_and_away_for_good_is_named() {
    let (vaults, _) = registered().await;
    let away = || TransportError::Unreachable("connection refused".into());
    vaults.state().unreachable.extend((0..5).map(|_| away()));
    vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    vaults.state().unreachable.extend((0..1000).map(|_| away()));
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e.cause(), Error::ChatdUnreachable(_)), "{e:?}");
    vaults.state().unreachable = [TransportError::TokenRefused].into();
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert_eq!(e, Error::TokenRefused(Whose::Chatd));
    assert_eq!(vaults.state().charged, 1);
}

const LIES: [Lie; 14] = [
    Lie::Proof,
    Lie::Signature,
    Lie::OtherRecord,
    Lie::OtherBudget,
    Lie::OtherRight,
    Lie::OtherAttempt,
    Lie::OtherBlinded,
    Lie::OtherGeneration,
    Lie::Stranger,
    Lie::OtherShare,
    Lie::WrongSlot,
    Lie::Reflected,
    Lie::Identity,
    Lie::NotCanonical,
];

/// S02, S03: the wrong answers include identity, non-canonical and reflected elements.
#[tokio::test]
async fn s45_a_region_that_answers_wrongly_is_named_routed_around_and_costs_no_try() {
    for lie in LIES {
        for slot in 1..=2 {
            let (vaults, key) = registered().await;
            vaults.state().lies.insert(slot, lie);
            let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await;
            let recovered = recovered.unwrap_or_else(|e| panic!("{lie:?}: {e:?}"));
            assert_eq!(recovered.key.as_bytes(), &key);
            assert!(matches!(&recovered.notes[..], [Note::Wrong(_)]), "{lie:?}: {:?}", recovered.notes);
            let Note::Wrong(wrong) = &recovered.notes[0] else { panic!() };
            if lie != Lie::WrongSlot {
                assert_eq!(wrong.region, format!("region-{slot}"), "{lie:?}");
            }
            let state = vaults.state();
            assert_eq!((state.charged, state.tries_left()), (1, 3));
        }
    }
}

/// The error reports the try as the vault charged it: none before the client has sent `Begin`, "perhaps" until the answer, spent afterwards. `Begin` leaves together with `Open`.
#[tokio::test]
async fn an_attempt_without_an_outcome_says_whether_its_try_is_counted() {
    // Cuts of all requests from the nth on: `Open`, `Begin`, `KeyExchange`, `Finish`.
    for (options, nth, cut, counted, charged) in [
        (RecoverOptions::default(), 0, Cut::Before, Counted::Perhaps, 0),
        (RecoverOptions::default(), 0, Cut::After, Counted::Perhaps, 0),
        (RecoverOptions::default(), 1, Cut::Before, Counted::Perhaps, 0),
        (RecoverOptions::default(), 1, Cut::Silent, Counted::Perhaps, 1),
        (RecoverOptions::default(), 1, Cut::After, Counted::Perhaps, 1),
        (RecoverOptions::default(), 2, Cut::Before, Counted::Yes, 1),
        (eager(), 0, Cut::Before, Counted::Perhaps, 0),
        (eager(), 1, Cut::After, Counted::Perhaps, 1),
        (eager(), 2, Cut::Before, Counted::Yes, 1),
    ] {
        let (vaults, _) = registered().await;
        for later in nth..400 {
            vaults.state().cut(later, cut);
        }
        let e = vaults.client().recover(PASSWORD, options).await.unwrap_err();
        let says = match &e {
            Error::Unfinished { counted, .. } => Some(*counted),
            _ => None,
        };
        let case = format!("{options:?} {nth} {cut:?}: {e:?}");
        assert!(matches!(e.cause(), Error::VaultUnreachable(_)), "{case}");
        assert_eq!((says, vaults.state().charged), (Some(counted), charged), "{case}");
        let word = match counted {
            Counted::Perhaps => "may have been spent",
            Counted::Yes => "A try was spent",
        };
        assert!(e.remedy().contains(word), "{case}: {}", e.remedy());
    }
    // No vault leads. ChatD reports that before the handshake is done, and the client has sent no request.
    let (vaults, _) = registered().await;
    vaults.state().nobody_leads = true;
    let e = vaults.client().recover(PASSWORD, eager()).await.unwrap_err();
    assert!(
        matches!(&e, Error::VaultUnreachable(why) if why.contains("too few of its regions answer")),
        "{e:?}"
    );
    assert!(e.remedy().contains("No try was spent"), "{}", e.remedy());
    assert_eq!(vaults.state().charged, 0);
}

#[tokio::test]
async fn a_silent_region_is_done_without() {
    let (vaults, _) = registered().await;
    vaults.state().lies.insert(1, Lie::Silent);
    assert_eq!(vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap().notes, vec![]);
    vaults.state().lies.insert(2, Lie::Silent);
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e.cause(), Error::VaultUnreachable(_)), "{e:?}");
}

/// S44: if two regions lie, the client sends nothing made from the password. (An attempt is charged, as a leader can always do; the same attempt goes
/// on when the regions answer rightly.)
#[tokio::test]
async fn s44_without_t_proofs_nothing_made_from_the_password_leaves() {
    for lie in LIES {
        let (vaults, _) = registered().await;
        vaults.state().lies.extend([(1, lie), (3, lie)]);
        let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
        assert!(matches!(e.cause(), Error::RegionAnsweredWrongly(_)), "{lie:?}: {e:?}");
        let state = vaults.state();
        assert_eq!(state.made_from_password(), 0, "{lie:?}");
        assert_eq!((state.charged, state.evaluated.len()), (1, 1), "{lie:?}: repeated, not begun anew");
    }
}

/// S44: t answers must be from t regions. One region's answer counts once, however often the leader sends it.
#[tokio::test]
async fn s44_the_same_region_twice_is_not_two_regions() {
    let (vaults, _) = registered().await;
    {
        let mut state = vaults.state();
        state.twice = true;
        state.lies.extend([(1, Lie::Silent), (3, Lie::Silent)]);
    }
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e.cause(), Error::VaultUnreachable(_)), "{e:?}");
    assert_eq!(vaults.state().made_from_password(), 0);
}

/// S44: the leader sends commitments of its own, for which its own shares have valid proofs. The regions' signatures cover the registered ones.
#[tokio::test]
async fn s44_other_commitments_than_the_regions_signed_end_it() {
    let (vaults, _) = registered().await;
    let mut rng = rand::rngs::OsRng;
    let (_, own) = bkv_crypto::toprf::OprfKey::random(&mut rng).split(2, 3, &mut rng).unwrap();
    vaults.state().own_commitments = Some(own.encoded().to_vec());
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e.cause(), Error::RegionAnsweredWrongly(_)), "{e:?}");
    assert_eq!(vaults.state().made_from_password(), 0);
}

#[tokio::test]
async fn s44_answers_to_two_stories_are_never_combined_and_the_leader_is_named() {
    let (vaults, _) = registered().await;
    {
        let mut state = vaults.state();
        state.two_stories = true;
        state.lies.insert(3, Lie::Silent); // one answer to each story
    }
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    let Error::RegionAnsweredWrongly(wrong) = e.cause() else { panic!("{e:?}") };
    assert!(wrong.what.contains("two different statements"), "{wrong}");
    assert_eq!(vaults.state().made_from_password(), 0);
}

#[tokio::test]
async fn s21_stretching_outside_the_signed_policy_is_refused_before_anything_leaves() {
    for ksf in [
        KsfParams { memory_kib: 4, passes: 1, lanes: 1 },
        KsfParams { memory_kib: 1 << 22, passes: 1, lanes: 1 },
        KsfParams { memory_kib: 0, passes: 0, lanes: 0 },
    ] {
        let (vaults, _) = registered().await;
        vaults.state().ksf_lie = Some(ksf);
        let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
        assert!(matches!(e.cause(), Error::FleetNotTrusted(Distrust::Stretching(_))), "{e:?}");
        assert_eq!(vaults.state().made_from_password(), 0);
    }
}

#[tokio::test]
async fn a_record_other_than_the_signed_one_is_refused_and_the_leader_named() {
    let (vaults, _) = registered().await;
    vaults.state().swap_record = true;
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(
        matches!(e.cause(), Error::RegionAnsweredWrongly(w) if w.what.contains("another record")),
        "{e:?}"
    );
}

#[tokio::test]
async fn past_half_of_the_lifetime_limit_the_key_is_registered_anew_and_a_failure_of_that_is_only_a_note() {
    let (vaults, key) = registered().await;
    vaults.state().shard.account_mut().lifetime_failures = 12;
    let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert!(matches!(&recovered.notes[..], [Note::Renewed(_)]), "{:?}", recovered.notes);
    let now = |s: &crate::memory_fleet::State| (s.generation(), s.lifetime_failures());
    assert_eq!(now(&vaults.state()), (2, 0));
    // Once is enough.
    let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!((&recovered.notes[..], vaults.state().generation()), (&[][..], 2));
    vaults.state().shard.account_mut().lifetime_failures = 12;
    vaults.state().no_acknowledgement.extend([1, 2, 3]);
    let recovered = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert!(
        matches!(&recovered.notes[..], [Note::RenewalFailed(Error::VaultUnreachable(_))]),
        "{:?}",
        recovered.notes
    );
    assert_eq!((recovered.key.as_bytes(), vaults.state().generation()), (&key, 2));
}

/// The remedy in the error of a locked account must work.
#[tokio::test]
async fn a_locked_account_is_unlocked_by_the_device_that_has_the_key_and_by_nobody_else() {
    const OTHER: &str = "nine orange lanterns drift";
    let (vaults, key) = registered().await;
    vaults.state().shard.account_mut().lifetime_failures = 20;
    let locked = |e: Error| {
        assert!(matches!(e, Error::Locked), "{e:?}");
        assert!(e.remedy().contains("registering it again"), "{}", e.remedy());
    };
    locked(vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err());
    // A change of password proves the old one first, and so does a user without the key.
    let changed = vaults.client().change_password(PASSWORD, OTHER, &[], RecoverOptions::default()).await;
    locked(changed.unwrap_err());
    let e = vaults.client().register(OTHER, RegisterOptions::default()).await.unwrap_err();
    assert!(matches!(e, Error::KeyExists), "{e:?}");
    let stranger = BackupKey::from_bytes(&[9; 32]);
    let options = RegisterOptions { key: Some(&stranger), ..RegisterOptions::default() };
    let e = vaults.client().register(OTHER, options).await.unwrap_err();
    assert!(matches!(e, Error::NotOwner), "{e:?}");
    assert_eq!(vaults.client().status().await.unwrap().state, State::Locked);

    let own = BackupKey::from_bytes(&key);
    let options = RegisterOptions { key: Some(&own), ..RegisterOptions::default() };
    vaults.client().register(OTHER, options).await.unwrap();
    let status = vaults.client().status().await.unwrap();
    assert_eq!((status.state, status.lifetime_failures), (State::Live, 0));
    let recovered = vaults.client().recover(OTHER, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
}

#[tokio::test]
async fn passwords_that_look_alike_are_the_same_and_unusable_ones_cost_nothing() {
    let vaults = MemoryFleet::new();
    vaults.client().register("Zürich liegt am See", RegisterOptions::default()).await.unwrap();
    vaults.client().recover("Zu\u{308}rich liegt am\u{a0}See", RecoverOptions::default()).await.unwrap();
    let before = vaults.state().requests;
    for bad in ["", "bell\u{7}"] {
        let e = vaults.client().recover(bad, RecoverOptions::default()).await.unwrap_err();
        assert!(matches!(e, Error::PasswordRefused(_)));
    }
    assert_eq!(vaults.state().requests, before);
}

#[test]
fn futures_of_the_sdk_can_move_between_threads() {
    fn send<T: Send>(_: &T) {}
    let vaults = MemoryFleet::new();
    let client = vaults.client();
    send(&client.recover("x", RecoverOptions::default()));
    send(&client.register("x", RegisterOptions::default()));
    send(&client.status());
    send(&client.change_password("x", "y", &[], RecoverOptions::default()));
}
