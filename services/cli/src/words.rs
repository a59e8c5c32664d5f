//! Numbers and times as people read them.

/// "1 file", "2 files".
pub(crate) fn count(n: u64, one: &str) -> String {
    let plural = match one.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{one}s"),
    };
    if n == 1 { format!("1 {one}") } else { format!("{n} {plural}") }
}

/// Milliseconds since 1970 as RFC 3339, in UTC. An attacker may have chosen the number: if it is no valid time, it is shown as a number.
pub(crate) fn time(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{ms} ms since 1970"), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many_and_a_time_is_a_time() {
        assert_eq!((count(1, "file"), count(0, "file")), ("1 file".into(), "0 files".into()));
        assert_eq!((count(1, "try"), count(9, "try")), ("1 try".into(), "9 tries".into()));
        assert_eq!(time(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(time(u64::MAX), "18446744073709551615 ms since 1970");
    }
}
