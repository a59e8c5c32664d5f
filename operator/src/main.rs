//! `bkv-operator`.
#![forbid(unsafe_code)]

fn main() {
    match bkv_operator::resource::crd_yaml() {
        Ok(y) => print!("{y}"),
        Err(e) => eprintln!("{e}"),
    }
}
