use super::*;
use crate::format::manifest::Content;
use crate::format::secret::Secret;

const DAY: i64 = 86_400_000;

fn kept(number: u64, ended_ms: i64, complete: bool) -> Kept {
    Kept {
        series: [1; 16],
        number,
        generation: [2; 16],
        seed: Some(Secret::from_bytes([3; 32])),
        manifest: [4; 32],
        manifest_bytes: 5,
        begun_ms: ended_ms,
        ended_ms,
        content: Content::Tree,
        complete,
        files: 1,
        bytes: 1,
        new_bytes: 1,
        tags: if number == 3 { vec!["keep".into()] } else { Vec::new() },
        objects: 1,
    }
}

fn numbers(all: &[Kept], policy: &Policy, protected: Option<u64>) -> Result<Vec<u64>> {
    let refs: Vec<&Kept> = all.iter().collect();
    let keep = decide(&refs, policy, protected, 400 * DAY, &TimeZone::UTC)?;
    Ok(all.iter().zip(keep).filter(|(_, keep)| *keep).map(|(kept, _)| kept.number).collect())
}

#[test]
fn each_rule_keeps_the_newest_of_its_periods() {
    // Two a day, from day 1 to day 100. Day 0 is 1970-01-01, a Thursday.
    let all: Vec<Kept> =
        (2..202_u64).map(|n| kept(n, i64::try_from(n).unwrap() * DAY / 2 + DAY / 4, true)).collect();
    let rule = |policy: Policy| numbers(&all, &policy, None).unwrap();
    assert_eq!(rule(Policy { last: 2, ..Policy::default() }), [200, 201]);
    assert_eq!(rule(Policy { daily: 3, ..Policy::default() }), [197, 199, 201]);
    assert_eq!(rule(Policy { hourly: 2, ..Policy::default() }), [200, 201]);
    // Days 95 (Monday) to 100; the week before ends on day 94.
    assert_eq!(
        rule(Policy { weekly: 2, ..Policy::default() }),
        [193 - 4, 201].map(|n| if n == 189 { 193 - 4 } else { n })
    );
    // January has 31 days, February 28, March 31: the last days are 30, 58, 89.
    assert_eq!(rule(Policy { monthly: 3, ..Policy::default() }), [117, 179, 201]);
    assert_eq!(rule(Policy { yearly: 5, ..Policy::default() }), [201]);
    assert_eq!(rule(Policy { within_ms: Some(DAY), ..Policy::default() }), [199, 200, 201]);
    assert_eq!(rule(Policy { tags: vec!["keep".into()], ..Policy::default() }), [3, 201]);
}

/// L4: incomplete ones do not push a complete one out, and the newest complete one always stays.
#[test]
fn incomplete_generations_do_not_count() {
    let all: Vec<Kept> = (1..13).map(|n| kept(n, i64::try_from(n).unwrap() * DAY, n < 3)).collect();
    assert_eq!(
        numbers(&all, &Policy { last: 1, ..Policy::default() }, None).unwrap(),
        (2..13).collect::<Vec<_>>()
    );
    let all: Vec<Kept> = (1..13).map(|n| kept(n, i64::try_from(n).unwrap() * DAY, n % 2 == 0)).collect();
    assert_eq!(numbers(&all, &Policy { last: 2, ..Policy::default() }, Some(5)).unwrap(), [5, 10, 12]);
}

#[test]
fn a_wrong_clock_and_a_missing_rule_stop_it() {
    let all = [kept(1, DAY, true), kept(2, 402 * DAY, true)];
    let last = Policy { last: 1, ..Policy::default() };
    assert!(numbers(&all, &last, None).unwrap_err().to_string().contains("ahead"));
    let all = [kept(1, 9 * DAY, true), kept(2, 8 * DAY, true)];
    assert!(numbers(&all, &last, None).unwrap_err().to_string().contains("a clock was wrong"));
    assert!(numbers(&all, &Policy::default(), None).unwrap_err().to_string().contains("no rule"));
}
