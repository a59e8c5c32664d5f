//! The root's statement that ends one halt or quarantine of one replica.

use bkv_core::id::{Era, Lineage, NodeId};
use bytes::Bytes;
use prost::Message as _;

use super::{DocumentError, MAX_DOCUMENT, Root, RootKey, verified};
use crate::proto::documents as p;

const KIND: &str = "lift";

/// Ends one halt or quarantine. It names the random id of the stop, so it ends no later one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lift {
    /// The fleet's lineage.
    pub lineage: Lineage,
    /// The fleet's era.
    pub era: Era,
    /// The vault.
    pub node: NodeId,
    /// The shard.
    pub shard: u16,
    /// The id that the vault reports with the stop.
    pub stop: [u8; 16],
}

impl Lift {
    /// The bytes that the root signs.
    fn encode(&self) -> Bytes {
        let lift = p::Lift {
            lineage: self.lineage.0.to_vec().into(),
            era: self.era.0,
            node: self.node.0,
            shard: u32::from(self.shard),
            stop: self.stop.to_vec().into(),
        };
        lift.encode_to_vec().into()
    }
}

/// Signs the statement. A root of several keys signs one after the other: `signed` is what the others have signed.
pub fn sign_lift(lift: &Lift, signed: Option<&[u8]>, key: &RootKey) -> Result<Vec<u8>, DocumentError> {
    let body = lift.encode();
    let malformed = |e: prost::DecodeError| DocumentError::Malformed { what: "lift", why: e.to_string() };
    let mut doc = match signed {
        Some(signed) => p::SignedDocument::decode(signed).map_err(malformed)?,
        None => p::SignedDocument { kind: KIND.into(), body: body.clone(), signatures: Vec::new() },
    };
    if doc.kind != KIND || doc.body != body {
        return Err(DocumentError::Malformed {
            what: "lift",
            why: "the others have signed another one".into(),
        });
    }
    key.sign(&mut doc);
    Ok(doc.encode_to_vec())
}

/// Checks signatures, then reads the statement.
pub fn lift(root: &Root, signed: &[u8]) -> Result<Lift, DocumentError> {
    let lift = read(verified(root, KIND, signed)?)?;
    if lift.lineage != root.lineage() || lift.era != root.era {
        return Err(DocumentError::OtherFleet { kind: KIND });
    }
    Ok(lift)
}

fn read(body: Bytes) -> Result<Lift, DocumentError> {
    let malformed = |why: String| DocumentError::Malformed { what: "lift", why };
    let l = p::Lift::decode(body).map_err(|e| malformed(e.to_string()))?;
    Ok(Lift {
        lineage: Lineage::try_from(&l.lineage[..]).map_err(|_| malformed("lineage".into()))?,
        era: Era(l.era),
        node: NodeId(l.node),
        shard: u16::try_from(l.shard).map_err(|_| malformed("shard".into()))?,
        stop: l.stop[..].try_into().map_err(|_| malformed("stop".into()))?,
    })
}

/// A statement whose signatures are not verified, for display only.
#[derive(Clone, Debug)]
pub struct ShownLift {
    /// What it says.
    pub lift: Lift,
    /// The number of signatures, valid or not.
    pub signatures: usize,
    /// The bytes that the root signs.
    pub body: Bytes,
}

/// Decodes the statement without checking signatures. None if the document is of another kind. Refuses a statement whose fields are not all that is in it.
pub fn show_lift(document: &[u8]) -> Result<Option<ShownLift>, DocumentError> {
    if document.len() > MAX_DOCUMENT {
        return Err(DocumentError::TooLong { len: document.len(), max: MAX_DOCUMENT });
    }
    let doc = p::SignedDocument::decode(document)
        .map_err(|e| DocumentError::Malformed { what: "document", why: e.to_string() })?;
    if doc.kind != KIND {
        return Ok(None);
    }
    let lift = read(doc.body.clone())?;
    if lift.encode() != doc.body {
        return Err(DocumentError::NotWhole { kind: KIND });
    }
    Ok(Some(ShownLift { lift, signatures: doc.signatures.len(), body: doc.body }))
}

#[cfg(test)]
mod tests {
    use bkv_core::id::FleetId;
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn only_the_root_lifts_and_only_in_its_fleet() {
        let keys = [1, 2, 3].map(|n| RootKey::from_seed(&Zeroizing::new([n; 32])));
        let all = keys.iter().map(RootKey::public).collect();
        let root = Root { keys: all, threshold: 2, fleet: FleetId([1; 16]), era: Era(1), development: false };
        let stop = Lift { lineage: root.lineage(), era: Era(1), node: NodeId(7), shard: 3, stop: [9; 16] };
        let one = sign_lift(&stop, None, &keys[0]).unwrap();
        assert!(matches!(lift(&root, &one), Err(DocumentError::Signatures { got: 1, .. })));
        let two = sign_lift(&stop, Some(&one), &keys[2]).unwrap();
        assert_eq!(lift(&root, &two), Ok(stop));
        let shown = show_lift(&one).unwrap().unwrap();
        assert_eq!((shown.lift, shown.signatures), (stop, 1));
        assert!(show_lift(&super::super::unsigned(super::super::Kind::Policy, vec![])).unwrap().is_none());
        // A field of a later version would be signed unseen.
        let mut later = p::SignedDocument::decode(&one[..]).unwrap();
        later.body = [&later.body[..], &[0xf8, 7, 1]].concat().into();
        assert!(matches!(show_lift(&later.encode_to_vec()), Err(DocumentError::NotWhole { .. })));
        let other = Lift { shard: 4, ..stop };
        assert!(sign_lift(&other, Some(&one), &keys[2]).is_err(), "the others have signed another shard");
        let foreign = Root { fleet: FleetId([2; 16]), ..root };
        assert_eq!(lift(&foreign, &two), Err(DocumentError::OtherFleet { kind: "lift" }));
    }
}
