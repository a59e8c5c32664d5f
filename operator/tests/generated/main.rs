//! What is generated from the resource's types: the definition itself, and the reference of its fields. `make golden` renews it.
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
    bkv_golden::same(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name), generated);
}
