//! Places: the table, shard and key of a row. A place is the associated data of its row's encryption, so a row moved to another place does not
//! decrypt.

use std::fmt;

/// The kind of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Table {
    /// Small values of the vault itself.
    Vault = 1,
    /// Vote, last purged, head of the state.
    Shard = 2,
    /// Raft entries by index.
    Log = 3,
    /// Accounts by copy and hidden id.
    Account = 4,
    /// Masked secrets by copy and hidden (id, registration).
    Secret = 5,
    /// Floors by hidden id.
    Floor = 6,
    /// Events by cursor.
    Event = 7,
    /// Deadlines by copy and hidden id.
    Deadline = 8,
    /// Rows from before a change, by checkpoint and place.
    Before = 9,
}

/// table ‖ shard ‖ key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(Vec<u8>);

/// Rows of the vault itself lie in no shard.
pub(crate) const VAULT: u16 = u16::MAX;

impl Place {
    /// A small value of the vault itself.
    pub(crate) fn of_vault(name: &str) -> Self {
        Self::new(Table::Vault, VAULT, name.as_bytes())
    }

    pub(crate) fn new(table: Table, shard: u16, key: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(3 + key.len());
        bytes.push(table as u8);
        bytes.extend_from_slice(&shard.to_be_bytes());
        bytes.extend_from_slice(key);
        Self(bytes)
    }

    /// The place of a row that belongs to one copy of a shard's state. A snapshot is staged as another copy beside the live one.
    pub(crate) fn of_copy(table: Table, shard: u16, copy: u32, key: &[u8]) -> Self {
        Self::new(table, shard, &[&copy.to_be_bytes(), key].concat())
    }

    /// The copy to which such a row belongs.
    pub(crate) fn copy(&self) -> Option<u32> {
        self.0.get(3..7)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// The place of a numbered row. Rows are ordered by number.
    pub(crate) fn numbered(table: Table, shard: u16, number: u64) -> Self {
        Self::new(table, shard, &number.to_be_bytes())
    }

    /// The number of a numbered row.
    pub(crate) fn number(&self) -> Option<u64> {
        self.0.get(3..)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// True if the row is in this table.
    pub(crate) fn is_of(&self, table: Table) -> bool {
        self.0.first() == Some(&(table as u8))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn shard(&self) -> u16 {
        self.0.get(1..3).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    /// From the first place that begins with this one to the end of the last.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        let mut end = self.0.clone();
        end.extend_from_slice(&[0xff; 40]);
        (self.0.clone(), end)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} shard {}", self.0.first().copied().unwrap_or(0), self.shard())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
