//! Vaults of two programs: one can apply the present version of the state, the other the next one, too. The next version has the same commands and rules.

use std::cell::Cell;
use std::path::PathBuf;

use bkv_client::RecoverOptions;
use bkv_core::command::{Raise, VERSION};
use bkv_core::version::Versions;
use bkv_simulation::network::Rule;
use bkv_simulation::{Options, RIGHT, Simulation, eventually, soon};
use bkv_vault::replica::{Phase, ProposeError};
use tokio::time::Instant;

const ANNA: &str = "anna";
const OLDER: Versions = Versions { oldest: VERSION, newest: VERSION };
const NEWER: Versions = Versions { oldest: VERSION, newest: VERSION + 1 };

/// The version in force at each vault.
fn in_force(sim: &Simulation) -> [Option<u32>; 3] {
    [0, 1, 2].map(|i| sim.replica(i).state().version())
}

async fn is_left_behind(sim: &Simulation, i: usize) -> String {
    let why = || match &sim.replica(i).status().borrow().phase {
        Phase::LeftBehind(why) => Some(why.clone()),
        _ => None,
    };
    eventually("the vault says that it is left behind", why).await
}

/// One recovery, which must succeed. Each costs one attempt, and its success gives it back.
async fn recover(sim: &Simulation) {
    sim.client(ANNA).recover(RIGHT, RecoverOptions::default()).await.unwrap();
}

/// Proposes a raise at whichever vault leads. Returns which one took it.
async fn propose(sim: &Simulation, raise: &Raise) -> usize {
    let until = soon();
    loop {
        let leader = sim.leader().await;
        let (replica, raise) = (sim.replica(leader), raise.clone());
        let proposed = sim.handle(leader).spawn(async move { replica.raise(raise, soon()).await });
        match proposed.await.unwrap() {
            Ok(_) => return leader,
            // A vault that has just lost another one does not lead for a moment.
            Err(ProposeError::NotLeader(_)) if Instant::now() < until => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// Recovers again and again until `change` has ended. Returns how often.
async fn meanwhile(sim: &Simulation, change: impl Future<Output = ()>) -> u64 {
    let (over, times) = (Cell::new(false), Cell::new(0));
    let people = async {
        while !over.get() {
            recover(sim).await;
            times.set(times.get() + 1);
        }
    };
    let change = async {
        change.await;
        over.set(true);
    };
    futures_util::join!(people, change);
    times.get()
}

/// S52: each vault gets the newer program in turn, one goes back and forth, and people recover all the while. The version is raised once all three have the newer program, and not before. No
/// try is lost or given back. A vault that goes back after that is left behind: it keeps what it has, says so, and follows again with the newer program.
pub(crate) async fn s52_vaults_are_updated_one_by_one_while_people_recover(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    sim.register(ANNA).await;
    let update = async |i, versions| {
        sim.update(i, versions).await;
        sim.verified(i).await;
    };
    let mut recovered = meanwhile(&sim, async {
        for (i, versions) in [(0, NEWER), (1, NEWER), (0, OLDER), (0, NEWER)] {
            update(i, versions).await;
            sim.settle().await;
        }
        // Two vaults have the newer program. A leader with that program asks, and names the third.
        sim.lead(0).await;
        let third = sim.vault(2).node().node();
        let why = format!("its program can apply versions {VERSION} to {VERSION}: update it");
        let waits = Some((VERSION + 1, vec![(third, why)]));
        eventually("the leader names the third", || (sim.vault(0).raise_waits() == waits).then_some(()))
            .await;
    })
    .await;
    assert_eq!(in_force(&sim), [Some(VERSION); 3], "one vault has the older program");
    recovered += meanwhile(&sim, async {
        update(2, NEWER).await;
        eventually("the version is raised", || (in_force(&sim) == [Some(VERSION + 1); 3]).then_some(()))
            .await;
    })
    .await;
    sim.settle().await;

    let behind = (sim.leader().await + 1) % 3;
    let had = sim.account(behind, ANNA);
    recovered += meanwhile(&sim, async {
        sim.update(behind, OLDER).await;
        let why = is_left_behind(&sim, behind).await;
        assert!(why.contains(&format!("version {}", VERSION + 1)) && why.contains("run the newer"), "{why}");
    })
    .await;
    recover(&sim).await;
    assert_eq!(
        sim.account(behind, ANNA).map(|a| a.generation),
        had.map(|a| a.generation),
        "it keeps its data"
    );
    recovered += 1 + meanwhile(&sim, update(behind, NEWER)).await;
    sim.settle().await;
    for i in 0..3 {
        let anna = sim.account(i, ANNA).unwrap();
        assert_eq!((anna.ordinal.0, anna.success_ordinal().0), (recovered, recovered), "vault {i}");
        assert_eq!((anna.lifetime_failures, anna.tries_left()), (0, 10), "vault {i}");
    }
    sim.down().await;
}

/// S52: a raise that one region has not signed changes nothing. The raise is committed while a vault is down, and that vault comes back with the older program. One append has the
/// raise and entries behind it. The vault takes the raise and stops there.
pub(crate) async fn s52_a_vault_that_missed_the_raise_stops_behind_it(dir: PathBuf) {
    let sim = Simulation::up(dir, Options { no_chores: true, ..Options::default() }).await;
    for i in 0..3 {
        sim.update(i, NEWER).await;
    }
    sim.settle().await;
    sim.register(ANNA).await;
    let version = VERSION + 1;
    let signatures: Vec<_> = (0..3).map(|i| sim.vault(i).applies(version).unwrap()).collect();
    let raise = async |version, signatures: &[_]| {
        propose(&sim, &Raise { version, signatures: signatures.to_vec() }).await
    };
    let twice = [signatures[0].clone(), signatures[1].clone(), signatures[0].clone()];
    for (version, signatures) in [(version, &signatures[1..]), (version, &twice), (version + 1, &signatures)]
    {
        let leader = raise(version, signatures).await;
        assert_eq!(sim.replica(leader).state().version(), Some(VERSION));
    }
    let absent = (sim.leader().await + 1) % 3;
    let image = sim.stop(absent).await;
    let leader = raise(version, &signatures).await;
    let raised = sim.replica(leader).applied();
    assert_eq!(sim.replica(leader).state().version(), Some(version));
    recover(&sim).await;
    // A new leader does not know where the absent vault's log ends, and sends all that is behind it in one append. The old leader would send the raise alone.
    let other = 3 - leader - absent;
    sim.lead(other).await;

    *sim.machines[absent].versions.lock().unwrap() = OLDER;
    sim.start_from(absent, image).await;
    is_left_behind(&sim, absent).await;
    assert_eq!(
        (sim.replica(absent).state().version(), sim.replica(absent).applied()),
        (Some(version), raised)
    );
    assert!(sim.vault(absent).applies(version).is_none());
    recover(&sim).await;
    assert_eq!(sim.replica(absent).applied(), raised);

    sim.update(absent, NEWER).await;
    sim.settle().await;
    // The leader needs this vault now, and it takes part.
    sim.hub.around(other, Rule::Cut);
    recover(&sim).await;
    sim.hub.heal();
    sim.settle().await;
    assert_eq!(sim.account(absent, ANNA), sim.account(leader, ANNA));
    sim.down().await;
}

/// S52: the raise has left the log before the vault with the older program is back. t regions have signed the state that it is offered, so it says that it is left behind, and installs nothing.
pub(crate) async fn s52_a_vault_that_needs_a_snapshot_of_a_newer_version_says_so(dir: PathBuf) {
    let options = Options { no_chores: true, snapshot_every_s: Some(1), ..Options::default() };
    let sim = Simulation::up(dir, options).await;
    for i in 0..3 {
        sim.update(i, NEWER).await;
    }
    sim.settle().await;
    let version = VERSION + 1;
    let signatures = (0..3).map(|i| sim.vault(i).applies(version).unwrap()).collect();
    let absent = (sim.leader().await + 1) % 3;
    let image = sim.stop(absent).await;
    let leader = propose(&sim, &Raise { version, signatures }).await;
    let raised = sim.replica(leader).applied();
    let purged = || (sim.replica(leader).purged() >= raised).then_some(());
    eventually("the raise has left the log", purged).await;

    *sim.machines[absent].versions.lock().unwrap() = OLDER;
    sim.start_from(absent, image).await;
    is_left_behind(&sim, absent).await;
    assert_eq!(sim.replica(absent).state().version(), Some(VERSION));
    sim.update(absent, NEWER).await;
    sim.settle().await;
    assert_eq!(in_force(&sim), [Some(version); 3]);
    sim.down().await;
}
