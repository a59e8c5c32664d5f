//! bkv
fn main() {}
