use crate::limits::{Buckets, Counts, Rate};

const RATE: Rate = Rate { per_second: 2, burst: 3 };

#[test]
fn a_bucket_allows_a_burst_and_then_the_rate() {
    let mut b = Buckets::new(RATE, 10);
    assert_eq!([0, 0, 0, 0].map(|t| b.take("a", t)), [true, true, true, false]);
    assert!(b.take("b", 0), "each key has a bucket of its own");
    assert!(!b.take("a", 499) && b.take("a", 500) && !b.take("a", 500));
    assert!(!b.take("a", 0), "a clock that goes back refills nothing");
    assert_eq!([9000; 4].map(|t| b.take("a", t)), [true, true, true, false]);
}

#[test]
fn memory_is_bounded_and_an_empty_bucket_is_kept() {
    let mut b = Buckets::new(RATE, 2);
    for _ in 0..3 {
        assert!(b.take(0, 0));
    }
    assert!(b.take(1, 0));
    assert!(!b.take(2, 0), "the table is full, and neither bucket is");
    assert!(b.take(2, 600), "the bucket of 1 is full again, so the table drops it");
    assert_eq!(b.len(), 2);
    assert!(b.take(0, 600) && !b.take(0, 600), "the table kept the bucket of 0");
}

#[test]
fn a_count_that_ends_makes_room() {
    let mut c = Counts::new(2);
    assert!(c.enter("a") && c.enter("a") && !c.enter("a") && c.enter("b"));
    c.leave(&"a");
    assert!(c.enter("a") && !c.enter("a"));
}

#[test]
fn a_full_table_is_not_swept_for_each_new_key() {
    let mut b = Buckets::new(RATE, 2);
    assert!(b.take(0, 0) && b.take(1, 0));
    assert!(!b.take(2, 490), "a sweep finds no full bucket");
    assert!(!b.take(2, 510), "no second sweep within 100 ms");
    assert!(b.take(2, 590), "the next sweep finds both full");
}
