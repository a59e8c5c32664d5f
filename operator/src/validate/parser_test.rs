//! S38: whatever text a resource holds, each parser refuses it or returns a value within its bounds. Nothing panics.

use std::net::IpAddr;

use proptest::prelude::*;

use super::names::{data_key, label_value, object_name, qualified};
use super::url::https_port;
use super::{FleetName, HostName, Image, Quantity, RegionName};
use crate::changed_test::text;
use crate::resource::Period;

/// The most that the API server stores: 64 bits with a sign, in thousandths.
const MOST: u128 = (u64::MAX >> 1) as u128 * 1_000;

proptest! {
    #[test]
    fn s38_a_quantity_is_bounded_and_keeps_its_text(text in text()) {
        if let Some(quantity) = Quantity::parse(&text) {
            prop_assert_eq!(quantity.as_str(), text.as_str());
            prop_assert!(quantity.thousandths() <= MOST);
        }
    }

    #[test]
    fn s38_a_quantity_is_worth_what_was_written(n in 0..1_000_000u64, part in 0..1_000u128) {
        let worth = |text: String| Quantity::parse(&text).unwrap().thousandths();
        prop_assert_eq!(worth(format!("{n}m")), u128::from(n));
        prop_assert_eq!(worth(format!("{n}Ki")), u128::from(n) * 1_024_000);
        prop_assert_eq!(worth(format!("{n}.{part:03}")), u128::from(n) * 1_000 + part);
    }

    #[test]
    fn s38_arbitrary_text_is_no_period_or_one_of_digits_and_units(text in text()) {
        if Period(text.clone()).milliseconds().is_some() {
            prop_assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"msh".contains(&b)));
        }
    }

    #[test]
    fn s38_a_period_is_the_sum_of_its_parts(h in 0..100_000u64, m in 0..100_000u64, s in 0..100_000u64, ms in 0..100_000u64) {
        let wanted = ((h * 60 + m) * 60 + s) * 1_000 + ms;
        prop_assert_eq!(Period(format!("{h}h{m}m{s}s{ms}ms")).milliseconds(), Some(wanted));
    }

    #[test]
    fn s38_an_accepted_url_is_https_with_a_host_and_without_a_user(text in text()) {
        if let Some(port) = https_port(&text) {
            let url = ::url::Url::parse(&text).unwrap();
            prop_assert!(port != 0 && url.scheme() == "https" && url.has_host());
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }
    }

    #[test]
    fn s38_the_port_of_a_url_is_the_one_that_was_written(host in "[a-z]{1,20}", port in 1..=u16::MAX) {
        let url = format!("https://{host}.example:{port}/keys");
        prop_assert_eq!(https_port(&url), Some(port));
    }

    #[test]
    fn s38_an_accepted_name_is_bounded_and_keeps_its_text(text in text()) {
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if let Some(name) = FleetName::new(&text) {
            prop_assert!(name.as_str() == text && text.len() <= 20 && text.bytes().all(lower));
        }
        if let Some(name) = RegionName::new(&text) {
            prop_assert!(name.as_str() == text && text.len() <= 16 && text.bytes().all(lower));
        }
        if let Some(name) = HostName::new(&text) {
            prop_assert!(name.as_str() == text && text.len() <= 253 && text.parse::<IpAddr>().is_err());
        }
        if let Some(image) = Image::new(&text) {
            prop_assert!(image.as_str() == text && text.len() <= 512 && text.bytes().all(|b| b.is_ascii_graphic()));
        }
    }

    #[test]
    fn s38_an_accepted_key_is_one_file_in_its_folder(text in text()) {
        if data_key(&text) {
            prop_assert!(text.len() <= 253 && !text.contains('/') && text != "." && text != "..");
        }
        if object_name(&text) {
            prop_assert!(text.len() <= 253 && !text.contains('/'));
        }
        if qualified(&text) {
            prop_assert!(text.len() <= 253 + 1 + 63 && text.matches('/').count() <= 1);
        }
        if label_value(&text) {
            prop_assert!(text.len() <= 63);
        }
    }
}
