//! Forward lies: a rooted leader against two honest vaults, over three shards together.
//!
//! A history is a list of steps, drawn at random from a grammar (`step`): what people and honest vaults do, and what the liar sends. The honest vaults decide with
//! the public functions of bkv-core. What only the vault's edge decides is restated here in few lines: which appends reach the log (`append`), which snapshot is
//! installed (`install`), when a region speaks (`speak`), how it restarts (`joining`). `client` restates what a client checks. The log of a replica is a
//! list, an election is one call, and the network loses nothing but what a step cuts off.
//!
//! `audit` looks only at what people would notice: guesses, keys, tries, answers. It knows no rule of the vault, so each put-back fault (`fault`) must show as one of them.

mod append;
mod audit;
mod certify;
mod client;
mod fault;
mod forge;
mod forward_test;
mod history;
mod honest;
mod install;
mod joining;
mod liar;
mod log;
mod person;
mod replica;
mod secrets;
mod snapshot_lie;
mod speak;
mod step;
mod token;
mod world;

/// The shards. Each holds at least one account.
const SHARDS: u16 = 3;
/// The slot and node of the rooted vault. The honest ones are 1 and 2.
const LIAR: u8 = 3;
