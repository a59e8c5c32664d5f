//! The memory that a snapshot needs: `cargo bench -p bkv-simulation --bench snapshot -- 10000 100000`. For each number of accounts one real vault applies the
//! registrations, takes a snapshot and reads it as its sender does, chunk by chunk. Another real vault stages and installs it. Both are in one process, which
//! measures one number of accounts alone: memory that an earlier one has freed would be used again, and hide what is needed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use bkv_core::command::{Command, Confirm, Store};
use bkv_core::encoding::cbor;
use bkv_core::id::{AccountId, Generation, Hash, RegId, Signature, Slot};
use bkv_core::record::shares_hash;
use bkv_core::statement;
use bkv_simulation::rooted::client::{Client, account, random};
use bkv_simulation::rooted::fleet::{Fleet, HONEST};
use bkv_simulation::rooted::leader::Leader;
use bkv_vault::raft::export::Export;
use bkv_vault::raft::sizes::ROWS;
use bkv_vault::raft::types::vote_out;
use bkv_wire::proto::peer::SnapshotChunk;
use ed25519_dalek::{Signer as _, SigningKey};

const SHARD: u16 = 0;
const SENDER: usize = HONEST[0];
const RECEIVER: usize = HONEST[1];
/// How far the peaks at two numbers of accounts may be apart: the store's caches, 16 MiB in each vault, are not full at the smaller one.
const APART_MIB: u64 = 32;
/// Accounts in one entry.
const ENTRY: usize = 128;
/// The tag of the person in every acknowledgement.
const SUBJECT: Hash = Hash([0x5b; 32]);

/// A number of /proc/self/status, in KiB.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How far the resident memory rises above where it is now.
struct Peak(u64);

impl Peak {
    fn begin() -> Self {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        Self(status("VmRSS"))
    }

    fn mib(&self) -> u64 {
        status("VmHWM").saturating_sub(self.0) / 1024
    }
}

/// Registrations that differ in account and id alone. Only the vaults' tokens would notice that the shares are those of another record.
struct Registrations {
    first: Box<Store>,
    owner: SigningKey,
}

impl Registrations {
    fn new(fleet: &Fleet) -> Self {
        let client = Client::new(fleet, account(0, SHARD), 1);
        let Command::Store(first) = client.store(None) else { unreachable!() };
        Self { first, owner: client.owner }
    }

    fn store(&self, number: usize) -> Box<Store> {
        let mut id = self.first.account;
        id.0[24..].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        let mut store = self.first.clone();
        store.account = id;
        (store.record.account, store.record.reg_id) = (id, RegId(random()));
        store
    }

    fn confirm(&self, fleet: &Fleet, store: &Store) -> Command {
        let (r, hash, shares) = (&store.record, store.record.hash(), shares_hash(&store.shares));
        let ack = |slot: Slot| {
            statement::acknowledgement(&r.lineage, r.era, &r.reg_id, slot, &hash, &shares, &SUBJECT)
        };
        let word = statement::confirm(&r.lineage, r.era, &r.account, Generation(0), &r.reg_id, &hash);
        Command::Confirm(Confirm {
            account: r.account,
            reg_id: r.reg_id,
            record: hash,
            acknowledgements: HONEST.map(|i| fleet.sign_as(i, ack)).to_vec(),
            signature: Signature(self.owner.sign(&word).to_bytes()),
            subject: SUBJECT,
        })
    }
}

async fn fill(fleet: &Fleet, leader: &mut Leader, accounts: usize) {
    let registrations = Registrations::new(fleet);
    for from in (0..accounts).step_by(ENTRY) {
        let stores: Vec<Box<Store>> =
            (from..accounts.min(from + ENTRY)).map(|n| registrations.store(n)).collect();
        let confirms = stores.iter().map(|s| registrations.confirm(fleet, s)).collect();
        leader.commit_at(fleet, SENDER, SHARD, stores.into_iter().map(Command::Store).collect()).await;
        leader.commit_at(fleet, SENDER, SHARD, confirms).await;
    }
}

/// The chunks of a snapshot, made one after the other.
struct Chunks<'a> {
    fleet: &'a Fleet,
    export: &'a Export,
    after: Option<AccountId>,
    number: u32,
    last: bool,
}

impl<'a> Chunks<'a> {
    const fn new(fleet: &'a Fleet, export: &'a Export) -> Self {
        Self { fleet, export, after: None, number: 0, last: false }
    }

    fn next(&mut self, leader: &Leader) -> Option<SnapshotChunk> {
        if self.last {
            return None;
        }
        let state = self.fleet.replica(SENDER, SHARD).state();
        let rows = state.export_rows(self.export, self.after, ROWS).unwrap();
        self.after = rows.last().map(|r| r.id);
        self.last = rows.len() < ROWS;
        let chunk = SnapshotChunk {
            shard: u32::from(SHARD),
            vote: Some(vote_out(&leader.vote(SHARD))),
            stream: 1,
            number: self.number,
            head: if self.number == 0 { cbor(&self.export.head).into() } else { Vec::new().into() },
            rows: rows.iter().map(|r| cbor(r).into()).collect(),
            last: self.last,
            ..Default::default()
        };
        self.number += 1;
        Some(chunk)
    }
}

/// The peaks in MiB: of taking and reading a snapshot, and of sending, staging and installing it.
async fn measure(accounts: usize) -> [u64; 2] {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    fill(&fleet, &mut leader, accounts).await;

    let (peak, began) = (Peak::begin(), Instant::now());
    leader.certify(&fleet, SENDER, SHARD).await;
    let export = fleet.replica(SENDER, SHARD).state().export().unwrap();
    let (mut chunks, mut bytes) = (Chunks::new(&fleet, &export), 0);
    while let Some(chunk) = chunks.next(&leader) {
        bytes += chunk.rows.iter().map(bytes::Bytes::len).sum::<usize>();
    }
    let (sender, read) = (peak.mib(), began.elapsed());

    let (peak, began) = (Peak::begin(), Instant::now());
    let mut chunks = Chunks::new(&fleet, &export);
    while let Some(chunk) = chunks.next(&leader) {
        leader.send_chunk(&fleet, RECEIVER, chunk).await.unwrap();
    }
    let installed = fleet.replica(RECEIVER, SHARD);
    assert_eq!(installed.applied(), export.head.checkpoint().index, "the receiver has the sender's state");
    assert_eq!(export.head.checkpoint().rows, u64::try_from(accounts).unwrap());
    let both = peak.mib();
    let seconds = |d: Duration| format!("{:.1} s", d.as_secs_f64());
    eprintln!(
        "{accounts} accounts, {} MiB: taking and reading them {sender} MiB of memory, {}; sending, staging and installing them {} MiB, {}",
        bytes >> 20,
        seconds(read),
        both,
        seconds(began.elapsed()),
    );
    [sender, both]
}

/// The same in a process of its own.
fn apart(accounts: usize) -> [u64; 2] {
    let mut process = Process::new(std::env::current_exe().unwrap());
    let output = process.arg(accounts.to_string()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{accounts} accounts: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let peaks: Vec<u64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    peaks.try_into().unwrap()
}

fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    if let [accounts] = sizes[..] {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let [sender, both] = runtime.block_on(measure(accounts));
        println!("{sender} {both}");
        return;
    }
    let sizes = if sizes.is_empty() { vec![10_000, 100_000] } else { sizes };
    let peaks: Vec<[u64; 2]> = sizes.iter().map(|n| apart(*n)).collect();
    let [few, many] = [peaks[0], peaks[peaks.len() - 1]];
    for (what, few, many) in [("sender", few[0], many[0]), ("both vaults", few[1], many[1])] {
        let holds = if many <= few + APART_MIB { "holds" } else { "does NOT hold" };
        println!(
            "{what}: {few} MiB with {} accounts, {many} MiB with {}: constant memory {holds}",
            sizes[0],
            sizes[sizes.len() - 1]
        );
    }
}
