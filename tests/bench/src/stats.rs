//! Figures from samples, as pure functions.

use std::time::Duration;

/// The value that `percent` of the samples do not exceed (nearest rank). None without samples.
pub(crate) fn percentile(samples: &mut [Duration], percent: usize) -> Option<Duration> {
    if samples.is_empty() {
        return None;
    }
    samples.sort_unstable();
    let rank = (samples.len() * percent.min(100)).div_ceil(100).max(1);
    samples.get(rank - 1).copied()
}

/// Longest time between two successes minus the median one, from moments in order. None with fewer than three moments.
pub(crate) fn longest_gap(moments: &[Duration]) -> Option<Duration> {
    if moments.len() < 3 {
        return None;
    }
    let mut between: Vec<Duration> =
        moments.iter().zip(moments.iter().skip(1)).map(|(a, b)| b.saturating_sub(*a)).collect();
    let usual = percentile(&mut between, 50)?;
    between.last().map(|longest| longest.saturating_sub(usual))
}

/// Milliseconds with fractions.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `total / count`. None if that is not finite.
#[allow(clippy::cast_precision_loss)] // far below 2^52
pub(crate) fn each(total: f64, count: usize) -> Option<f64> {
    Some(total / count as f64).filter(|v| v.is_finite())
}

/// Per second.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn rate(count: usize, over: Duration) -> Option<f64> {
    Some(count as f64 / over.as_secs_f64()).filter(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(list: &[u64]) -> Vec<Duration> {
        list.iter().map(|m| Duration::from_millis(*m)).collect()
    }

    #[test]
    fn percentiles_are_samples_and_need_no_order() {
        let mut hundred: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut hundred, 50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&mut hundred, 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&mut hundred, 100), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&mut hundred, 0), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&mut ms(&[7]), 99), Some(Duration::from_millis(7)));
        assert_eq!(percentile(&mut [], 50), None);
    }

    #[test]
    fn a_gap_is_the_excess_over_the_median() {
        assert_eq!(longest_gap(&ms(&[0, 10, 20, 30, 740, 750, 760])), Some(Duration::from_millis(700)));
        assert_eq!(longest_gap(&ms(&[0, 10, 20])), Some(Duration::ZERO));
        assert_eq!(longest_gap(&ms(&[0, 10])), None);
    }

    #[test]
    fn a_division_by_zero_gives_none() {
        assert_eq!(each(5.0, 0), None);
        assert_eq!(rate(5, Duration::ZERO), None);
        assert_eq!(rate(5, Duration::from_secs(2)), Some(2.5));
    }
}
