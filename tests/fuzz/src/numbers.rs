//! Numbers as an attacker would choose them.

use arbitrary::Arbitrary;

/// Numbers at the edges of types and bounds.
pub const EDGES: [u64; 12] =
    [0, 1, 127, 255, 65_535, (1 << 31) - 1, 1 << 32, 1 << 48, (1 << 48) + 1, 1 << 63, u64::MAX - 1, u64::MAX];

/// A number.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Number {
    Small(u8),
    Edge(u8),
    Any(u64),
}

impl Number {
    pub fn value(self) -> u64 {
        match self {
            Self::Small(n) => n.into(),
            Self::Edge(n) => EDGES[usize::from(n) % EDGES.len()],
            Self::Any(n) => n,
        }
    }
}
