//! The writers' map: compare-and-swap, V for its owner only, and what a rooted leader can't change.

use std::time::Duration;

use bkv_client::{
    BackupKey, Client, Error, Hash, LedgerFault, LedgerName, RecoverOptions, RegisterOptions, Secret32,
    SetLedger, State, Timing, WriterId,
};
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::{Cut, MemoryFleet, Refuses};
use crate::recover::{PASSWORD, registered};

const WRITER: WriterId = WriterId([7; 16]);

/// The refusals that say something about the account's state.
const ABOUT_THE_ACCOUNT: [Code; 14] = [
    Code::NoKey,
    Code::Destroyed,
    Code::Deleted,
    Code::Locked,
    Code::Wait,
    Code::LastTryOpen,
    Code::Exhausted,
    Code::NoAttempt,
    Code::Owner,
    Code::OldLedger,
    Code::LastTry,
    Code::OtherLedger,
    Code::TooManyWriters,
    Code::VTooSoon,
];

/// Every refusal that there is.
fn codes() -> impl Iterator<Item = Code> {
    (0..100).filter_map(|code| Code::try_from(code).ok())
}

/// A client that gives up after a few repetitions.
fn impatient(client: &Client) -> Client {
    client.clone().with_timing(Timing { deadline: Duration::from_millis(200), ..Timing::default() })
}

fn name(counter: u8) -> LedgerName {
    LedgerName { counter: u64::from(counter), hash: Hash([counter; 32]) }
}

fn set(expected: Option<u8>, counter: u8, v: Option<u8>) -> SetLedger {
    SetLedger {
        writer: WRITER,
        expected: expected.map(|e| name(e).hash),
        ledger: name(counter),
        v: v.map(|v| Secret32::new([v; 32])),
    }
}

async fn scene() -> (MemoryFleet, BackupKey, Client) {
    let (vaults, key) = registered().await;
    let (key, client) = (BackupKey::from_bytes(&key), vaults.client());
    client.set_ledger(&key, &set(None, 1, Some(1))).await.unwrap();
    (vaults, key, client)
}

#[tokio::test]
async fn s29_a_twins_ledger_is_refused_with_what_is_named() {
    let (vaults, key, client) = scene().await;
    assert_eq!(client.named(&WRITER).await.unwrap(), Some(name(1)));
    assert_eq!(client.named(&WriterId([8; 16])).await.unwrap(), None);
    for (expected, counter) in [(None, 2), (Some(9), 2), (Some(1), 1)] {
        let e = client.set_ledger(&key, &set(expected, counter, None)).await.unwrap_err();
        assert_eq!(e, LedgerFault::Refused { named: Some(name(1)) });
    }
    // The twin is faster: the vault refuses, and t regions sign what it named.
    vaults.state().twin_ledger = Some(name(5));
    let e = client.set_ledger(&key, &set(Some(1), 2, None)).await.unwrap_err();
    assert_eq!(e, LedgerFault::Refused { named: Some(name(5)) });
    // With lost answers a repetition does the same once.
    for cut in [Cut::Before, Cut::After, Cut::Silent] {
        let (vaults, key, client) = scene().await;
        vaults.state().cut(1, cut);
        client.set_ledger(&key, &set(Some(1), 2, None)).await.unwrap();
        assert_eq!(client.named(&WRITER).await.unwrap(), Some(name(2)));
    }
    let stranger = BackupKey::from_bytes(&[3; 32]);
    let e = client.set_ledger(&stranger, &set(Some(5), 6, None)).await.unwrap_err();
    assert_eq!(e, LedgerFault::KeyGone(Error::NotOwner));
}

/// S54: the vaults give V to whoever signs with the owner key over this channel, or proves the password.
#[tokio::test]
async fn s54_v_comes_to_its_owner_only() {
    let (vaults, key, client) = scene().await;
    client.set_ledger(&key, &set(Some(1), 2, Some(2))).await.unwrap();
    let read = client.read_ledgers(&key).await.unwrap();
    assert_eq!(read.kept_until, None);
    let [writer] = &read.writers[..] else { panic!("{read:?}") };
    assert_eq!((writer.id, writer.ledger), (WRITER, name(2)));
    assert_eq!(writer.v, Some(Secret32::new([2; 32])));
    assert_eq!(writer.before.as_ref().unwrap().v, Secret32::new([1; 32]));
    // A token without the key gets hashes only.
    let stranger = BackupKey::from_bytes(&[3; 32]);
    assert_eq!(client.read_ledgers(&stranger).await.unwrap_err(), Error::NotOwner);
    // A signature that an attacker saw on another channel.
    let seen = vaults.state().log.iter().rev().find_map(|r| match &r.operation {
        Some(Operation::ReadLedgers(r)) => Some(r.signature.clone()),
        _ => None,
    });
    client.read_ledgers(&key).await.unwrap();
    let again = vaults.state().log.iter().rev().find_map(|r| match &r.operation {
        Some(Operation::ReadLedgers(r)) => Some(r.signature.clone()),
        _ => None,
    });
    assert_ne!(seen, again, "each channel needs a signature of its own");
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.writers, Some(read.writers));
}

/// S54: a rooted leader can't make the client take another V or another ledger than t regions sign.
#[tokio::test]
async fn s54_another_v_than_the_regions_sign_is_not_taken() {
    let (vaults, key, client) = scene().await;
    vaults.state().other_v = true;
    let e = client.read_ledgers(&key).await.unwrap_err();
    assert!(matches!(e, Error::RegionAnsweredWrongly(_)), "{e:?}");
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.writers, None);
    assert_eq!(recovered.named.unwrap()[0].ledger, name(1), "t regions have signed it");
    assert_eq!(recovered.key.as_bytes(), key.as_bytes(), "the key is not lost by it");
}

#[tokio::test]
async fn s54_v_changes_once_in_seven_days_and_can_be_taken_back() {
    let (_vaults, key, client) = scene().await;
    client.set_ledger(&key, &set(Some(1), 2, Some(2))).await.unwrap();
    let until = client.writers().await.unwrap()[0].before.unwrap().1;
    let e = client.set_ledger(&key, &set(Some(2), 3, Some(3))).await.unwrap_err();
    assert_eq!(e, LedgerFault::NotNow { until });
    client.set_ledger(&key, &set(Some(2), 3, Some(1))).await.unwrap();
    assert_eq!(client.read_ledgers(&key).await.unwrap().writers[0].v, Some(Secret32::new([1; 32])));
}

#[tokio::test]
async fn s54_the_seventeenth_writer_is_refused_with_the_list() {
    let (_vaults, key, client) = scene().await;
    let one = |n: u8| SetLedger { writer: WriterId([n; 16]), v: None, ..set(None, 1, None) };
    for n in 100..115 {
        client.set_ledger(&key, &one(n)).await.unwrap();
    }
    let e = client.set_ledger(&key, &one(115)).await.unwrap_err();
    let LedgerFault::TooManyWriters(writers) = e else { panic!("{e:?}") };
    assert_eq!((writers.len(), writers[0].id), (16, WRITER));
    // A forgotten one goes later. The client reports until when it can be taken back.
    client.forget_writer(&key, &WRITER).await.unwrap();
    assert!(client.writers().await.unwrap()[0].forgotten.is_some());
    client.forget_writer(&key, &WRITER).await.unwrap();
    client.set_ledger(&key, &set(Some(1), 2, None)).await.unwrap();
    assert_eq!(client.writers().await.unwrap()[0].forgotten, None);
}

/// S54: the key is deleted, and its owner still opens what is kept. Nobody else learns which writers there were.
#[tokio::test]
async fn s54_the_map_of_a_deleted_key_is_its_owners_until_it_goes() {
    let (vaults, key, client) = scene().await;
    let writers = client.read_ledgers(&key).await.unwrap().writers;
    client.delete(&key).await.unwrap();
    assert_eq!(client.writers().await.unwrap(), []);
    assert_eq!(client.named(&WRITER).await.unwrap_err(), LedgerFault::KeyGone(Error::Deleted));
    let kept = client.read_ledgers(&key).await.unwrap();
    assert!(kept.kept_until.is_some());
    assert_eq!(kept.writers, writers);
    let stranger = BackupKey::from_bytes(&[3; 32]);
    assert_eq!(client.read_ledgers(&stranger).await.unwrap_err(), Error::Deleted);
    vaults.state().other_v = true;
    let e = client.read_ledgers(&key).await.unwrap_err();
    assert!(matches!(e, Error::RegionAnsweredWrongly(_)), "{e:?}");
    vaults.state().other_v = false;
    // One region's refusal is no proof that there is no such map.
    for code in ABOUT_THE_ACCOUNT {
        let what = |o: &Operation| matches!(o, Operation::ReadLedgers(_));
        vaults.state().refuses = Some(Refuses { what, code, times: u32::MAX });
        let e = impatient(&client).read_ledgers(&key).await.unwrap_err();
        assert!(matches!(e, Error::VaultUnreachable(_)), "{code:?}: {e:?}");
    }
    vaults.state().refuses = None;
    // The same key again has its map again.
    let options = RegisterOptions { key: Some(&key), ..RegisterOptions::default() };
    client.register("another pass phrase of hers", options).await.unwrap();
    assert_eq!(client.read_ledgers(&key).await.unwrap().writers, writers);
    assert_eq!(client.status().await.unwrap().state, State::Live);
}

#[tokio::test]
async fn s54_the_map_survives_a_change_of_password() {
    let (_vaults, key, client) = scene().await;
    let before = client.read_ledgers(&key).await.unwrap();
    let new = "quite another pass phrase";
    client.change_password(PASSWORD, new, &[], RecoverOptions::default()).await.unwrap();
    assert_eq!(client.read_ledgers(&key).await.unwrap(), before);
    let recovered = client.recover(new, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.writers, Some(before.writers));
}

/// S54: a rooted leader claims that the key is gone, or that another one is registered. Only t regions can say so: else the device would give its backups up.
#[tokio::test]
async fn s54_one_regions_refusal_is_no_end_of_the_key() {
    let (vaults, key, client) = scene().await;
    let client = impatient(&client);
    let refused: [fn(&Operation) -> bool; 3] = [
        |o| matches!(o, Operation::Open(_)),
        |o| matches!(o, Operation::Attest(_)),
        |o| matches!(o, Operation::SetLedger(_) | Operation::ReadLedgers(_)),
    ];
    let mut counter = 1;
    for (what, code) in refused.into_iter().flat_map(|what| codes().map(move |code| (what, code))) {
        let about_the_account = ABOUT_THE_ACCOUNT.contains(&code);
        let times: &[u32] = if about_the_account { &[1, u32::MAX] } else { &[1] };
        for &times in times {
            let refuses = || Some(Refuses { what, code, times });
            vaults.state().refuses = refuses();
            let set = client.set_ledger(&key, &set(Some(counter), counter + 1, None)).await;
            if times == 1 && about_the_account {
                assert!(set.is_ok(), "a later answer counts: {code:?}: {set:?}");
            }
            assert!(matches!(set, Ok(_) | Err(LedgerFault::Unreachable(_))), "{code:?}: {set:?}");
            vaults.state().refuses = refuses();
            let named = client.named(&WRITER).await;
            assert!(matches!(named, Ok(_) | Err(LedgerFault::Unreachable(_))), "{code:?}: {named:?}");
            vaults.state().refuses = refuses();
            let e = client.read_ledgers(&key).await.err();
            let gone = |e: &Error| {
                matches!(
                    e,
                    Error::NoKey | Error::Destroyed | Error::Deleted | Error::NotOwner | Error::Locked
                )
            };
            assert!(!e.as_ref().is_some_and(gone), "{code:?}: {e:?}");
            assert!(times > 1 || !about_the_account || e.is_none(), "{code:?}: {e:?}");
            vaults.state().refuses = None;
            let named = client.named(&WRITER).await.unwrap().unwrap();
            counter = u8::try_from(named.counter).unwrap();
        }
    }
}

/// The same for a status and a recovery: from a refusal of `Open` or `Attest` they take no end of the key, and a repetition charges no try.
#[tokio::test]
async fn s54_one_regions_refusal_to_open_or_attest_ends_no_recovery() {
    for code in ABOUT_THE_ACCOUNT {
        let (vaults, key) = registered().await;
        let client = impatient(&vaults.client());
        let open = |times| Some(Refuses { what: |o| matches!(o, Operation::Open(_)), code, times });
        vaults.state().refuses = open(u32::MAX);
        let e = client.status().await.unwrap_err();
        assert!(matches!(e, Error::VaultUnreachable(_)), "{code:?}: {e:?}");
        let e = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
        assert!(matches!(e.cause(), Error::VaultUnreachable(_)), "{code:?}: {e:?}");
        assert_eq!(vaults.state().charged, 0);
        vaults.state().refuses = open(1);
        let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
        assert_eq!((recovered.key.as_bytes(), vaults.state().charged), (&key, 1));
        // A wrong password is a wrong password, whatever the leader claims of the key.
        let attest = |o: &Operation| matches!(o, Operation::Attest(_));
        vaults.state().refuses = Some(Refuses { what: attest, code, times: u32::MAX });
        let e = client.recover("wrong password indeed", RecoverOptions::default()).await.unwrap_err();
        assert_eq!(e, Error::WrongPassword { tries_left: 2, next_allowed: None }, "{code:?}");
        assert_eq!(vaults.state().charged, 2);
    }
}

/// The same for a success that is counted again.
#[tokio::test]
async fn s54_one_regions_refusal_ends_no_counting() {
    for code in ABOUT_THE_ACCOUNT {
        let (vaults, _) = registered().await;
        let client = vaults.client();
        vaults.state().unproposed = 1;
        let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
        let mut uncounted = recovered.uncounted.unwrap();
        let finish = |times| Some(Refuses { what: |o| matches!(o, Operation::Finish(_)), code, times });
        vaults.state().refuses = finish(u32::MAX);
        let e = client.count(&mut uncounted, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(e, Error::RegionsDisagree(_)), "{code:?}: {e:?}");
        vaults.state().refuses = finish(1);
        client.count(&mut uncounted, Duration::from_secs(60)).await.unwrap();
        assert_eq!(vaults.state().tries_left(), 3);
    }
}

/// Another device changes the password between signing and applying: the signature is of the old generation. The client signs anew.
#[tokio::test]
async fn s29_a_change_of_password_in_between_only_makes_the_client_sign_anew() {
    let (vaults, key, client) = scene().await;
    vaults.state().next_generation = true;
    client.set_ledger(&key, &set(Some(1), 2, None)).await.unwrap();
    assert_eq!(client.named(&WRITER).await.unwrap(), Some(name(2)));
}
