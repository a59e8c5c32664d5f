//! S06: which documents and keys the client accepts.

use std::sync::Arc;

use bkv_client::{
    Distrust, Error, FileMemory, Fleet, KeyName, Memory as _, Note, RecoverOptions, Remembered, Time,
};
use bkv_wire::documents::DocumentError;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::outer;
use proptest::prelude::*;
use prost::Message as _;

use crate::memory_fleet::{MemoryFleet, keys};
use crate::recover::{PASSWORD, registered};

fn why(e: Error) -> DocumentError {
    match e {
        Error::FleetNotTrusted(Distrust::Document(why)) => why,
        e => panic!("{e:?}"),
    }
}

#[tokio::test]
async fn s06_documents_that_the_pinned_root_did_not_sign_are_refused() {
    let vaults = MemoryFleet::new();
    let (list, policy) = vaults.documents();
    for signers in [&[][..], &[2], &[2, 3]] {
        vaults.state().bundle = keys::bundle(&list, &policy, signers);
        let e = why(vaults.client().status().await.unwrap_err());
        assert!(matches!(e, DocumentError::Signatures { got: 0, .. }), "{e:?}");
    }
    assert_eq!(vaults.state().connections, 0, "nobody is spoken to before that");
}

#[tokio::test]
async fn s06_an_expired_early_or_foreign_bundle_is_refused() {
    let vaults = MemoryFleet::new();
    let (list, policy) = vaults.documents();
    let mut old = list.clone();
    old.not_after = Time(keys::START - 1);
    let mut early = policy.clone();
    early.not_before = Time(keys::START + 1);
    let mut foreign = list.clone();
    foreign.era = bkv_core::id::Era(2);
    for (list, policy, want) in [
        (&old, &policy, "expired"),
        (&list, &early, "not valid before"),
        (&foreign, &policy, "another fleet"),
    ] {
        vaults.state().bundle = keys::bundle(list, policy, &[1]);
        let e = why(vaults.client().status().await.unwrap_err());
        assert!(e.to_string().contains(want), "{e}");
    }
}

#[tokio::test]
async fn s06_an_older_bundle_than_one_seen_is_refused_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.json");
    let vaults = MemoryFleet::new();
    let (list, policy) = vaults.documents();
    let newer = |number: u64, policy_number: u64| {
        let (mut l, mut p) = (list.clone(), policy.clone());
        (l.number, p.number) = (number, policy_number);
        keys::bundle(&l, &p, &[1])
    };
    let fleet = || Fleet::new(keys::root(1), FileMemory::new(&path));
    let memory = FileMemory::new(&path);
    let key = bkv_client::BackupKey::from_bytes(&[1; 32]);
    let name = KeyName::new(&key, &keys::root(1).lineage(), &bkv_client::AccountId([1; 32]));
    let known = bkv_stream::Known { sequence: 7, hash: [7; 32] };
    memory.update(&mut |seen| seen.saw(&name, known)).unwrap();
    fleet().accept(&newer(5, 3), Time(keys::START)).unwrap();
    for (l, p, kind) in [(4, 3, "admission list"), (5, 2, "policy")] {
        let e = why(fleet().accept(&newer(l, p), Time(keys::START)).unwrap_err());
        assert!(matches!(e, DocumentError::Older { kind: k, .. } if k == kind), "{e:?}");
    }
    fleet().accept(&newer(5, 3), Time(keys::START)).unwrap();
    fleet().accept(&newer(6, 3), Time(keys::START)).unwrap();
    let remembered = memory.load().unwrap();
    assert_eq!((remembered.admission, remembered.newest(&name)), (6, Some(known)));
}

#[tokio::test]
async fn s06_a_vault_whose_key_is_not_on_the_list_is_refused_before_the_token_leaves() {
    let (vaults, _) = registered().await;
    vaults.state().stranger = Some(keys::stranger());
    let before = vaults.state().requests;
    let e = vaults.client().status().await.unwrap_err();
    assert_eq!(e, Error::FleetNotTrusted(Distrust::NotAdmitted));
    assert_eq!(vaults.state().requests, before, "no request was ever decrypted");
}

#[tokio::test]
async fn s49_one_vault_whose_key_is_not_on_the_list_does_not_end_an_operation() {
    let (vaults, _) = registered().await;
    {
        let mut state = vaults.state();
        (state.stranger, state.strangers) = (Some(keys::stranger()), 2);
    }
    vaults.client().status().await.unwrap();
}

/// With a bound token the client waits for the handshake before it asks, and sees the stranger's key there.
#[tokio::test]
async fn s49_a_stranger_does_not_end_an_operation_with_a_bound_token() {
    let (vaults, key) = registered().await;
    {
        let mut state = vaults.state();
        (state.stranger, state.stranger_regions) = (Some(keys::stranger()), vec!["region-2".into()]);
        state.log.clear();
    }
    let recovered = vaults.bound_client().recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    let state = vaults.state();
    let unproved = |o: &Operation| match o {
        Operation::Open(o) => o.proof.is_none(),
        Operation::Begin(b) => b.proof.is_none(),
        _ => false,
    };
    assert_eq!(state.seen(unproved), 0);
    assert!(state.seen(|o| matches!(o, Operation::Begin(_))) > 0);
}

/// A rooted region shows a key of its own to every stream that ChatD relays to it, because it claims to lead. The client asks for another region.
#[tokio::test]
async fn s49_a_region_that_always_shows_another_key_ends_no_operation_and_is_named() {
    let (vaults, key) = registered().await;
    {
        let mut state = vaults.state();
        (state.stranger, state.stranger_regions) = (Some(keys::stranger()), vec!["region-2".into()]);
    }
    let client = vaults.client();
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    assert!(
        matches!(&recovered.notes[..], [Note::Wrong(w)] if w.region == "region-2"),
        "{:?}",
        recovered.notes
    );
    assert_eq!(client.status().await.unwrap().wrong.len(), 1);
    assert_eq!(vaults.state().made_from_password(), 2, "one KE1 and one Finish");
}

/// A ChatD shows a key of its own three times, each time in the name of another region. If the client avoided all of them, no region could serve it for a minute.
#[tokio::test]
async fn s49_a_client_never_avoids_all_regions() {
    let (vaults, key) = registered().await;
    {
        let mut state = vaults.state();
        (state.stranger, state.strangers) = (Some(keys::stranger()), 3);
        state.stranger_regions = (1..=3).map(|slot| format!("region-{slot}")).collect();
    }
    let client = vaults.client();
    let recovered = client.recover(PASSWORD, RecoverOptions::default()).await.unwrap();
    assert_eq!(recovered.key.as_bytes(), &key);
    assert_eq!(vaults.state().most_avoided, 2);
}

/// The bundle of a lying region: the true one, signed by another key.
fn lie(vaults: &MemoryFleet, region: &str) -> outer::Bundle {
    let (list, policy) = vaults.documents();
    let forged = outer::Bundle::decode(&keys::bundle(&list, &policy, &[2])[..]).unwrap();
    outer::Bundle { region: region.into(), ..forged }
}

#[tokio::test]
async fn s49_documents_of_one_region_that_do_not_hold_are_passed_over_and_named() {
    let (vaults, _) = registered().await;
    let junk =
        outer::Bundle { admission: b"junk"[..].into(), region: "us-east".into(), ..Default::default() };
    vaults.state().wrong_bundles = vec![lie(&vaults, "eu-west"), junk];
    let status = vaults.client().status().await.unwrap();
    let named: Vec<&str> = status.wrong.iter().map(|w| w.region.as_str()).collect();
    assert_eq!(named, ["eu-west", "us-east"]);
}

#[tokio::test]
async fn s49_without_one_bundle_that_holds_the_first_region_is_named_and_the_questions_end() {
    let vaults = MemoryFleet::new();
    let lies = (0..50).map(|n| lie(&vaults, &format!("region-{n}"))).collect();
    vaults.state().wrong_bundles = lies;
    let e = vaults.client().status().await.unwrap_err();
    assert!(
        matches!(&e, Error::FleetNotTrusted(Distrust::Region { region, .. }) if region == "region-0"),
        "{e:?}"
    );
    assert!(vaults.state().bundles_served <= 9, "a bounded number");
    // A region that a path can't contain is not asked around.
    let odd = lie(&vaults, "a?b=c");
    vaults.state().wrong_bundles = vec![odd];
    let e = vaults.client().status().await.unwrap_err();
    assert!(matches!(&e, Error::FleetNotTrusted(Distrust::Document(_))), "{e:?}");
}

#[tokio::test]
async fn a_newer_list_is_fetched_when_the_fleet_obeys_one() {
    let (vaults, _) = registered().await;
    let client = vaults.client_with(vaults.fleet());
    client.status().await.unwrap();
    {
        let mut state = vaults.state();
        let mut list = state.admission().clone();
        list.number = 2;
        state.obey(&list);
    }
    client.status().await.unwrap();
    assert_eq!(client.trusted().await.unwrap().admission().number, 2);
    let served = vaults.state().bundles_served;
    client.status().await.unwrap();
    assert_eq!(vaults.state().bundles_served, served, "not fetched without need");
}

#[test]
fn memory_is_private_survives_and_a_foreign_file_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.json");
    let memory = FileMemory::new(&path);
    assert_eq!(memory.load().unwrap(), Remembered::default());
    let new = Remembered { admission: 3, ..Default::default() };
    memory.save(&new).unwrap();
    assert_eq!(memory.load().unwrap(), new);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing left beside it");
    std::fs::write(&path, "not ours").unwrap();
    let vaults = MemoryFleet::new();
    let fleet = Fleet::new(keys::root(1), FileMemory::new(&path));
    let bundle = vaults.state().bundle.clone();
    assert!(matches!(fleet.accept(&bundle, Time(keys::START)), Err(Error::Memory(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"not ours");
}

/// S04: a process that has called `harden` leaves no core. Run in a child, because it can't be undone.
#[test]
fn s04_core_dumps_are_off() {
    if std::env::var_os("BKV_TEST_HARDEN").is_some() {
        bkv_client::harden().unwrap();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().filter(|w| *w == "0").count(), 2, "{core}");
        return;
    }
    let me = std::env::current_exe().unwrap();
    let child = std::process::Command::new(me)
        .args(["--exact", "trust::s04_core_dumps_are_off"])
        .env("BKV_TEST_HARDEN", "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn s38_arbitrary_and_changed_bundles_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..4000, bit in 0u8..8) {
        let vaults = Arc::new(MemoryFleet::new());
        let fleet = vaults.fleet();
        prop_assert!(fleet.accept(&bytes, Time(keys::START)).is_err());
        let mut changed = vaults.state().bundle.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        // Protobuf may skip an unknown field: the test requires only that no other content is accepted.
        if let Ok(trusted) = fleet.accept(&changed, Time(keys::START)) {
            let state = vaults.state();
            prop_assert_eq!(&trusted.admission().members, &state.admission().members);
            prop_assert_eq!(&trusted.policy().attempts, &state.policy().attempts);
        }
    }
}
