//! Which generations are kept. A function of values.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::format::ledger::Kept;

/// How far ahead of now a generation's time may lie, in milliseconds.
const AHEAD_MS: i64 = 86_400_000;

/// What to keep of a series. Counts are of complete generations: incomplete ones never push a complete one out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub last: u32,
    /// All that ended within this time before the newest one, in milliseconds.
    pub within_ms: Option<i64>,
    /// The newest of each of so many hours that have one.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// ISO weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
    /// All with one of these tags.
    pub tags: Vec<String>,
}

impl Policy {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// For each generation of one series, oldest first, whether it is kept. `protected` is the number of the newest one that the vault has named.
pub fn decide(
    generations: &[&Kept],
    policy: &Policy,
    protected: Option<u64>,
    now_ms: i64,
    zone: &TimeZone,
) -> Result<Vec<bool>> {
    if policy.is_empty() {
        return Err(Error::Refused(
            "no rule says what to keep; give at least one, such as --keep-last 7".into(),
        ));
    }
    check_times(generations, now_ms)?;
    let mut keep: Vec<bool> =
        generations.iter().map(|kept| kept.tags.iter().any(|t| policy.tags.contains(t))).collect();
    let complete = || {
        (0..generations.len())
            .rev()
            .filter_map(|n| generations.get(n).filter(|k| k.complete).map(|k| (n, *k)))
    };
    let newest = complete().next();
    let mut mark = |n: usize| {
        if let Some(kept) = keep.get_mut(n) {
            *kept = true;
        }
    };
    complete().take(policy.last as usize).for_each(|(n, _)| mark(n));
    if let (Some(within), Some((_, newest))) = (policy.within_ms, newest) {
        complete()
            .filter(|(_, kept)| kept.ended_ms >= newest.ended_ms.saturating_sub(within))
            .for_each(|(n, _)| mark(n));
    }
    for (count, period) in [
        (policy.hourly, Period::Hour),
        (policy.daily, Period::Day),
        (policy.weekly, Period::Week),
        (policy.monthly, Period::Month),
        (policy.yearly, Period::Year),
    ] {
        let (mut left, mut before) = (count, None);
        for (n, kept) in complete() {
            let of = period.of(kept.ended_ms, zone);
            if left > 0 && before != Some(of) {
                mark(n);
                left -= 1;
            }
            before = Some(of);
        }
    }
    if let Some((n, _)) = newest {
        mark(n);
    }
    for (n, kept) in generations.iter().enumerate() {
        // What is newer than the newest complete one is being continued.
        if Some(kept.number) == protected || newest.is_none_or(|(newest, _)| n > newest) {
            mark(n);
        }
    }
    Ok(keep)
}

/// A wrong clock must not decide what is deleted.
fn check_times(generations: &[&Kept], now_ms: i64) -> Result<()> {
    let mut before: Option<&Kept> = None;
    for kept in generations {
        if kept.ended_ms > now_ms.saturating_add(AHEAD_MS) {
            return Err(Error::Refused(format!(
                "generation {} is dated more than a day ahead of this device's clock; check the clock, or condemn that generation by its number",
                kept.number
            )));
        }
        if let Some(earlier) = before.filter(|earlier| earlier.ended_ms > kept.ended_ms) {
            return Err(Error::Refused(format!(
                "generation {} is dated before generation {}: a clock was wrong; condemn generations by their numbers",
                kept.number, earlier.number
            )));
        }
        before = Some(kept);
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    fn of(self, ms: i64, zone: &TimeZone) -> (Date, i8) {
        let at = Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(zone.clone());
        let date = at.date();
        let first = |month: i8, day: i8| Date::new(date.year(), month, day).unwrap_or(date);
        match self {
            Self::Hour => (date, at.hour()),
            Self::Day => (date, 0),
            Self::Week => {
                let week = date.iso_week_date();
                let monday =
                    jiff::civil::ISOWeekDate::new(week.year(), week.week(), jiff::civil::Weekday::Monday);
                (monday.map_or(date, Date::from), 0)
            }
            Self::Month => (first(date.month(), 1), 0),
            Self::Year => (first(1, 1), 0),
        }
    }
}

#[cfg(test)]
#[path = "policy_test.rs"]
mod policy_test;
