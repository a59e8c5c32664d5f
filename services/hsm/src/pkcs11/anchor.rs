//! The anchor of an orderly stop as a private data object (PKCS#11 `CKO_DATA`) in the token.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use super::answer;
use super::ceremony::Change;
use super::session::Pkcs11Conn;
use crate::error::TokenError;

impl Pkcs11Conn {
    fn anchor_label(&self) -> Attribute {
        Attribute::Label(format!("bkv/{}/anchor", self.common.vault).into_bytes())
    }

    fn anchors(&self) -> Result<Vec<ObjectHandle>, TokenError> {
        let ours = [Attribute::Class(ObjectClass::DATA), Attribute::Token(true), self.anchor_label()];
        match self.session.find_objects(&ours) {
            // A module that does not know data objects has none.
            Err(e) if answer::is_template(&e) => Ok(Vec::new()),
            found => found.map_err(self.refused("a search for the anchor")),
        }
    }

    /// Searches again, because a start relies on the anchor's end.
    fn destroy_anchors(&self) -> Result<(), TokenError> {
        for object in self.anchors()? {
            self.session.destroy_object(object).map_err(self.refused("the destruction of the anchor"))?;
        }
        if self.anchors()?.is_empty() {
            Ok(())
        } else {
            Err(self.bad_answer("the destruction of the anchor", "a search still finds it"))
        }
    }

    pub(super) fn put_anchor(&self, anchor: &[u8; 32]) -> Result<(), TokenError> {
        let _change = Change::begin(&self.common)?;
        self.destroy_anchors()?;
        let object = self
            .session
            .create_object(&[
                Attribute::Class(ObjectClass::DATA),
                Attribute::Token(true),
                Attribute::Private(true),
                self.anchor_label(),
                Attribute::Value(anchor.to_vec()),
            ])
            .map_err(self.refused("a data object for the anchor"))?;
        match self.anchor_value(object)? {
            Some(kept) if kept == *anchor => Ok(()),
            _ => Err(self.bad_answer("a data object for the anchor", "another value than was stored")),
        }
    }

    pub(super) fn take_anchor(&self) -> Result<Option<[u8; 32]>, TokenError> {
        let _change = Change::begin(&self.common)?;
        let objects = self.anchors()?;
        // Of two, neither can be told from one that was put back.
        let anchor = match objects.as_slice() {
            // A token that hides its objects, because it was logged out or lost its storage, hides the mask as well.
            [] => return self.check_mask().map(|()| None),
            [object] => self.anchor_value(*object)?,
            _ => None,
        };
        self.destroy_anchors()?;
        Ok(anchor)
    }

    fn anchor_value(&self, object: ObjectHandle) -> Result<Option<[u8; 32]>, TokenError> {
        let read = self
            .session
            .get_attributes(object, &[AttributeType::Value])
            .map_err(self.refused("the anchor's value"))?;
        Ok(read.into_iter().find_map(|a| match a {
            Attribute::Value(value) => value.try_into().ok(),
            _ => None,
        }))
    }
}
