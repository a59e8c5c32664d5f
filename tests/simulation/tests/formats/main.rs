//! The formats of a vault. This version reads each fixture under `tests/formats`, whatever its number, and makes what the fixture of the present number has (S52).
//! `make golden` makes the fixture of a new number.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod made;
mod replay;
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bkv_core::batch::Batch;
use bkv_core::checkpoint::Lists;
use bkv_core::command::VERSION;
use bkv_core::digest::{Digest, RowNumbers};
use bkv_core::document::Documents;
use bkv_golden::Format;
use bkv_simulation::rooted::client::account;
use bkv_simulation::rooted::fleet::{SoftKeys, alone, region};
use bkv_vault::forensics;
use bkv_vault::raft::snapshot::{FORMAT as SNAPSHOT_FORMAT, Head, Row};
use bkv_vault::store::{DataKeys, FORMAT as STORE_FORMAT, Table};
use bkv_wire::documents::{self, FORMAT as DOCUMENTS_FORMAT, Root, write_admission, write_policy};
use bkv_wire::proto::documents::SignedDocument;
use bkv_wire::verifier::WireVerifier;
use prost::Message as _;

use made::{Files, OF, batches, make};
use replay::State;

const STORE: Format = Format {
    name: "store",
    oldest: 7,
    number: STORE_FORMAT,
    constant: "FORMAT in services/vault/src/store/format.rs",
};
const ENTRIES: Format = Format {
    name: "entries",
    oldest: 4,
    number: VERSION,
    constant: "VERSION in services/core/src/command.rs",
};
const SNAPSHOT: Format = Format {
    name: "snapshot",
    oldest: 3,
    number: SNAPSHOT_FORMAT as u32,
    constant: "FORMAT in services/vault/src/raft/snapshot.rs",
};
const DOCUMENTS: Format = Format {
    name: "documents",
    oldest: 1,
    number: DOCUMENTS_FORMAT,
    constant: "FORMAT in services/wire/src/documents/mod.rs",
};

/// The files of a fixture.
fn read(folder: &Path) -> Files {
    let of = |path: PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    let mut files: Files = std::fs::read_dir(folder).unwrap().map(|f| of(f.unwrap().path())).collect();
    files.sort();
    files
}

/// The file with this name.
fn one<'a>(files: &'a Files, name: &str) -> &'a [u8] {
    &files.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no file {name}")).1
}

/// The files whose names begin so, in order.
fn all<'a>(files: &'a Files, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    files.iter().filter(move |(n, _)| n.starts_with(prefix)).map(|(n, b)| (&n[..], &b[..]))
}

fn cbor_shape(name: &str, bytes: &[u8]) -> String {
    shape::of_cbor(bytes).unwrap_or_else(|| panic!("{name} is not CBOR"))
}

/// The shapes of these files, each once.
fn shapes<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    files.map(|(name, bytes)| cbor_shape(name, bytes)).collect::<BTreeSet<_>>().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s52_every_released_format_of_a_vault_is_read_and_none_changes() {
    let made = make().await;
    let formats = [
        (STORE, &made.store),
        (ENTRIES, &made.entries),
        (SNAPSHOT, &made.snapshot),
        (DOCUMENTS, &made.documents),
    ];
    for (format, files) in formats {
        if format.is_wanted() {
            format.keep(files.iter().map(|(name, bytes)| (&name[..], &bytes[..])));
        }
    }
    // What this program makes is read in the same way as the fixtures.
    for files in STORE.released().iter().map(|f| read(f)).chain([made.store.clone()]) {
        store_is_read(&files).await;
    }
    for files in ENTRIES.released().iter().map(|f| read(f)) {
        applied(&files);
    }
    for files in SNAPSHOT.released().iter().map(|f| read(f)).chain([made.snapshot.clone()]) {
        snapshot_is_read(&files);
    }
    for files in DOCUMENTS.released().iter().map(|f| read(f)).chain([made.documents.clone()]) {
        documents_are_read(&files);
    }
    let kept = |format: Format| read(&format.present());
    // A change of what a command does needs a new number too: replicas of two versions would disagree.
    let entries = kept(ENTRIES);
    assert!(
        one(&entries, "state.cbor") == applied(&entries).encode(),
        "other accounts by the same entries. {}",
        ENTRIES.how_to_change()
    );
    let documents = kept(DOCUMENTS);
    assert!(written_again(&documents) == documents, "other documents. {}", DOCUMENTS.how_to_change());
    STORE.unchanged("the rows of a store", &rows(&kept(STORE)), &rows(&made.store));
    let of_entries = |files: &Files| shapes(all(files, "entry-")) + &shapes(all(files, "state"));
    ENTRIES.unchanged("log entries and accounts", &of_entries(&entries), &of_entries(&made.entries));
    let of_snapshot = |files: &Files| shapes(all(files, "head")) + &shapes(all(files, "row-"));
    SNAPSHOT.unchanged("a snapshot", &of_snapshot(&kept(SNAPSHOT)), &of_snapshot(&made.snapshot));
}

/// The folder of a vault with this store.
fn disk(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = zstd::decode_all(one(files, "vault.redb.zst")).unwrap();
    std::fs::create_dir(dir.path().join(region(OF))).unwrap();
    std::fs::write(dir.path().join(region(OF)).join("vault.redb"), store).unwrap();
    dir
}

/// A vault starts on the store, has the account with its open attempt and the floor, and reads its log.
async fn store_is_read(files: &Files) {
    let dir = disk(files);
    let node = alone(OF, dir.path()).await;
    let replica = node.replicas()[0].clone();
    let id = account(0xa1, 0);
    let alice = replica.account(&id).unwrap().unwrap();
    let attempt = alice.pending.as_ref().unwrap();
    assert_eq!((attempt.ordinal.0, alice.last_success.as_ref().unwrap().ordinal.0), (2, 1));
    let floor = replica.state().floor(&id).unwrap().unwrap();
    assert_eq!((floor.attempt, floor.blinded), (attempt.attempt, attempt.blinded));
    let head = replica.state().export().unwrap().head;
    assert_eq!(replica.state().certified_index(), Some(head.checkpoint().index));
    let rows = replica.state().export_rows(&replica.state().export().unwrap(), None, 10).unwrap();
    assert_eq!((rows[0].account.writers.len(), alice.writers[0].ledger.counter), (0, 1));
    digest_is_certified(&head, &rows);
    assert!(replica.secrets(&id, &alice.live.as_ref().unwrap().record.reg_id).unwrap().is_some());
    let log = batches(replica.state().log()).await;
    let commands = |batch: &[u8]| minicbor::decode::<Batch>(batch).unwrap().commands.len();
    assert!(log.iter().map(|(_, batch)| commands(batch)).sum::<usize>() >= 6);
    node.shutdown().await;
}

/// The shapes of all rows of a store, each once, under their tables and names.
fn rows(files: &Files) -> String {
    let dir = disk(files);
    let keys: Arc<dyn DataKeys> = Arc::new(SoftKeys(u8::try_from(OF).unwrap()));
    let mut shapes = BTreeSet::new();
    for row in forensics::rows(&dir.path().join(region(OF)), &keys, 1).unwrap() {
        let shape = match row.table {
            // Chain hash and protobuf. The fixture of the entries has the batches.
            Table::Log => "a chain hash and an entry\n".to_owned(),
            // A first byte, and the row from before a change if there was one.
            Table::Before => shape::of_cbor(&row.plain[1..]).unwrap_or_else(|| "no row\n".to_owned()),
            // Keys and numbers without a structure. By chance one would look like CBOR.
            Table::Vault => "bytes\n".to_owned(),
            // Of another encoding. Its length depends on random ids.
            _ => shape::of_cbor(&row.plain).unwrap_or_else(|| "bytes\n".to_owned()),
        };
        shapes.insert(format!("{:?} {}\n{shape}", row.table, row.name.unwrap_or_default()));
    }
    shapes.into_iter().collect()
}

/// The accounts that the entries make by the rules of this version.
fn applied(files: &Files) -> State {
    let index = |name: &str| name.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let state =
        State::after(one(files, "root"), all(files, "entry-").map(|(name, batch)| (index(name), batch)));
    assert!(!state.is_empty());
    state
}

/// The rows have the digest that the head's certificate names, so every field of them is read and encoded as it was.
fn snapshot_is_read(files: &Files) {
    let head = Head::read(one(files, "head.cbor")).unwrap();
    let rows: Vec<Row> = all(files, "row-").map(|(_, row)| minicbor::decode(row).unwrap()).collect();
    assert_eq!(rows[0].secrets.len(), 1);
    digest_is_certified(&head, &rows);
    let list = &head.fleet.documents.admission;
    let root = Root::decode(one(files, "root")).unwrap();
    head.certificate.check(Lists::new(list, list), None, &WireVerifier::new(root)).unwrap();
}

fn digest_is_certified(head: &Head, rows: &[Row]) {
    let mut digest = Digest::default();
    for row in rows {
        digest.add(&RowNumbers::of(&row.id, &row.account));
    }
    let is = (digest.rows(), head.digest_with(&digest));
    assert_eq!((head.checkpoint().rows, head.checkpoint().digest), is, "{}", SNAPSHOT.how_to_change());
}

/// Root file, admission list and policy hold.
fn documents_are_read(files: &Files) -> (Root, Documents) {
    let (root, signed) = (Root::decode(one(files, "root")).unwrap(), |name| one(files, name));
    let read = documents::bundle(&root, signed("admission"), signed("policy"), None).unwrap();
    assert_eq!((read.admission.members.len(), read.admission.threshold, read.policy.shards), (3, 2, 1));
    (root, read)
}

/// The same files, if this program writes their contents in the same bytes.
fn written_again(files: &Files) -> Files {
    let (root, read) = documents_are_read(files);
    let signed = |name, body: Vec<u8>| {
        let document = SignedDocument::decode(one(files, name)).unwrap();
        SignedDocument { body: body.into(), ..document }.encode_to_vec()
    };
    vec![
        ("admission".into(), signed("admission", write_admission(&read.admission).unwrap())),
        ("policy".into(), signed("policy", write_policy(&read.policy).unwrap())),
        ("root".into(), root.encode()),
    ]
}
