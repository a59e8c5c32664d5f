//! Delete, change of password, the newest backup's name.

use std::time::Duration;

use bkv_client::backup::{Series, expect, newest};
use bkv_client::{BackupKey, Client, Error, KeyName, LedgerName, Note, RecoverOptions, State, Zeroizing};
use bkv_core::id::Hash;
use bkv_stream::Header;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::keys::START;
use crate::memory_fleet::state::TOKEN;
use crate::memory_fleet::{Cut, MemoryFleet, Refuses};
use crate::recover::{PASSWORD, registered};

#[tokio::test]
async fn s16_delete_needs_the_owner_and_is_done_once() {
    for cut in [None, Some(Cut::Before), Some(Cut::After), Some(Cut::Silent)] {
        let (vaults, key) = registered().await;
        let e = vaults.client().delete(&BackupKey::from_bytes(&[1; 32])).await.unwrap_err();
        assert_eq!(e, Error::NotOwner);
        assert_eq!(vaults.state().account_state(), State::Live);
        if let Some(cut) = cut {
            vaults.state().cut(1, cut);
        }
        let deleted = vaults.client().delete(&BackupKey::from_bytes(&key)).await.unwrap();
        assert_eq!((deleted.receipt.kind.name(), deleted.not_followed.len()), ("deleted", 0));
        assert_eq!(vaults.state().account_state(), State::Deleted);
        let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
        assert_ne!(e, Error::LastTryDeclined);
        assert_eq!(vaults.state().charged, 0);
    }
}

/// When the signed Deletes expire that any vault has seen.
fn expiries(vaults: &MemoryFleet) -> Vec<u64> {
    let state = vaults.state();
    let deletes = state.log.iter().filter_map(|r| match &r.operation {
        Some(Operation::Delete(d)) => Some(d.owner.as_ref().unwrap().expires_ms),
        _ => None,
    });
    deletes.collect()
}

/// S16: a rooted leader claims a later time and keeps the signed Delete back. It must not be able to use the signature then.
#[tokio::test]
async fn s16_a_leader_whose_clock_is_ahead_gets_no_signature_for_later() {
    const MINUTE: u64 = 60_000;
    for ahead in [9, 366 * 24 * 60] {
        let (vaults, key) = registered().await;
        vaults.state().ahead_ms = ahead * MINUTE;
        vaults.client().delete(&BackupKey::from_bytes(&key)).await.unwrap();
        assert_eq!(expiries(&vaults), [START + 10 * MINUTE]);
    }
}

/// S16: neither one region far behind nor this device's own clock makes the owner's signature void.
#[tokio::test]
async fn s16_a_wrong_clock_of_one_region_or_of_the_device_voids_no_signature() {
    const MINUTE: u64 = 60_000;
    let (vaults, key) = registered().await;
    vaults.state().behind_ms.insert(2, START);
    // Boot certificates are valid for hours before and after: the device's clock may be off by minutes.
    for off in [START - 30 * MINUTE, START + 30 * MINUTE] {
        let client = Client::new(vaults.fleet(), vaults.runtime_at(off), Zeroizing::new(TOKEN.into()));
        let newest = LedgerName { counter: off, hash: Hash([1; 32]) };
        client.name_file(&BackupKey::from_bytes(&key), newest).await.unwrap();
    }
    vaults.client().delete(&BackupKey::from_bytes(&key)).await.unwrap();
    assert_eq!(expiries(&vaults), [START + 10 * MINUTE]);
}

#[tokio::test]
async fn a_change_of_password_keeps_the_key_and_ends_the_old_password() {
    let (vaults, key) = registered().await;
    let new = "quite another pass phrase";
    let e = vaults
        .client()
        .change_password(PASSWORD, "12345678", &[], RecoverOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(e, Error::PasswordRefused(_)));
    assert_eq!(vaults.state().charged, 0, "a bad new password costs nothing");
    vaults.client().change_password(PASSWORD, new, &[], RecoverOptions::default()).await.unwrap();
    let e = vaults.client().recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert!(matches!(e, Error::WrongPassword { .. }));
    assert_eq!(vaults.client().recover(new, RecoverOptions::default()).await.unwrap().key.as_bytes(), &key);
}

/// S29: the vault sends a new device the name of the newest backup. The client reports an older one as a rollback.
#[tokio::test]
async fn s29_an_older_backup_than_the_owner_named_is_a_rollback() {
    let (vaults, key) = registered().await;
    let (key, client) = (BackupKey::from_bytes(&key), vaults.client());
    let (account, lineage) = client.account().await.unwrap();
    let series = Series::new(&vaults.runtime(), lineage, account);
    let first = Header::new(series.next(None, 1)).unwrap();
    client.backed_up(&key, &first).await.unwrap();
    let name = KeyName::new(&key, &lineage, &account);
    let known = client.fleet().memory().load().unwrap().newest(&name);
    let second = Header::new(series.next(known, 2)).unwrap();
    client.backed_up(&key, &second).await.unwrap();
    let phone = vaults.client();
    let new_device = phone.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    // The new device saves it, so it detects a rollback also when it can't reach any vault.
    let remembered = phone.fleet().memory().load().unwrap();
    let kept = remembered.newest(&name).unwrap();
    assert_eq!((kept.sequence, kept.hash), (2, *second.hash()));
    // What it saved applies neither to another account nor to another key of this one.
    let other = KeyName::new(&key, &lineage, &bkv_client::AccountId([9; 32]));
    assert_eq!(remembered.newest(&other), None);
    let later_key = KeyName::new(&BackupKey::from_bytes(&[9; 32]), &lineage, &account);
    assert_eq!(remembered.newest(&later_key), None);
    let named = new_device.newest_file().unwrap();
    assert_eq!((named.counter, named.hash), (2, Hash(*second.hash())));
    let must_be = expect(&lineage, &account, newest(Some(named), None));
    assert!(must_be.check(&second).is_ok());
    assert!(matches!(must_be.check(&first), Err(bkv_stream::Error::Rollback { found: 1, known: 2 })));
}

/// S29: a rooted leader hands the key out and drops the question that follows. The device must not forget to ask which backup is the newest.
#[tokio::test]
async fn s29_a_leader_that_drops_the_question_after_finish_hides_no_backup() {
    for unproposed in [0, u32::MAX] {
        let (vaults, key) = registered().await;
        let (key, client) = (BackupKey::from_bytes(&key), vaults.client());
        let newest = LedgerName { counter: 7, hash: Hash([7; 32]) };
        client.name_file(&key, newest).await.unwrap();
        let (account, lineage) = client.account().await.unwrap();
        let phone = vaults.client();
        let what = |o: &Operation| matches!(o, Operation::Attest(_));
        vaults.state().refuses = Some(Refuses { what, code: Code::Unavailable, times: u32::MAX });
        vaults.state().unproposed = unproposed;
        let recovered = phone.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
        assert_eq!(recovered.named, None);
        vaults.state().refuses = None;
        let mut uncounted = recovered.uncounted.expect("t regions have signed nothing");
        let counted = phone.count(&mut uncounted, Duration::from_secs(1)).await;
        assert_eq!(counted.is_ok(), unproposed == 0);
        assert_eq!(uncounted.named.unwrap()[0].ledger, newest);
        let name = KeyName::new(&key, &lineage, &account);
        let kept = phone.fleet().memory().load().unwrap().newest(&name);
        assert_eq!(kept.map(|kept| (kept.sequence, kept.hash)), Some((7, [7; 32])));
    }
}

/// S29: the same if the key is registered anew at once, which gives the tries back without a count.
#[tokio::test]
async fn s29_a_renewal_does_not_hide_the_newest_backup() {
    let (vaults, key) = registered().await;
    let client = vaults.client();
    let newest = LedgerName { counter: 7, hash: Hash([7; 32]) };
    client.name_file(&BackupKey::from_bytes(&key), newest).await.unwrap();
    vaults.state().shard.account_mut().lifetime_failures = 12;
    let what = |o: &Operation| matches!(o, Operation::Attest(_));
    vaults.state().refuses = Some(Refuses { what, code: Code::Unavailable, times: 1 });
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert!(matches!(&recovered.notes[..], [Note::Renewed(_)]), "{:?}", recovered.notes);
    assert_eq!(recovered.named, None);
    let mut uncounted = recovered.uncounted.unwrap();
    client.count(&mut uncounted, recovered.time_left).await.unwrap();
    assert_eq!(uncounted.named.unwrap()[0].ledger, newest);
    assert_eq!(vaults.state().seen(|o| matches!(o, Operation::Finish(_))), 1, "nothing is left to count");
}
