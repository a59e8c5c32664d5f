//! Objects in the token: makes keys, finds them, checks their attributes.

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::answer;
use super::dialect::{Dialect, KeyLifetime, Names, PairTemplate, Secret, Template};
use crate::keys::{KeyName, VaultName};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the module made no key.
#[derive(Debug)]
pub(super) struct NoKey {
    pub(super) error: Error,
    /// The attribute without which it makes the key.
    pub(super) refused: Option<AttributeType>,
}

/// Objects of `class` under the key's label.
pub(super) fn find(
    session: &Session,
    names: Names<'_>,
    key: KeyName,
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>> {
    session.find_objects(&[
        Attribute::Class(class),
        Attribute::Token(true),
        Attribute::Label(names.label(key).into_bytes()),
    ])
}

/// Every key in the token whose label has our form, whichever vault it names.
pub(super) fn our_labels(session: &Session, names: Names<'_>) -> Result<Vec<(VaultName, KeyName)>> {
    let mut ours = Vec::new();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY, ObjectClass::SECRET_KEY] {
        for object in session.find_objects(&[Attribute::Class(class), Attribute::Token(true)])? {
            // Another session may have destroyed the object since the search.
            let Ok(attributes) = session.get_attributes(object, &[AttributeType::Label]) else { continue };
            for attribute in attributes {
                if let Attribute::Label(label) = attribute
                    && let Ok(label) = std::str::from_utf8(&label)
                    && let Some(named) = names.parse(label)
                {
                    ours.push(named);
                }
            }
        }
    }
    Ok(ours)
}

/// Makes an EC P-256 pair. Returns the public and the private part.
pub(super) fn make_pair(
    session: &Session,
    names: Names<'_>,
    key: KeyName,
    lifetime: KeyLifetime,
) -> Result<(ObjectHandle, ObjectHandle), NoKey> {
    let PairTemplate { public, private } = names.pair(key, lifetime);
    let generate = |public: &[Attribute], private: &[Attribute]| {
        session.generate_key_pair(&Mechanism::EccKeyPairGen, public, private)
    };
    let passing = |made: (ObjectHandle, ObjectHandle)| destroy(session, &[made.0, made.1]);
    strictest(&private, |private| generate(&public, private)).map_err(|error| {
        let refused = blame(&error, &private.required, |private| {
            generate(&session_only(&public), private).map(passing)
        });
        let refused = refused.or_else(|| {
            let private = session_only(&private.required);
            blame(&error, &public, |public| generate(public, &private).map(passing))
        });
        NoKey { error, refused }
    })
}

/// Makes a generic secret.
pub(super) fn make_secret(
    session: &Session,
    names: Names<'_>,
    key: KeyName,
    secret: Secret,
    lifetime: KeyLifetime,
) -> Result<ObjectHandle, NoKey> {
    let template = names.secret(key, secret, lifetime);
    let generate = |template: &[Attribute]| session.generate_key(&Mechanism::GenericSecretKeyGen, template);
    strictest(&template, generate).map_err(|error| {
        let refused = blame(&error, &template.required, |template| {
            generate(template).map(|made| destroy(session, &[made]))
        });
        NoKey { error, refused }
    })
}

/// Makes a key with as many of the optional attributes as the module takes.
fn strictest<T>(template: &Template, make: impl Fn(&[Attribute]) -> Result<T>) -> Result<T> {
    let mut optional = template.optional.clone();
    loop {
        let made = make(&[template.required.as_slice(), &optional].concat());
        let Err(error) = &made else { return made };
        if !answer::is_template(error) || optional.is_empty() {
            return made;
        }
        // The module does not say which one it refuses: leave out each alone, then the first for good.
        for at in 0..optional.len() {
            let mut fewer = optional.clone();
            fewer.remove(at);
            let made = make(&[template.required.as_slice(), &fewer].concat());
            if !made.as_ref().is_err_and(answer::is_template) {
                return made;
            }
        }
        optional.remove(0);
    }
}

/// The attribute without which the module makes a key. The trial keys end with the session and are destroyed at once. A name that is used once is not spent on trials.
fn blame(
    error: &Error,
    template: &[Attribute],
    make: impl Fn(&[Attribute]) -> Result<()>,
) -> Option<AttributeType> {
    let trials = session_only(template);
    let names_are_free = trials.iter().any(|a| matches!(a, Attribute::Token(false)));
    if !answer::is_template(error) || !names_are_free {
        return None;
    }
    (0..trials.len()).find_map(|at| {
        let mut fewer = trials.clone();
        let left_out = fewer.remove(at);
        make(&fewer).is_ok().then(|| left_out.attribute_type())
    })
}

fn session_only(template: &[Attribute]) -> Vec<Attribute> {
    let change = |a: &Attribute| match a {
        Attribute::Token(_) => Attribute::Token(false),
        other => other.clone(),
    };
    template.iter().map(change).collect()
}

fn destroy(session: &Session, objects: &[ObjectHandle]) {
    for object in objects {
        let _ = session.destroy_object(*object);
    }
}

/// The attribute with which the key could leave the token, or could have been outside it, or None. An attribute that the module does not report counts as unsafe, except
/// the optional `CKA_DERIVE` and `CKA_LOCAL`, which an attacker can't keep a module from reporting.
pub(super) fn weakness(
    session: &Session,
    dialect: Dialect,
    key: ObjectHandle,
) -> Result<Option<&'static str>> {
    let mut sensitive = false;
    let mut extractable = true;
    let mut private = !dialect.has_private_keys();
    let mut derives = false;
    let mut local = true;
    let asked = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Private,
        AttributeType::Derive,
        AttributeType::Local,
    ];
    for attribute in session.get_attributes(key, &asked)? {
        match attribute {
            Attribute::Sensitive(value) => sensitive = value,
            Attribute::Extractable(value) => extractable = value,
            Attribute::Private(value) => private |= value,
            Attribute::Derive(value) => derives = value,
            Attribute::Local(value) => local = value,
            _ => {}
        }
    }
    Ok(if extractable {
        Some("CKA_EXTRACTABLE is not false")
    } else if !sensitive {
        Some("CKA_SENSITIVE is not true")
    } else if !private {
        Some("CKA_PRIVATE is not true")
    } else if derives {
        Some("CKA_DERIVE is true")
    } else if !local {
        Some("CKA_LOCAL is false: it was brought in, so its value is known outside")
    } else {
        None
    })
}
