use super::*;

fn account(n: u32) -> Route {
    let mut route = [0; 32];
    route[..4].copy_from_slice(&n.to_be_bytes());
    Route(route)
}

#[test]
fn an_account_has_its_own_budget_and_gets_it_back() {
    let underway = Underway::default();
    let first = underway.charge(account(1), ACCOUNT).unwrap();
    assert!(underway.charge(account(1), 1).is_none());
    let other = underway.charge(account(2), ACCOUNT).unwrap();
    drop(first);
    let again = underway.charge(account(1), ACCOUNT).unwrap();
    drop((again, other));
    let sizes = underway.0.lock();
    assert_eq!((sizes.all, sizes.accounts.len()), (0, 0));
}

#[test]
fn s58_accounts_that_send_much_leave_room_for_others() {
    let underway = Underway::default();
    let mut charges = Vec::new();
    for n in 0u32.. {
        match underway.charge(account(n), ACCOUNT) {
            Some(charge) => charges.push(charge),
            None => break,
        }
    }
    assert!(underway.charge(account(0), 1).is_none(), "who has more than a fair part gets no more");
    assert!(underway.charge(account(99_999), FAIR).is_some());
    let mut n = 100_000;
    while let Some(charge) = underway.charge(account(n), FAIR) {
        charges.push(charge);
        n += 1;
    }
    assert!(underway.0.lock().all <= ALL);
}
