//! When certificates are renewed.

use std::time::Duration;

/// A certificate is renewed after this share of its validity.
const RENEW_AFTER: (u32, u32) = (2, 3);

/// When something valid from `from` to `to` (seconds since the epoch) is due for renewal.
pub(super) fn renew_at(from: i64, to: i64) -> i64 {
    let life = to.saturating_sub(from).max(0);
    from.saturating_add(life / i64::from(RENEW_AFTER.1) * i64::from(RENEW_AFTER.0))
}

/// Certificates are valid from this long before they are made, because clocks differ.
pub(super) const BACKDATED: Duration = Duration::from_hours(1);
