//! Tables of addresses: `host:port` by region.

use std::collections::BTreeMap;

use crate::FieldError;

/// Checks that each region has an address that no other region has.
pub(crate) fn check(field: &'static str, table: &BTreeMap<String, String>) -> Result<(), FieldError> {
    if let Some(region) = table.keys().find(|r| !is_region(r)) {
        return Err(FieldError::new(field, format!("`{region}` is no region's name")));
    }
    if let Some((region, _)) = table.iter().find(|(_, a)| !is_host_and_port(a)) {
        return Err(FieldError::new(field, format!("`{region}` must be \"host:port\"")));
    }
    let mut addresses: Vec<&String> = table.values().collect();
    addresses.sort_unstable();
    let twice = addresses.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(a),
        _ => None,
    });
    match twice {
        Some(address) => Err(FieldError::new(
            field,
            format!("two regions are at {address}: each vault needs an address of its own"),
        )),
        None => Ok(()),
    }
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Checks a region name by the rule of the admission list.
pub(crate) fn is_region(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=16).contains(&name.len()) && name.bytes().all(good)
}
