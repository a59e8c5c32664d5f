//! Live rows contain nothing of an ended key, and an attacker can't move rows to another place.
//!
//! Not covered, because it is not built: redb's free pages and older disk images still hold what was erased, under keys that the running token derives.
//! Storage epochs will end that (`docs/threat-model.md`, 'What is not stopped').

use std::fs;

use bkv_core::command::Command;
use bkv_vault::forensics::{ForensicsError, Seized};
use bkv_vault::store::{StoreError, Table};
use redb::{Database, ReadableDatabase as _, TableDefinition};

use crate::seized::{Moment, REGIONS, account, config, dir, vaults, vaults_after};

const ENDING: [&str; 3] = ["bob", "carol", "dave"];

/// Where in the live rows these bytes are.
fn holders(vault: &Seized, needle: &[u8]) -> Vec<Table> {
    let rows = vault.rows().unwrap();
    let holds = |hay: &[u8]| hay.windows(needle.len()).any(|w| w == needle);
    rows.iter().filter(|r| holds(&r.plain)).map(|r| r.table).collect()
}

/// Everything of an account's registration that must not outlive it, from the logs and the stores of all regions.
fn needles(subject: &str) -> Vec<(String, Vec<u8>)> {
    let all = vaults();
    let (shard, id, of) = account(&all[0], subject);
    let record = of.live.unwrap().record;
    let commands = all[0].log(shard).unwrap().into_iter().flat_map(|b| b.commands);
    let store = commands.into_iter().find_map(|c| match c {
        Command::Store(s) if s.record == record => Some(s),
        _ => None,
    });
    let store = store.unwrap();
    let mut found = vec![
        ("z".into(), store.z.expose().to_vec()),
        ("the ciphertext".into(), record.ciphertext.clone()),
        ("the upload".into(), record.upload.clone()),
    ];
    for sealed in &store.shares {
        found.push((format!("the share sealed to {}", sealed.slot), sealed.ct.clone()));
    }
    for vault in all {
        let share = vault.secrets(shard, &id, &record).unwrap().share.unwrap();
        found.push((format!("the share of {}", vault.slot().unwrap()), share.to_bytes().to_vec()));
        let kept = vault.kept(shard, &id, &record.reg_id).unwrap().unwrap();
        found.push((format!("what {} keeps, masked", vault.slot().unwrap()), kept));
    }
    found
}

/// The control: before the keys end, the scan finds what it must not find later.
pub(crate) fn s14_the_scan_finds_what_is_to_end() {
    for subject in ENDING {
        for (what, bytes) in needles(subject) {
            let in_clear = what.starts_with("the share of");
            let found: Vec<Table> = vaults().iter().flat_map(|v| holders(v, &bytes)).collect();
            assert_eq!(found.is_empty(), in_clear, "{what} of {subject}: {found:?}");
        }
    }
}

/// S13, S14: after exhaustion, after a registration over the old one, after deletion.
pub(crate) fn s13_s14_nothing_of_what_ended_is_in_any_live_row() {
    let ended = ENDING.map(|subject| {
        let reg_id = account(&vaults()[0], subject).2.live.unwrap().record.reg_id;
        (subject, reg_id, needles(subject))
    });
    assert!(ended.iter().all(|(_, _, needles)| needles.len() >= 12));
    for vault in vaults_after() {
        let slot = vault.slot().unwrap();
        for (subject, reg_id, needles) in &ended {
            for (what, bytes) in needles {
                let found = holders(vault, bytes);
                assert!(found.is_empty(), "{what} of {subject} in region {slot}: {found:?}");
            }
            let (shard, id, of) = account(vault, subject);
            assert!(vault.kept(shard, &id, reg_id).unwrap().is_none());
            assert!(of.live.is_none_or(|l| l.record.reg_id != *reg_id));
        }
        // No orphans: every kept row belongs to a record that is there. Unmasked, it is none of what ended.
        let kept = vault.rows().unwrap().iter().filter(|r| r.table == Table::Secret).count();
        let mut records = 0;
        for (shard, id, of) in vault.accounts().unwrap() {
            let live = of.live.map(|l| l.record);
            let stored = of.stored.map(|s| s.record);
            for record in live.into_iter().chain(stored) {
                records += 1;
                let secrets = vault.secrets(shard, &id, &record).unwrap();
                let share = secrets.share.unwrap().to_bytes().to_vec();
                let z = secrets.z.expose().to_vec();
                let mut old = ended.iter().flat_map(|(_, _, needles)| needles);
                assert!(old.all(|(_, bytes)| *bytes != share && *bytes != z));
            }
        }
        assert_eq!((kept, records), (2, 2), "alice's and carol's new one");
        // The control: the scan finds live keys.
        let alice = account(vault, "alice").2.live.unwrap().record;
        assert!(!holders(vault, &alice.ciphertext).is_empty());
    }
    // S13: the new generation has a key of its own.
    assert_eq!(account(&vaults_after()[0], "carol").2.generation.0, 2);
}

const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// S25: the same place in another vault's store, for every row that both have.
pub(crate) fn s25_a_row_opens_in_no_other_vaults_store() {
    let copied = |region: &str, name: &str| {
        let mut config = config(Moment::Before, region);
        let to = dir().join(name);
        fs::create_dir_all(&to).unwrap();
        fs::copy(config.data.join("vault.redb"), to.join("vault.redb")).unwrap();
        config.data = to;
        config
    };
    let (from, to) = (copied(REGIONS[0], "moved-from"), copied(REGIONS[1], "moved-to"));
    let theirs = Database::open(from.data.join("vault.redb")).unwrap();
    let theirs = theirs.begin_read().unwrap().open_table(ROWS).unwrap();
    let place_of = |table: u8| {
        let mine = Database::open(to.data.join("vault.redb")).unwrap();
        let mine = mine.begin_read().unwrap().open_table(ROWS).unwrap();
        let rows = mine.range::<&[u8]>(&[table][..]..&[table + 1][..]).unwrap();
        let both = rows.map(|r| r.unwrap().0.value().to_vec());
        both.into_iter().find(|place| theirs.get(place.as_slice()).unwrap().is_some())
    };
    let put = |place: &[u8], value: &[u8]| {
        let mine = Database::open(to.data.join("vault.redb")).unwrap();
        let tx = mine.begin_write().unwrap();
        let old = tx.open_table(ROWS).unwrap().insert(place, value).unwrap().unwrap().value().to_vec();
        tx.commit().unwrap();
        old
    };
    let read = || Seized::open(&to).and_then(|s| Ok(s.rows()?.len()));
    let whole = read().unwrap();
    let mut moved = 0;
    // The vault's own, the shard's, the log's, the events': these have the same places everywhere. Accounts and secrets lie elsewhere in each vault.
    for table in [Table::Vault, Table::Shard, Table::Log, Table::Event] {
        let Some(place) = place_of(table as u8) else { continue };
        let value = theirs.get(place.as_slice()).unwrap().unwrap().value().to_vec();
        let old = put(&place, &value);
        let error = read().unwrap_err();
        assert!(matches!(error, ForensicsError::Store(StoreError::Sealed(_))), "{table:?}: {error}");
        put(&place, &old);
        assert_eq!(read().unwrap(), whole, "put back, it opens: {table:?}");
        moved += 1;
    }
    assert_eq!(moved, 4);
    for table in [Table::Account, Table::Secret] {
        assert_eq!(place_of(table as u8), None, "{table:?} of another vault at the same place");
    }
}
