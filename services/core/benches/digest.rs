//! What the digest costs for each changed account: `cargo bench -p bkv-core`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bkv_core::account::{Account, Live, Success};
use bkv_core::digest::{Digest, RowHash, RowNumbers};
use bkv_core::id::{
    AccountId, AttemptId, Element, Era, Generation, Hash, Lineage, Ordinal, PublicKey, RegId, Right, Route,
    Signature, Time,
};
use bkv_core::record::{AttemptPolicy, KsfParams, Record};

/// An account as it is after a registration, and after a recovery.
fn account(recovered: bool) -> Account {
    let record = Record {
        lineage: Lineage([1; 32]),
        era: Era(1),
        account: AccountId([2; 32]),
        generation: Generation(1),
        reg_id: RegId([3; 16]),
        threshold: 2,
        slots: 3,
        admission: 1,
        policy: 1,
        attempts: AttemptPolicy {
            max: 10,
            lifetime_failures: 100,
            waits_ms: vec![0, 60_000, 300_000, 900_000],
            last_try_ms: 86_400_000,
            attempt_ms: 600_000,
        },
        upload: vec![4; 192],
        commitments: vec![Element([5; 32]); 2],
        ciphertext: vec![6; 60],
        owner: PublicKey([7; 32]),
        ksf: KsfParams { memory_kib: 65_536, passes: 3, lanes: 4 },
        server: PublicKey([8; 32]),
        right: Right([9; 32]),
    };
    let mut account = Account::new(Route([0; 32]), Time(1), 1);
    account.live = Some(Live { record, hash: Hash([8; 32]), shares: Hash([9; 32]), since: Time(1) });
    if recovered {
        account.last_success = Some(Success {
            ordinal: Ordinal(1),
            attempt: AttemptId([1; 16]),
            blinded: Element([2; 32]),
            transcript: vec![3; 416],
            signature: Signature([4; 64]),
        });
    }
    account
}

/// The time of one call, the best of many short rounds.
fn best(mut call: impl FnMut()) -> Duration {
    const CALLS: u32 = 1000;
    let round = |call: &mut dyn FnMut()| {
        let began = Instant::now();
        (0..CALLS).for_each(|_| call());
        began.elapsed() / CALLS
    };
    (0..100).map(|_| round(&mut call)).min().unwrap()
}

fn main() {
    let id = AccountId([2; 32]);
    for (what, account) in [("registered", account(false)), ("recovered", account(true))] {
        let bytes = bkv_core::encoding::cbor(&account).len();
        let mut digest = Digest::default();
        let row = best(|| digest.add(&RowNumbers::of(black_box(&id), black_box(&account))));
        let known = RowHash::of(&id, &account);
        let mut kept = known.expand();
        let recent = best(|| {
            digest.remove(black_box(&kept));
            kept = RowNumbers::of(black_box(&id), black_box(&account));
            digest.add(&kept);
        });
        let change = best(|| {
            digest.remove(&black_box(&known).expand());
            digest.add(&RowNumbers::of(black_box(&id), black_box(&account)));
        });
        let unknown = best(|| {
            digest.remove(&RowNumbers::of(black_box(&id), black_box(&account)));
            digest.add(&RowNumbers::of(black_box(&id), black_box(&account)));
        });
        println!(
            "{what}: row of {bytes} bytes {row:?}, change of a row whose numbers are at hand {recent:?}, whose hash is {change:?}, of another {unknown:?}"
        );
    }
}
