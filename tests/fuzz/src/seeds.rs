//! Inputs that a number determines. The tests send them to the handlers in each run, and a fuzzer begins with them. They are made anew each time, because
//! kept bytes would mean other messages as soon as a type gets another variant.

use std::path::Path;

use arbitrary::{Arbitrary as _, Unstructured};
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::target::Target;

/// Most messages of a seed.
const MESSAGES: usize = 12;
/// Bytes that one message may use.
const DRAWN: usize = 512;
/// How many seeds a fuzzer begins with.
const FIRST: u64 = 200;

/// The bytes of a sequence of messages. A random byte string would end after the first message half of the time, so the byte that goes on is set before each message.
pub fn seed<T: Target>(number: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut bytes = Vec::new();
    for _ in 0..rng.gen_range(1..=MESSAGES) {
        let mut drawn = [0; DRAWN];
        rng.fill_bytes(&mut drawn);
        let mut rest = Unstructured::new(&drawn);
        if T::Message::arbitrary(&mut rest).is_ok() {
            bytes.push(1);
            bytes.extend(&drawn[..DRAWN - rest.len()]);
        }
    }
    bytes
}

/// Writes the first seeds into a folder.
pub fn write<T: Target>(folder: &Path) {
    for number in 0..FIRST {
        std::fs::write(folder.join(format!("seed-{number}")), seed::<T>(number)).unwrap();
    }
}
