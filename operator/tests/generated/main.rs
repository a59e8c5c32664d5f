//! What is written from the resource's types and kept in the checkout: the definition itself, and the reference of its fields.
//! `make crds` runs this with `BKV_WRITE=1`; otherwise a file that differs fails.
#![allow(clippy::expect_used, clippy::panic)]

mod conditions;
mod fields;

use std::path::PathBuf;

#[test]
fn the_definition_is_that_of_the_types() {
    same(
        "crds/backupkeyvaults.bkv.dev.yaml",
        &bkv_operator::resource::crd_yaml().expect("the definition as YAML"),
    );
}

#[test]
fn the_reference_is_that_of_the_types() {
    same("docs/operator-fields.md", &fields::reference(&bkv_operator::resource::crd()));
}

#[test]
fn the_reference_of_conditions_is_that_of_the_sources() {
    same("docs/operator-conditions.md", &conditions::reference());
}

fn same(name: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    if std::env::var_os("BKV_WRITE").is_some_and(|v| v == "1") {
        std::fs::write(&path, generated).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let line = kept.lines().zip(generated.lines()).position(|(a, b)| a != b).map_or(0, |n| n + 1);
    assert!(
        kept == generated,
        "{name} is not that of the types any more (first at line {line}): run make crds"
    );
}
