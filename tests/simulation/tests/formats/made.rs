//! What this program makes: a vault that has applied a registration, an attempt that succeeded and an open one, then a certified checkpoint and one command more, in each format that it keeps or sends.

use bkv_core::command::Command;
use bkv_core::id::Hash;
use bkv_core::secret::Secret32;
use bkv_core::writers::LedgerName;
use bkv_simulation::rooted::client::{Client, account};
use bkv_simulation::rooted::fleet::{Fleet, HONEST};
use bkv_vault::raft::log::Log;
use bkv_vault::raft::types::Entry;
use openraft::{EntryPayload, RaftLogReader as _};

use super::replay::State;

/// The vault whose files these are.
pub(crate) const OF: usize = HONEST[1];

/// Files by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// The files of each format.
pub(crate) struct Made {
    pub(crate) store: Files,
    pub(crate) entries: Files,
    pub(crate) snapshot: Files,
    pub(crate) documents: Files,
}

/// The batches of a log by index, encoded.
pub(crate) async fn batches(log: &Log) -> Vec<(u64, Vec<u8>)> {
    let entries = log.clone().try_get_log_entries(0..u64::MAX).await.unwrap();
    let batch = |e: Entry| match e.payload {
        EntryPayload::Normal(batch) => Some((e.log_id.index, batch.0.to_vec())),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    };
    entries.into_iter().filter_map(batch).collect()
}

pub(crate) async fn make() -> Made {
    let (mut fleet, mut leader) = Fleet::taken_over(1).await;
    let alice = Client::new(&fleet, account(0xa1, 0), 1);
    let (first, second) = (alice.begin(1), alice.begin(2));
    for command in [
        alice.store(None),
        alice.confirm(&fleet, &[1, 2], &alice.owner),
        Command::Begin(first.clone()),
        Command::Finish(alice.finish(&first)),
        Command::Begin(second),
    ] {
        leader.commit(&fleet, 0, command).await;
    }
    let (head, rows) = leader.further(&fleet, OF, 0).await;
    // Behind the certified checkpoint.
    let ledger = LedgerName { counter: 1, hash: Hash([3; 32]) };
    let named = alice.set_ledger(None, ledger, Some(Secret32::new([4; 32])), &alice.owner);
    leader.commit_at(&fleet, OF, 0, vec![named]).await;
    let root = ("root".to_owned(), fleet.root.encode());
    let batches = batches(fleet.replica(OF, 0).state().log()).await;
    let state = State::after(&root.1, batches.iter().map(|(index, batch)| (*index, &batch[..])));
    let mut entries: Files = batches.into_iter().map(|(i, b)| (format!("entry-{i:04}.cbor"), b)).collect();
    entries.extend([root.clone(), ("state.cbor".into(), state.encode())]);
    let mut snapshot = vec![("head.cbor".into(), minicbor::to_vec(&head).unwrap()), root.clone()];
    snapshot.extend(
        rows.iter().enumerate().map(|(i, r)| (format!("row-{i}.cbor"), minicbor::to_vec(r).unwrap())),
    );
    let documents = head.fleet.documents;
    let store = std::fs::read(fleet.stop(OF).await.join("vault.redb")).unwrap();
    Made {
        store: vec![("vault.redb.zst".into(), zstd::encode_all(&store[..], 19).unwrap())],
        entries,
        snapshot,
        documents: vec![
            root,
            ("admission".into(), documents.admission_signed),
            ("policy".into(), documents.policy_signed),
        ],
    }
}
