//! The signatures that commands contain.

use minicbor::{Decode, Encode};

use crate::id::{OperationId, Signature, Slot, Time};

/// A signature by an owner key over {label, operation, lineage, era, account, live generation, H(payload), operation id, expiry}.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OwnerSignature {
    /// Drawn by the client. A repetition uses the same one.
    #[n(0)]
    pub operation: OperationId,
    /// The entry time after which the signature is void.
    #[n(1)]
    pub expires: Time,
    /// Ed25519.
    #[n(2)]
    pub signature: Signature,
}

/// A region's signature with its boot key: that it has stored a registration and can open its share, that it permits a last try, what its state is at a checkpoint, or which version of the state it can apply.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RegionSignature {
    /// The slot of the region.
    #[n(0)]
    pub slot: Slot,
    /// The boot key's certificate by the region's identity, as encoded by `bkv-wire`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// The boot key's signature over [`crate::statement::acknowledgement`], [`crate::statement::permit`], [`crate::statement::checkpoint`] or [`crate::statement::applies`].
    #[n(2)]
    pub signature: Signature,
}
