//! The rooted leader (S43): an attacker with one admitted vault's identity key, store and log. It speaks the peers' protocol itself to two honest
//! vaults with real stores. It cannot make what clients sign, so those parts are genuine; it makes up everything else.

pub mod client;
pub mod fleet;
pub mod leader;
