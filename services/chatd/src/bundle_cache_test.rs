use std::collections::BTreeMap;

use bkv_wire::proto::outer::Bundle;

use crate::bundle_cache::{Known, choose};

/// Returns the region and the bundle that ChatD chooses among these. `junk` does not decode.
fn chosen(known: &[(&str, &'static str)], not: &[&str]) -> Option<(String, Vec<u8>)> {
    let known: BTreeMap<String, Known> = known
        .iter()
        .map(|(region, text)| {
            let (admission, policy) = (text.as_bytes().into(), text.as_bytes().into());
            let bundle = Bundle { admission, policy, region: (*region).to_owned() };
            ((*region).to_owned(), Known { bundle, number: (*text != "junk").then_some(1) })
        })
        .collect();
    choose(&known, not).map(|k| (k.bundle.region.clone(), k.bundle.policy.to_vec()))
}

#[test]
fn s49_one_regions_bundle_does_not_outvote_the_others() {
    let known = [("a", "lie"), ("b", "true"), ("c", "true")];
    assert_eq!(chosen(&known, &[]), Some(("b".into(), b"true".into())));
    assert_eq!(chosen(&[("a", "true"), ("b", "true"), ("c", "lie")], &[]).unwrap().1, b"true");
    assert_eq!(chosen(&[("a", "junk"), ("b", "true")], &[]).unwrap().1, b"true");
    assert_eq!(chosen(&[("a", "junk")], &[]).unwrap().1, b"junk", "clients report what is wrong with it");
    assert_eq!(chosen(&[], &[]), None);
}

#[test]
fn s49_a_client_reaches_every_regions_bundle() {
    let known = [("a", "lie"), ("b", "true")];
    assert_eq!(chosen(&known, &[]), Some(("a".into(), b"lie".into())), "one against one");
    assert_eq!(chosen(&known, &["a"]), Some(("b".into(), b"true".into())));
    assert_eq!(chosen(&known, &["a", "b"]), None);
}
