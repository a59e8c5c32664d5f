//! A rooted leader that begins attempts of its own for people who never log in. It has no token of theirs.

use bkv_core::account::State;
use bkv_core::command::{Begin, Command, GiveUp};
use bkv_core::id::AccountId;
use bkv_core::secret::Secret32;
use bkv_core::statement;

use bkv_simulation::rooted::client::{Client, account, random};
use bkv_simulation::rooted::fleet::{BUDGET, Fleet, HONEST};
use bkv_simulation::rooted::leader::Leader;

const SHARD: u16 = 0;

async fn register(fleet: &Fleet, leader: &mut Leader, account: AccountId) -> Client {
    let person = Client::new(fleet, account, 1);
    leader.commit(fleet, SHARD, person.store(None)).await;
    leader.commit(fleet, SHARD, person.confirm(fleet, &[1, 2], &person.owner)).await;
    person
}

fn seen(fleet: &Fleet, id: &AccountId) -> [(State, u32); 2] {
    HONEST.map(|i| fleet.account(i, SHARD, id).map(|a| (a.state(), a.tries_left())).unwrap())
}

/// Begins an attempt whose cancel the attacker knows, claims consent, and closes it at once.
async fn burn(fleet: &Fleet, leader: &mut Leader, begin: Begin) {
    let cancel: [u8; 32] = random();
    let begin = Begin { cancel: statement::cancel_hash(&cancel), ..begin };
    let (account, attempt) = (begin.account, begin.attempt);
    leader.commit(fleet, SHARD, Command::Begin(begin)).await;
    let cancel = Secret32::new(cancel);
    leader.commit(fleet, SHARD, Command::GiveUp(GiveUp { account, attempt, cancel })).await;
}

/// S46: whole budgets are burnt by a leader alone. Without tokens no honest region permits a last try, so every key lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s46_whole_budgets_burnt_without_tokens_destroy_no_key() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let mut people = Vec::new();
    for name in 1..=3 {
        people.push(register(&fleet, &mut leader, account(name, SHARD)).await);
    }
    for person in &people {
        for _ in 0..BUDGET + 2 {
            let next = fleet.account(HONEST[0], SHARD, &person.account).unwrap().ordinal.0 + 1;
            burn(&fleet, &mut leader, person.begin(next)).await;
        }
        assert_eq!(seen(&fleet, &person.account), [(State::Live, 1); 2]);
        // The rooted region's own permit, and that of a region which permitted another attempt, are not enough.
        let last = person.begin(u64::from(BUDGET));
        let alone = person.permitted(&fleet, &last, &[1]);
        let twice = person.permitted(&fleet, &last, &[1, 1]);
        let elsewhere =
            Begin { attempt: last.attempt, ..person.permitted(&fleet, &person.begin(6), &[1, 2]) };
        for begin in [alone, twice, elsewhere] {
            burn(&fleet, &mut leader, begin).await;
            assert_eq!(seen(&fleet, &person.account), [(State::Live, 1); 2]);
        }
    }
    // The control: with permits of t regions the last try begins, and closing it destroys the key.
    let person = &people[0];
    let cancel: [u8; 32] = random();
    let begin = Begin { cancel: statement::cancel_hash(&cancel), ..person.begin(u64::from(BUDGET)) };
    let (account, attempt) = (begin.account, begin.attempt);
    leader.commit(&fleet, SHARD, Command::Begin(person.permitted(&fleet, &begin, &[1, 2]))).await;
    assert_eq!(seen(&fleet, &account), [(State::LastTry, 0); 2]);
    let cancel = Secret32::new(cancel);
    leader.commit(&fleet, SHARD, Command::GiveUp(GiveUp { account, attempt, cancel })).await;
    assert_eq!(seen(&fleet, &account), [(State::Destroyed, 0); 2]);
}

/// S46: a device keeps its open last try. A rooted leader without a token of the person sends its id with other elements, to use up the eight conflicts. Then the
/// device could not go on with the try, and the key would end at the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s46_a_leader_without_the_persons_token_uses_up_no_conflicts() {
    let (fleet, mut leader) = Fleet::taken_over(1).await;
    let person = register(&fleet, &mut leader, account(1, SHARD)).await;
    for next in 1..BUDGET {
        burn(&fleet, &mut leader, person.begin(next.into())).await;
    }
    let last = person.begin(BUDGET.into());
    let last = person.permitted(&fleet, &last, &[1, 2]);
    leader.commit(&fleet, SHARD, Command::Begin(last.clone())).await;
    assert_eq!(seen(&fleet, &person.account), [(State::LastTry, 0); 2]);
    let conflicts = || {
        HONEST.map(|i| {
            let account = fleet.account(i, SHARD, &person.account).unwrap();
            account.pending.as_ref().unwrap().conflicts
        })
    };
    for n in 0..10 {
        let other = Begin { attempt: last.attempt, ..person.begin(BUDGET.into()) };
        // Its own permit, and those of the honest regions for the device's own B.
        let permits = match n % 3 {
            0 => vec![],
            1 => person.permitted(&fleet, &other, &[1]).permits,
            _ => last.permits.clone(),
        };
        leader.commit(&fleet, SHARD, Command::Begin(Begin { permits, ..other })).await;
        assert_eq!(conflicts(), [0; 2]);
    }
    // The control: with the person's token the honest regions permit it.
    let other = Begin { attempt: last.attempt, ..person.begin(BUDGET.into()) };
    leader.commit(&fleet, SHARD, Command::Begin(person.permitted(&fleet, &other, &[1, 2]))).await;
    assert_eq!(conflicts(), [1; 2]);
}
