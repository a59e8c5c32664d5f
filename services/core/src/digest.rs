//! The digest of a shard's whole state: a hash of the set of its accounts that is updated with each change, instead of being computed over all of them.
//!
//! `LtHash16` with 1,024 lanes: each row is expanded to 1,024 numbers of 16 bits by BLAKE3, and the set's hash is their sum, lane by lane. An attacker chooses rows, so a
//! XOR or a plain sum of hashes would not do: both fall to generalised birthday attacks. With these parameters a second set with the same hash costs more than 2¹²⁸
//! (Bellare and Micciancio 1997; Lewi and others, "Securing Update Propagation with Homomorphic Hashing", 2019).

use std::fmt;

use blake3::{Hasher, OutputReader};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::account::Account;
use crate::encoding::cbor;
use crate::fleet::Fleet;
use crate::hash::tagged;
use crate::id::{AccountId, Hash};

const LANES: usize = 1024;
const BYTES: usize = 2 * LANES;

/// The hash of the set of a shard's accounts, and their number.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Digest {
    /// The lanes, each with its lower byte first.
    #[cbor(n(0), with = "minicbor::bytes")]
    lanes: Vec<u8>,
    /// The number of accounts.
    #[n(1)]
    rows: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { lanes: vec![0; BYTES], rows: 0 }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} rows)", self.rows)
    }
}

/// The hash of one row, from which its numbers are expanded. A caller that keeps it beside the account need not encode and hash that account again.
#[derive(Clone)]
pub struct RowHash(OutputReader);

impl RowHash {
    /// Of an account in this encoding, which must be [`cbor`]'s.
    pub fn of_encoded(id: &AccountId, account: &[u8]) -> Self {
        let mut hasher = Hasher::new_derive_key("bkv/row/1");
        // The id has a fixed length and the account's encoding is canonical, so two rows never give the same bytes.
        hasher.update(&id.0);
        hasher.update(account);
        Self(hasher.finalize_xof())
    }

    /// Of an account.
    pub fn of(id: &AccountId, account: &Account) -> Self {
        Self::of_encoded(id, &Zeroizing::new(cbor(account)))
    }

    /// The row's numbers. On a processor without AVX-512 this costs as much as all the rest of a change.
    pub fn expand(&self) -> RowNumbers {
        let mut numbers = Box::new([0; BYTES]);
        self.0.clone().fill(numbers.as_mut_slice());
        RowNumbers(numbers)
    }
}

/// The numbers of one row. A caller that keeps those of a row that it has added can remove them again without expanding them.
pub struct RowNumbers(Box<[u8; BYTES]>);

impl RowNumbers {
    /// Of an account.
    pub fn of(id: &AccountId, account: &Account) -> Self {
        RowHash::of(id, account).expand()
    }
}

impl fmt::Debug for RowNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowNumbers(..)")
    }
}

impl fmt::Debug for RowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RowHash(..)")
    }
}

impl Digest {
    /// Adds an account that the set does not have.
    pub fn add(&mut self, row: &RowNumbers) {
        self.combine(row, u16::wrapping_add);
        self.rows = self.rows.wrapping_add(1);
    }

    /// Removes an account that the set has, in exactly this state.
    pub fn remove(&mut self, row: &RowNumbers) {
        self.combine(row, u16::wrapping_sub);
        self.rows = self.rows.wrapping_sub(1);
    }

    /// The number of accounts.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of a shard's state: its accounts, its fleet with the documents, and the membership, as the log has it.
    pub fn of_state(&self, shard: u16, fleet: &Fleet, membership: &[&[u8]]) -> Hash {
        let membership = tagged("bkv/membership/1", membership);
        tagged(
            "bkv/state/1",
            &[&shard.to_be_bytes(), &self.rows.to_be_bytes(), &self.lanes, &cbor(fleet), &membership.0],
        )
    }

    fn combine(&mut self, row: &RowNumbers, by: impl Fn(u16, u16) -> u16) {
        // A decoded digest of another length stays as it is, and equals no other.
        for (lane, add) in self.lanes.as_chunks_mut::<2>().0.iter_mut().zip(row.0.as_chunks::<2>().0) {
            *lane = by(u16::from_le_bytes(*lane), u16::from_le_bytes(*add)).to_le_bytes();
        }
    }
}
