//! The last try: the device keeps it and goes on with it after a crash. The user may take as long to answer as needed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bkv_client::{
    BackupKey, Client, Error, FileLastTry, KeepLastTry, LastTry, LastTryWarning, RecoverOptions,
    RegisterOptions, State, Timing, Zeroizing,
};
use bkv_wire::proto::inner::request::Operation;

use crate::memory_fleet::keys::START;
use crate::memory_fleet::state::TOKEN;
use crate::memory_fleet::{Cut, MemoryFleet, VirtualClock};
use crate::recover::{PASSWORD, registered};

const WRONG: &str = "wrong password indeed";

fn file(folder: &Path) -> FileLastTry {
    FileLastTry::new(folder.join("last-try.json"))
}

fn keeping(keep: &FileLastTry) -> RecoverOptions<'_> {
    RecoverOptions { last_try: LastTry::Use, keep: Some(keep), ..RecoverOptions::default() }
}

fn agrees(_: &LastTryWarning) -> bool {
    true
}

/// Asks for the tries left before the first `Begin`.
fn asking(keep: &FileLastTry) -> RecoverOptions<'_> {
    RecoverOptions { last_try: LastTry::Ask(&agrees), keep: Some(keep), ..RecoverOptions::default() }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().count() == 0
}

/// The id of each `Begin` so far.
fn begins(vaults: &MemoryFleet) -> Vec<bytes::Bytes> {
    let state = vaults.state();
    let ids = state.log.iter().filter_map(|r| match &r.operation {
        Some(Operation::Begin(b)) => Some(b.attempt.clone()),
        _ => None,
    });
    ids.collect()
}

/// One try is left.
async fn on_the_last() -> (MemoryFleet, [u8; 32]) {
    let (vaults, key) = registered().await;
    for _ in 0..2 {
        vaults.client().recover(WRONG, RecoverOptions::default()).await.unwrap_err();
    }
    assert_eq!(vaults.state().tries_left(), 1);
    (vaults, key)
}

/// The device began its last try, and its process died before there was an answer. `begun`: the vault has charged it.
async fn crashed(begun: bool) -> (MemoryFleet, [u8; 32], tempfile::TempDir) {
    let (vaults, key) = on_the_last().await;
    let folder = tempfile::tempdir().unwrap();
    let cut = if begun { Cut::After } else { Cut::Before };
    vaults.state().last_begin = Some(cut);
    let e = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap_err();
    assert!(matches!(e, Error::Unfinished { .. }), "{e:?}");
    vaults.state().last_begin = None;
    let want = if begun { State::LastTry } else { State::Live };
    assert_eq!(vaults.state().account_state(), want);
    assert!(!is_empty(folder.path()));
    (vaults, key, folder)
}

#[tokio::test]
async fn s09_a_last_try_goes_on_after_a_crash_and_is_wiped_at_its_end() {
    for begun in [true, false] {
        let (vaults, key, folder) = crashed(begun).await;
        let charged = vaults.state().charged;
        // Another process of the same device.
        let recovered = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap();
        assert_eq!(recovered.key.as_bytes(), &key);
        let state = vaults.state();
        assert_eq!((state.charged, state.tries_left()), (charged + u32::from(!begun), 3));
        assert!(is_empty(folder.path()));
    }
}

/// The `Begin` did not arrive. The password may be another one now, so the user is asked again.
#[tokio::test]
async fn s09_a_kept_last_try_that_was_not_begun_asks_again() {
    let (vaults, _, folder) = crashed(false).await;
    let keep = file(folder.path());
    let options = RecoverOptions { keep: Some(&keep), ..RecoverOptions::default() };
    assert_eq!(vaults.client().recover(WRONG, options).await.unwrap_err(), Error::LastTryDeclined);
    let state = vaults.state();
    assert_eq!((state.charged, state.tries_left()), (2, 1));
}

/// A thief of the file and the token guesses.
#[tokio::test]
async fn s09_another_password_than_that_of_the_kept_last_try_is_refused_and_eight_are_enough() {
    let (vaults, _, folder) = crashed(true).await;
    for n in 0..8 {
        let guess = format!("{WRONG} {n}");
        let e = vaults.client().recover(&guess, keeping(&file(folder.path()))).await.unwrap_err();
        assert_eq!(e, Error::LastTryOtherPassword);
    }
    let e = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap_err();
    assert!(matches!(e, Error::LastTryOpen { .. }), "{e:?}");
    let state = vaults.state();
    assert_eq!((state.charged, state.made_from_password(), state.account_state()), (3, 0, State::LastTry));
}

#[tokio::test]
async fn s09_a_wrong_last_try_is_wiped() {
    let (vaults, _) = on_the_last().await;
    let folder = tempfile::tempdir().unwrap();
    let e = vaults.client().recover(WRONG, keeping(&file(folder.path()))).await.unwrap_err();
    assert_eq!(e, Error::Destroyed);
    assert!(is_empty(folder.path()));
}

/// Its id must not be used for an ordinary attempt: under it a thief of the file could guess without a limit.
#[tokio::test]
async fn s09_a_kept_last_try_that_has_ended_is_wiped_and_its_id_not_used() {
    let (vaults, key, folder) = crashed(true).await;
    let key = BackupKey::from_bytes(&key);
    let rescue = RegisterOptions { key: Some(&key), ..RegisterOptions::default() };
    vaults.client().register(PASSWORD, rescue).await.unwrap();
    let before = begins(&vaults);
    vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap();
    let after = begins(&vaults);
    assert!(after.len() > before.len() && after[before.len()..].iter().all(|id| !before.contains(id)));
    assert!(is_empty(folder.path()));
}

/// One region has not applied the newest attempts, and a rooted one signs the same. Together they are t. If the device believed them, it would wipe its file,
/// and the key would end at the deadline of the open try.
#[tokio::test]
async fn s09_a_liar_and_a_region_that_lags_wipe_no_open_last_try() {
    let (vaults, key) = registered().await;
    vaults.client().recover(WRONG, RecoverOptions::default()).await.unwrap_err();
    vaults.state().holds_back(3);
    vaults.client().recover(WRONG, RecoverOptions::default()).await.unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    vaults.state().last_begin = Some(Cut::After);
    vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap_err();
    vaults.state().last_begin = None;
    assert_eq!(vaults.state().account_state(), State::LastTry);

    vaults.state().leader = 0;
    vaults.state().signs_like(2, 3);
    let e = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap_err();
    assert!(matches!(e, Error::LastTryOpen { .. }), "{e:?}");
    assert!(!is_empty(folder.path()), "the file of an open last try was wiped");

    vaults.state().all_follow();
    let recovered = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    assert!(is_empty(folder.path()));
}

/// Another device recovers before the `Begin` arrives, so all tries are back. The kept try is over, and its file goes with this device's next success.
#[tokio::test]
async fn s09_a_kept_last_try_that_another_device_made_needless_is_wiped() {
    let (vaults, _, folder) = crashed(false).await;
    let options = RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() };
    vaults.client().recover(PASSWORD, options).await.unwrap();
    vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap();
    assert!(is_empty(folder.path()));
}

/// A rooted leader signs alone that one try is left, has the `Begin` charged and never answers. The file of an ordinary attempt would lock this device out: its
/// number is used, and the regions sign neither that a last try is open nor that one has ended.
#[tokio::test]
async fn s09_a_leader_that_alone_signs_one_try_left_makes_no_last_try() {
    let (vaults, key) = registered().await;
    let folder = tempfile::tempdir().unwrap();
    {
        let mut state = vaults.state();
        (state.claims_one_left, state.last_begin) = (Some(1), Some(Cut::After));
    }
    let recovered = vaults.client().recover(PASSWORD, asking(&file(folder.path()))).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    let state = vaults.state();
    assert_eq!(state.seen(|o| matches!(o, Operation::Begin(b) if b.may_be_last)), 0);
    assert!(is_empty(folder.path()));
}

/// All tries are back just before the `Begin`, so it begins an ordinary attempt, and the process dies. The file must not lock this device out, and its id must not
/// be used again.
#[tokio::test]
async fn s09_a_kept_attempt_that_was_no_last_try_is_wiped_and_its_id_not_used() {
    let (vaults, key) = on_the_last().await;
    let folder = tempfile::tempdir().unwrap();
    {
        let mut state = vaults.state();
        (state.rival_success, state.last_begin) = (true, Some(Cut::After));
    }
    let e = vaults.client().recover(PASSWORD, asking(&file(folder.path()))).await.unwrap_err();
    assert!(matches!(e, Error::Unfinished { .. }), "{e:?}");
    vaults.state().last_begin = None;
    assert_eq!(vaults.state().account_state(), State::Live);
    assert_eq!(vaults.state().tries_left(), 2);
    let before = begins(&vaults);
    let recovered = vaults.client().recover(PASSWORD, asking(&file(folder.path()))).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    let after = begins(&vaults);
    assert!(after.len() > before.len() && after[before.len()..].iter().all(|id| !before.contains(id)));
    assert!(is_empty(folder.path()));
}

/// The same with an answer to the `Begin`: t regions sign that tries are left. From then on nothing of the attempt is on the disk.
#[tokio::test]
async fn s09_the_answer_that_an_attempt_is_no_last_try_wipes_its_file() {
    let (vaults, _) = on_the_last().await;
    let folder = tempfile::tempdir().unwrap();
    {
        let mut state = vaults.state();
        (state.rival_success, state.junk_ke2) = (true, u32::MAX);
    }
    let e = vaults.client().recover(PASSWORD, asking(&file(folder.path()))).await.unwrap_err();
    assert!(matches!(e, Error::Unfinished { .. }), "{e:?}");
    assert!(is_empty(folder.path()), "an ordinary attempt is on the disk");
    assert_eq!(vaults.state().tries_left(), 2);
}

/// The kept try did not begin. All tries came back, and other devices used them until one was left.
async fn crashed_and_the_last_again() -> (MemoryFleet, [u8; 32], tempfile::TempDir) {
    let (vaults, key, folder) = crashed(false).await;
    vaults.state().succeeds();
    for _ in 0..2 {
        vaults.client().recover(WRONG, RecoverOptions::default()).await.unwrap_err();
    }
    assert_eq!(vaults.state().tries_left(), 1);
    (vaults, key, folder)
}

/// A leader held the `Begin` back. It begins the last try after all, with a later number than the file has.
#[tokio::test]
async fn s09_a_kept_last_try_that_began_late_goes_on() {
    let (vaults, key, folder) = crashed_and_the_last_again().await;
    let held = vaults.state().log.iter().find_map(|r| match &r.operation {
        Some(Operation::Begin(b)) if b.may_be_last => Some(b.clone()),
        _ => None,
    });
    vaults.state().begin(&held.unwrap());
    assert_eq!(vaults.state().account_state(), State::LastTry);
    let charged = vaults.state().charged;
    let recovered = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    assert_eq!(vaults.state().charged, charged);
    assert!(is_empty(folder.path()));
}

/// Another device has a last try open. The error names it and its end.
#[tokio::test]
async fn s09_a_last_try_of_another_device_is_reported_to_a_device_that_keeps_one() {
    let (vaults, _, folder) = crashed_and_the_last_again().await;
    vaults.state().last_begin = Some(Cut::After);
    let options = RecoverOptions { last_try: LastTry::Use, ..RecoverOptions::default() };
    vaults.client().recover(PASSWORD, options).await.unwrap_err();
    vaults.state().last_begin = None;
    assert_eq!(vaults.state().account_state(), State::LastTry);
    let until = vaults.state().shard.account().unwrap().pending.as_ref().unwrap().deadline;
    let e = vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap_err();
    assert!(matches!(e, Error::LastTryOpen { until: said } if said == until), "{e:?}");
    // The `Begin` of the kept try may still be under way.
    assert!(!is_empty(folder.path()));
}

/// A new process tells its user until when the last try can be gone on with, even if it reaches no vault. So the file has the deadline.
#[tokio::test]
async fn the_file_of_a_last_try_has_its_deadline() {
    for begun in [true, false] {
        let (vaults, _, folder) = crashed(begun).await;
        let until = file(folder.path()).load().unwrap().unwrap().until().0;
        let lasts = vaults.state().policy().attempts.last_try_ms;
        // This device's clock has passed a little between the start and the file.
        assert!((START + lasts..START + lasts + 60_000).contains(&until), "{until}");
    }
}

/// The answer to `Begin` names an earlier end than the policy in force: the record was registered under another one.
#[tokio::test]
async fn an_earlier_end_of_a_last_try_is_kept_and_a_later_one_is_not_believed() {
    for (moved, expected) in [(-1000, -1000), (1000, 0)] {
        let (vaults, _, folder) = crashed(true).await;
        let before = file(folder.path()).load().unwrap().unwrap().until().0;
        vaults.state().moves_deadline(moved);
        vaults.state().junk_ke2 = u32::MAX;
        vaults.client().recover(PASSWORD, keeping(&file(folder.path()))).await.unwrap_err();
        let after = file(folder.path()).load().unwrap().unwrap().until().0;
        let most = before.saturating_add_signed(expected);
        assert!(after <= most && after + 500 > most, "moved by {moved}: {before} to {after}");
    }
}

/// Every other attempt writes nothing down, also while it is open.
#[tokio::test]
async fn s09_no_other_attempt_is_kept() {
    #[derive(Debug)]
    struct Never;
    impl KeepLastTry for Never {
        fn load(&self) -> Result<Option<bkv_client::OpenLastTry>, bkv_client::MemoryError> {
            Ok(None)
        }
        fn keep(&self, _: &bkv_client::OpenLastTry) -> Result<(), bkv_client::MemoryError> {
            panic!("an ordinary attempt is written down")
        }
        fn wipe(&self) -> Result<(), bkv_client::MemoryError> {
            Ok(())
        }
    }
    let (vaults, _) = registered().await;
    for last_try in [LastTry::Use, LastTry::Decline] {
        let options = RecoverOptions { last_try, keep: Some(&Never), ..RecoverOptions::default() };
        vaults.client().recover(WRONG, options).await.unwrap_err();
        vaults.client().recover(PASSWORD, options).await.unwrap();
    }
}

fn client_with(vaults: &MemoryFleet, clock: Arc<VirtualClock>, deadline: u64) -> Client {
    let timing = Timing { deadline: Duration::from_secs(deadline), ..Timing::default() };
    let token = Zeroizing::new(TOKEN.into());
    Client::new(vaults.fleet(), vaults.runtime_with(clock), token).with_timing(timing)
}

/// The user thinks longer than the whole deadline, and the stream is gone by then.
#[tokio::test]
async fn the_time_of_the_question_does_not_count_against_the_deadline() {
    let (vaults, key) = on_the_last().await;
    let clock = VirtualClock::at(START);
    let client = client_with(&vaults, clock.clone(), 10);
    let state = vaults.clone();
    let ask = move |_: &LastTryWarning| {
        clock.pass(Duration::from_secs(600));
        state.state().cut(0, Cut::Before);
        true
    };
    let options = RecoverOptions { last_try: LastTry::Ask(&ask), ..RecoverOptions::default() };
    assert_eq!(client.recover(PASSWORD, options).await.unwrap().key.as_bytes(), &key);
}

/// Another device uses a try just before the `Begin`, and there is no time left to ask. Nothing is unreachable.
#[tokio::test]
async fn a_last_try_at_the_deadline_is_not_reported_as_an_unreachable_vault() {
    let (vaults, _) = registered().await;
    vaults.client().recover(WRONG, RecoverOptions::default()).await.unwrap_err();
    vaults.state().rival = true;
    let client = client_with(&vaults, VirtualClock::at(START), 0);
    let e = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap_err();
    assert_eq!(*e.cause(), Error::LastTryDeclined, "{e:?}");
    assert_eq!(vaults.state().tries_left(), 1);
}
