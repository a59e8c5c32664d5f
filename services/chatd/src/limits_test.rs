use crate::limits::{Buckets, Counts, Rate, neighbourhood};

const RATE: Rate = Rate { per_second: 2, burst: 3 };

#[test]
fn a_burst_then_the_rate_then_again() {
    let mut b = Buckets::new(RATE, 10);
    assert_eq!([0, 0, 0, 0].map(|t| b.take("a", t)), [true, true, true, false]);
    assert!(b.take("b", 0), "keys do not share");
    assert!(!b.take("a", 499) && b.take("a", 500) && !b.take("a", 500));
    assert!(!b.take("a", 0), "a clock that goes back refills nothing");
    assert_eq!([9000; 4].map(|t| b.take("a", t)), [true, true, true, false]);
}

#[test]
fn memory_is_bounded_and_a_spent_key_is_not_forgotten() {
    let mut b = Buckets::new(RATE, 2);
    for _ in 0..3 {
        assert!(b.take(0, 0));
    }
    assert!(b.take(1, 0));
    assert!(!b.take(2, 0), "no room, and both are spending");
    assert!(b.take(2, 600), "1 is full again and forgotten");
    assert_eq!(b.len(), 2);
    assert!(b.take(0, 600) && !b.take(0, 600), "0 was not");
}

#[test]
fn counts_come_back() {
    let mut c = Counts::new(2);
    assert!(c.enter("a") && c.enter("a") && !c.enter("a") && c.enter("b"));
    c.leave(&"a");
    assert!(c.enter("a") && !c.enter("a"));
}

#[test]
fn a_flood_of_newcomers_does_not_walk_through_a_full_table_each_time() {
    let mut b = Buckets::new(RATE, 2);
    assert!(b.take(0, 0) && b.take(1, 0));
    assert!(!b.take(2, 490), "looked, and both are still spending");
    assert!(!b.take(2, 510), "not looked again so soon");
    assert!(b.take(2, 590), "looked again: both are full");
}

#[test]
fn an_ipv6_host_is_one_neighbour_and_a_mapped_address_is_ipv4() {
    let n = |a: &str| neighbourhood(a.parse().unwrap());
    assert_eq!(n("2001:db8:1:2:3:4:5:6"), n("2001:db8:1:2::1"));
    assert_ne!(n("2001:db8:1:2::1"), n("2001:db8:1:3::1"));
    assert_eq!(n("::ffff:192.0.2.1"), n("192.0.2.1"));
    assert_ne!(n("192.0.2.1"), n("192.0.2.2"));
}
