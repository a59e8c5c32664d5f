//! Operations that the owner key signs: delete, name the newest backup, overwrite. Each is idempotent by its id.

use bkv_core::account::{Manifest, State};
use bkv_core::id::{AccountId, Generation, Lineage, OperationId};
use bkv_core::statement::{self, Operation, Owned};
use bkv_stream::BackupKey;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation as Request;
use bkv_wire::proto::inner::{self as p};

use crate::attested::Regions;
use crate::client::{Client, Entered};
use crate::error::Error;
use crate::fault::{Fault, unexpected};
use crate::receipt::{self, Receipt};
use crate::sealed::{OwnerKey, owner_key};
use crate::settled::{Goal, Wait};

/// How long an owner's signature holds: long enough for every repetition, short enough that an attacker who withholds one can use it only briefly.
const VALID_MS: u64 = 10 * 60 * 1000;

/// A key that t regions have signed as deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The leader's receipt.
    pub receipt: Receipt,
    /// Regions that have not signed the deletion. Until they do, an attacker with root there can still use what they hold of the key.
    pub not_followed: Vec<String>,
}

/// A change that the owner signs. The owner also signs an overwrite, but that is part of a registration.
#[derive(Clone, Copy)]
enum Change {
    SetManifest(Manifest),
    Delete,
}

impl Change {
    /// What the owner signs.
    const fn operation(self) -> Operation {
        match self {
            Self::SetManifest(manifest) => Operation::SetManifest(manifest),
            Self::Delete => Operation::Delete,
        }
    }

    fn request(self, owner: p::OwnerSignature) -> Request {
        let owner = Some(owner);
        match self {
            Self::SetManifest(m) => Request::SetManifest(p::SetManifest {
                sequence: m.sequence,
                hash: m.hash.0.to_vec().into(),
                owner,
            }),
            Self::Delete => Request::Delete(p::Delete { owner }),
        }
    }

    /// What regions must sign before the operation is done, and which of them.
    const fn goal(self, generation: Generation) -> (Goal, Wait) {
        match self {
            Self::SetManifest(manifest) => (Goal::Named(generation, manifest), Wait::Threshold),
            Self::Delete => (Goal::Deleted(generation), Wait::All),
        }
    }
}

/// An owner-signed operation in progress. It outlives sessions, and every repetition sends the same bytes.
struct Signed {
    generation: Generation,
    signature: p::OwnerSignature,
}

impl Client {
    /// Removes the key from the vault for good.
    pub async fn delete(&self, key: &BackupKey) -> Result<Deleted, Error> {
        let (receipt, not_followed) = self.owned(key, Change::Delete).await?;
        Ok(Deleted { receipt, not_followed })
    }

    /// Names the newest backup, so that a new device notices when it is shown an older one.
    pub async fn set_manifest(&self, key: &BackupKey, manifest: Manifest) -> Result<Receipt, Error> {
        Ok(self.owned(key, Change::SetManifest(manifest)).await?.0)
    }

    /// The account's id and the fleet's lineage: what owner keys and backups are bound to.
    pub async fn account(&self) -> Result<(AccountId, Lineage), Error> {
        let entered = self.retry().run(|| async {
            let (_, entered) = self.enter(Regions::Threshold, None).await?;
            // From one region a rooted leader could name an account of its own, and the device would bind its key and backups to it.
            entered.agreed(|a| a.account)?;
            Ok(entered)
        });
        let entered = entered.await?;
        Ok((entered.account, entered.trusted.admission().lineage))
    }

    async fn owned(&self, key: &BackupKey, change: Change) -> Result<(Receipt, Vec<String>), Error> {
        let mut signed = None;
        self.retry()
            .run_with(&mut signed, |signed| async move {
                let ended = self.owned_once(key, change, signed).await;
                (signed, ended)
            })
            .await
    }

    async fn owned_once(
        &self,
        key: &BackupKey,
        change: Change,
        signed: &mut Option<Signed>,
    ) -> Result<(Receipt, Vec<String>), Fault> {
        let what = change.operation();
        // All clocks: of the first t regions a single liar's could be the smallest, and the signature would have expired at once.
        let regions = if signed.is_none() { Regions::All } else { Regions::None };
        let (mut session, entered) = self.enter(regions, None).await?;
        let (generation, signature) = if let Some(signed) = signed {
            (signed.generation, signed.signature.clone())
        } else {
            // Sign for the generation that t regions attest. Otherwise a rooted leader alone could make us sign for a later generation.
            let says = entered.agreed(|a| (a.state, a.generation))?;
            match says.state {
                State::Live | State::LastTry | State::Locked => {}
                State::None => return Err(Error::NoKey.into()),
                State::Destroyed => return Err(Error::Destroyed.into()),
                State::Deleted => return Err(Error::Deleted.into()),
            }
            let owner = owner_key(key.as_bytes(), &entered.trusted.admission().lineage, &entered.account);
            let (generation, signature) =
                (says.generation, self.sign(&entered, says.generation, &owner, &what)?);
            *signed = Some(Signed { generation, signature: signature.clone() });
            (generation, signature)
        };
        let reference = signature.operation.clone();
        let id = session.ask(change.request(signature)).await?;
        let (answer, _) = session.reply(&self.runtime, id, self.timing.reply).await?;
        let Answer::Done(done) = answer else { return Err(unexpected()) };
        let (trusted, account) = (&entered.trusted, &entered.account);
        let receipt =
            receipt::verify(trusted, entered.clock, account, what.receipt(), &reference, done.receipt)?;
        let (goal, wait) = change.goal(generation);
        let not_followed = self.settled(&mut session, &entered, goal, wait).await?;
        Ok((receipt, not_followed))
    }

    /// Signs an operation for the live generation. Replicas compare the expiry with entry times.
    ///
    /// It counts from the clocks that t regions sign. By the leader's alone, a rooted leader that claims a time years ahead could keep the signature back
    /// and use it in all that time. This device's own clock decides nothing here: it may be wrong without anybody's fault.
    pub(crate) fn sign(
        &self,
        entered: &Entered,
        generation: Generation,
        owner: &OwnerKey,
        what: &Operation,
    ) -> Result<p::OwnerSignature, Error> {
        let list = entered.trusted.admission();
        let operation = OperationId(self.runtime.bytes());
        let t = entered.trusted.threshold();
        let now = entered
            .survey
            .clock(t)
            .ok_or_else(|| Error::VaultUnreachable("too few regions answer".into()))?;
        let expires = now.plus(VALID_MS);
        let owned = Owned {
            lineage: &list.lineage,
            era: list.era,
            account: &entered.account,
            generation,
            operation: &operation,
            expires,
        };
        let signature = owner.sign(&statement::owner(&owned, what));
        Ok(p::OwnerSignature {
            operation: operation.0.to_vec().into(),
            expires_ms: expires.0,
            signature: signature.0.to_vec().into(),
        })
    }
}
