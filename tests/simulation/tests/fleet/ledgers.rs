//! S54: V at real vaults. Who gets it, and how it ends.

use std::path::PathBuf;

use bkv_client::{GRACE_MS, Hash, LedgerName, RecoverOptions, Secret32, SetLedger, WriterId, owner_key};
use bkv_core::statement;
use bkv_simulation::raw_client::RawClient;
use bkv_simulation::{Options, RIGHT, Simulation, eventually};
use bkv_wire::ledgers::EXPORTER;
use bkv_wire::proto::inner as p;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;

const ANNA: &str = "anna";
const WRITER: WriterId = WriterId([7; 16]);

fn set(counter: u8, v: Option<u8>) -> SetLedger {
    let hash = |n: u8| Hash([n; 32]);
    SetLedger {
        writer: WRITER,
        expected: (counter > 1).then(|| hash(counter - 1)),
        ledger: LedgerName { counter: u64::from(counter), hash: hash(counter) },
        v: v.map(|v| Secret32::new([v; 32])),
    }
}

/// With V, a thief of the person's token and drive would need only the backup key later. So a token is not enough, nor is a signature that was made for another channel.
pub(crate) async fn s54_v_is_given_to_nobody_without_the_owners_signature(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let client = sim.client(ANNA);
    client.set_ledger(&key, &set(1, Some(1))).await.unwrap();
    let (id, lineage) = client.account().await.unwrap();
    let era = sim.replica(0).fleet().unwrap().era;
    let owner = owner_key(key.as_bytes(), &lineage, &id);
    let transport = sim.transport(ANNA);
    let read =
        |signature: &[u8]| Operation::ReadLedgers(p::ReadLedgers { signature: signature.to_vec().into() });
    let mut thief = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let mut device = RawClient::open(&sim, ANNA, &transport).await.unwrap();
    let statement = statement::read_ledgers(&lineage, era, &id, &device.exporter(EXPORTER));
    let genuine = owner.sign(&statement).0;
    for signature in [&[0; 64][..], &genuine[..], &[]] {
        let answer = thief.ask(read(signature)).await.unwrap();
        let refused =
            matches!(&answer, Answer::Refused(r) if [Code::Owner, Code::Malformed].contains(&r.code()));
        assert!(refused, "{answer:?}");
    }
    let answer = device.ask(read(&genuine)).await.unwrap();
    let Answer::Ledgers(ledgers) = answer else { panic!("{answer:?}") };
    assert_eq!(&ledgers.vs[0].v[..], &[1; 32]);
    sim.down().await;
}

/// Forward secrecy: 7 days after V was replaced, no region's row has it, and the newest is still there.
pub(crate) async fn s54_a_replaced_v_is_erased_in_every_regions_row(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { images: true, ..Options::default() }).await;
    let key = sim.register(ANNA).await;
    let client = sim.client(ANNA);
    client.set_ledger(&key, &set(1, Some(1))).await.unwrap();
    client.set_ledger(&key, &set(2, Some(2))).await.unwrap();
    let recovered = client.recover(RIGHT, RecoverOptions::default()).await.unwrap();
    let [writer] = &recovered.writers.unwrap()[..] else { panic!("one writer") };
    assert_eq!(writer.before.as_ref().unwrap().v, Secret32::new([1; 32]));
    sim.settle().await;
    let rows = || (0..3).map(|i| sim.account(i, ANNA).unwrap().writers.remove(0)).collect::<Vec<_>>();
    assert!(rows().iter().all(|w| w.before.is_some()));
    for machine in &sim.machines {
        machine.clock.offset(i64::try_from(GRACE_MS).unwrap() + 60_000);
    }
    sim.restart_all().await;
    let erased = || rows().iter().all(|w| w.before.is_none()).then_some(());
    eventually("the V before is erased in every row", erased).await;
    assert!(rows().iter().all(|w| w.v == Some(Secret32::new([2; 32])) && w.ledger.counter == 2));
    sim.down().await;
}
