//! Secrets: read by name, made where the operator makes them, never listed. What they hold is wiped when it is dropped and never said.

use std::collections::BTreeMap;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use zeroize::{Zeroize as _, Zeroizing};

use super::world::World;
use crate::apply::ApplyError;
use crate::conditions::{Check, Trouble};
use crate::labels::{MANAGER, ours};
use crate::plan::{Component, Part};
use crate::validate::{Fleet, Hsm, KeyOf, Pin, Pkcs11, Postgres};

/// A Secret's content; wiped when dropped.
pub(super) struct Content(BTreeMap<String, Vec<u8>>);

impl Content {
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    /// As text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|b| std::str::from_utf8(b).ok())
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.0.values_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

/// Whose a Secret is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This resource's.
    Ours,
    /// Of a resource of the same name that was deleted: the collector will take it.
    Leaving,
    /// Somebody else's.
    Others,
}

/// What the plan must know of an external database's Secret.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Database {
    /// It brings a CA.
    pub authority: bool,
    /// The port in its URL.
    pub port: Option<u16>,
}

/// Where a fleet's Secrets are.
pub(super) struct Secrets<'a> {
    api: Api<Secret>,
    fleet: &'a Fleet,
}

impl<'a> Secrets<'a> {
    pub(super) fn of(world: &World, fleet: &'a Fleet) -> Self {
        Self { api: Api::namespaced(world.client.clone(), &fleet.namespace), fleet }
    }

    /// Its content, and whose it is.
    pub(super) async fn read(&self, name: &str) -> Result<Option<(Content, Whose)>, ApplyError> {
        let found = self.api.get_opt(name).await.map_err(|e| ApplyError::of("Secret", name, e))?;
        Ok(found.map(|mut secret| {
            let ours = ours(&secret.metadata, self.fleet.name.as_str());
            let owner = secret.owner_references().iter().find(|o| o.controller == Some(true));
            let whose = match owner {
                _ if !ours => Whose::Others,
                Some(o) if o.uid != self.fleet.uid && o.kind == "BackupKeyVault" => Whose::Leaving,
                Some(o) if o.uid != self.fleet.uid => Whose::Others,
                _ => Whose::Ours,
            };
            let data = secret.data.take().unwrap_or_default();
            (Content(data.into_iter().map(|(k, v)| (k, v.0)).collect()), whose)
        }))
    }

    /// Only ours.
    pub(super) async fn ours(&self, name: &str) -> Result<Option<Content>, ApplyError> {
        match self.read(name).await? {
            Some((_, Whose::Others)) => Err(ApplyError::Collision { kind: "Secret", name: name.to_owned() }),
            Some((_, Whose::Leaving)) => Err(ApplyError::Leaving { kind: "Secret", name: name.to_owned() }),
            found => Ok(found.map(|(content, _)| content)),
        }
    }

    /// Makes one that must never be made twice (a PIN opens one token, and no other): if it is there by now, the next pass reads it.
    pub(super) async fn make(
        &self,
        name: &str,
        data: BTreeMap<&str, &[u8]>,
        owned: bool,
    ) -> Result<(), ApplyError> {
        let mut secret = self.secret(name, "Opaque", data, owned);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let done = self.api.create(&params, &secret).await;
        wipe(&mut secret);
        done.map(drop).map_err(|e| ApplyError::of("Secret", name, e))
    }

    /// Writes one. `owned`: it goes with the resource.
    pub(super) async fn write(
        &self,
        name: &str,
        kind: &str,
        data: BTreeMap<&str, &[u8]>,
        owned: bool,
    ) -> Result<(), ApplyError> {
        let mut secret = self.secret(name, kind, data, owned);
        // Somebody else's is not written over. Applied also when it is made: keys that are left out later must go.
        self.ours(name).await?;
        let done = self.api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&secret)).await;
        wipe(&mut secret);
        done.map(drop).map_err(|e| ApplyError::of("Secret", name, e))
    }

    fn secret(&self, name: &str, kind: &str, data: BTreeMap<&str, &[u8]>, owned: bool) -> Secret {
        let part = Part::of(self.fleet, Component::Pki);
        Secret {
            metadata: if owned { part.owned(name) } else { part.outliving(name) },
            type_: Some(kind.to_owned()),
            data: Some(data.into_iter().map(|(k, v)| (k.to_owned(), ByteString(v.to_vec()))).collect()),
            ..Secret::default()
        }
    }

    /// PINs: makes those that are the operator's to make (never after the fleet is made: a new PIN would not open an old token), and says what is wrong
    /// with those that were given.
    pub(super) async fn pins(&self, may_make: bool) -> Result<Vec<Trouble>, ApplyError> {
        let mut troubles = Vec::new();
        for region in &self.fleet.regions {
            let (made, what) =
                (self.fleet.names().pin(&region.name), format!("the PIN of region {}", region.name));
            match &region.hsm {
                Hsm::SoftHsm { pin: Pin::Made, .. } | Hsm::GcpKms { .. } => {
                    let found = self.ours(&made).await?;
                    let good = found.is_some_and(|c| c.get("pin").is_some_and(|p| !p.is_empty()));
                    if !good && may_make {
                        let pin = digits()?;
                        self.make(&made, [("pin", pin.as_bytes())].into(), false).await?;
                    } else if !good {
                        let why = format!(
                            "Secret {made} with {what} is gone: restore it; a new PIN would not open the token"
                        );
                        troubles.push(Trouble::new(Check::PinSecret, made, why));
                    }
                }
                Hsm::SoftHsm { pin: Pin::Given(key), .. }
                | Hsm::AwsCloudHsm { pin: key, .. }
                | Hsm::Pkcs11(Pkcs11 { pin: key, .. }) => {
                    troubles.extend(self.given(key, &what, Check::PinSecret).await?);
                }
            }
        }
        Ok(troubles)
    }

    async fn given(&self, key: &KeyOf, what: &str, check: Check) -> Result<Option<Trouble>, ApplyError> {
        let (name, wanted) = (&key.name, &key.key);
        let trouble = |why: String| Some(Trouble::new(check, name.clone(), why));
        Ok(match self.read(name).await? {
            None => {
                trouble(format!("Secret {name} is not there: make it, with {what} under the key `{wanted}`"))
            }
            Some((content, _)) => match content.get(wanted) {
                None => trouble(format!("Secret {name} has no key `{wanted}`: put {what} there")),
                Some([]) => trouble(format!("Secret {name}: `{wanted}` is empty; put {what} there")),
                Some(_) => None,
            },
        })
    }

    /// The database's Secrets; says what is wrong, and what the plan must know.
    pub(super) async fn database(&self) -> Result<(Option<Trouble>, Database), ApplyError> {
        let names = self.fleet.names();
        match &self.fleet.postgres {
            Postgres::None | Postgres::CloudNativePg { .. } => Ok((None, Database::default())),
            Postgres::External(key) => {
                let trouble = self.given(key, "the database's URL", Check::PostgresSecret).await?;
                let found = self.read(&key.name).await?.map(|(c, _)| c);
                let authority = found.as_ref().is_some_and(|c| c.get("ca.crt").is_some());
                let port = found
                    .as_ref()
                    .and_then(|c| c.text(&key.key))
                    .and_then(|url| reqwest::Url::parse(url).ok()?.port());
                Ok((trouble, Database { authority, port }))
            }
            Postgres::Managed(_) => {
                let (name, url) = (names.postgres(), names.postgres_url());
                let found = self.ours(&name).await?;
                let kept = found.as_ref().and_then(|c| c.text("password")).filter(|p| !p.is_empty());
                let password = if let Some(password) = kept {
                    Zeroizing::new(password.to_owned())
                } else {
                    let password = letters()?;
                    self.make(&name, [("password", password.as_bytes())].into(), true).await?;
                    password
                };
                let host = format!("{name}.{}.svc", self.fleet.namespace);
                let text = Zeroizing::new(format!(
                    "postgres://bkv:{}@{host}:5432/bkv?sslmode=verify-full&sslrootcert=/etc/bkv-postgres/ca.crt",
                    password.as_str()
                ));
                let authority = self.read(&names.postgres_tls()).await?;
                let ca = authority.as_ref().and_then(|(c, _)| c.text("ca.crt")).unwrap_or_default();
                let kept = self.ours(&url).await?;
                let same = kept
                    .as_ref()
                    .is_some_and(|c| c.text("url") == Some(text.as_str()) && c.text("ca.crt") == Some(ca));
                if !same && !ca.is_empty() {
                    self.write(
                        &url,
                        "Opaque",
                        [("url", text.as_bytes()), ("ca.crt", ca.as_bytes())].into(),
                        true,
                    )
                    .await?;
                }
                Ok((None, Database { authority: true, port: None }))
            }
        }
    }
}

fn wipe(secret: &mut Secret) {
    for value in secret.data.iter_mut().flat_map(BTreeMap::values_mut) {
        value.0.zeroize();
    }
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, ApplyError> {
    let mut bytes = Zeroizing::new([0u8; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| ApplyError::Refused {
        kind: "Secret",
        name: String::new(),
        why: "the system gives no randomness".into(),
    })?;
    Ok(bytes)
}

/// A PIN of 24 digits: about 80 bits. (A remainder of 10 in a byte is off by less than a fiftieth of a bit.)
fn digits() -> Result<Zeroizing<String>, ApplyError> {
    let bytes = random::<24>()?;
    Ok(Zeroizing::new(bytes.iter().map(|b| char::from(b'0' + b % 10)).collect()))
}

/// A password of 128 bits.
fn letters() -> Result<Zeroizing<String>, ApplyError> {
    Ok(Zeroizing::new(hex::encode(random::<16>()?.as_slice())))
}

/// A new fleet's id, 32 hexadecimal digits. Public.
pub(super) fn new_id() -> Result<String, ApplyError> {
    Ok(hex::encode(random::<16>()?.as_slice()))
}
