//! Operations that the owner key signs: delete, name or forget a writer's ledger, overwrite. Each is idempotent by its id.

use bkv_core::account::State;
use bkv_core::id::{AccountId, Generation, Hash, Lineage, OperationId, WriterId};
use bkv_core::secret::Secret32;
use bkv_core::statement::{self, Attested, Operation, Owned};
use bkv_core::writers::{AttestedWriter, LedgerName, MAX_WRITERS, Naming, owner_hash, v_hash};
use bkv_stream::BackupKey;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation as Request;
use bkv_wire::proto::inner::{self as p};
use bytes::Bytes;

use crate::attested::Regions;
use crate::client::{Client, Entered};
use crate::error::Error;
use crate::fault::{Cause, Fault, is_about_account, unexpected};
use crate::receipt::{self, Receipt};
use crate::sealed::{OwnerKey, owner_key};
use crate::session::Session;
use crate::settled::{Goal, Wait};
use crate::writers::SetLedger;

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
pub(crate) enum Change {
    SetLedger(SetLedger),
    /// The newest of the backups that are one file each. Any older one may be named now.
    NameFile(LedgerName),
    ForgetWriter(WriterId),
    Delete,
}

/// A change of an account whose regions have signed which ledgers are named.
struct Ready {
    operation: Operation,
    request: Request,
    /// What regions must sign before the operation is done, and which of them.
    goal: Goal,
    wait: Wait,
}

impl Change {
    /// What t regions must sign alike before this change is signed.
    fn depends_on(&self, a: &Attested) -> (State, Generation, Hash, Vec<AttestedWriter>) {
        let reads_map = !matches!(self, Self::Delete);
        (a.state, a.generation, a.owner, if reads_map { a.writers.clone() } else { Vec::new() })
    }

    /// The change for an account with these writers, or why they do not permit it.
    fn ready(&self, generation: Generation, writers: &[AttestedWriter]) -> Result<Ready, Error> {
        let known = |id: &WriterId| writers.iter().find(|w| w.id == *id);
        match self {
            Self::SetLedger(set) => set_ledger(generation, writers, set),
            Self::NameFile(ledger) => {
                let named = known(&WriterId::FILES).map(|w| w.ledger);
                if named.is_some_and(|n| n.counter >= ledger.counter) {
                    return Err(Error::OlderBackup);
                }
                let expected = named.map(|n| n.hash);
                let set = SetLedger { writer: WriterId::FILES, expected, ledger: *ledger, v: None };
                set_ledger(generation, writers, &set)
            }
            Self::ForgetWriter(writer) => {
                // A writer that is not known is forgotten already: any expected hash does.
                let expected = known(writer).map_or(Hash([0; 32]), |w| w.ledger.hash);
                Ok(Ready {
                    operation: Operation::ForgetWriter(*writer, expected),
                    request: Request::ForgetWriter(p::ForgetWriter {
                        writer: writer.0.to_vec().into(),
                        expected: expected.0.to_vec().into(),
                        owner: None,
                    }),
                    goal: Goal::Forgotten(generation, *writer),
                    wait: Wait::Threshold,
                })
            }
            Self::Delete => Ok(Ready {
                operation: Operation::Delete,
                request: Request::Delete(p::Delete { owner: None }),
                goal: Goal::Deleted(generation),
                wait: Wait::All,
            }),
        }
    }

    /// The reason of a refusal, if it follows from what t regions sign.
    fn why(&self, code: Code, generation: Generation, writers: &[AttestedWriter]) -> Option<Error> {
        if let Err(why) = self.ready(generation, writers) {
            return Some(why);
        }
        let Self::SetLedger(set) = self else { return None };
        let kept = writers.iter().find(|w| w.id == set.writer).and_then(|w| w.before);
        kept.filter(|_| code == Code::VTooSoon).map(|(_, until)| Error::VTooSoon { until })
    }
}

fn set_ledger(generation: Generation, writers: &[AttestedWriter], set: &SetLedger) -> Result<Ready, Error> {
    let named = writers.iter().find(|w| w.id == set.writer).map(|w| w.ledger);
    if named.map(|n| n.hash) != set.expected || named.is_some_and(|n| n.counter >= set.ledger.counter) {
        return Err(Error::OtherLedger { named });
    }
    if named.is_none() && writers.len() >= MAX_WRITERS {
        return Err(Error::TooManyWriters { writers: writers.to_vec() });
    }
    let bytes = |b: Option<&[u8; 32]>| b.map(|b| b.to_vec()).unwrap_or_default().into();
    let v = set.v.as_ref().map(v_hash);
    let (writer, expected, ledger) = (set.writer, set.expected, set.ledger);
    Ok(Ready {
        operation: Operation::SetLedger(Naming { writer, expected, ledger, v }),
        request: Request::SetLedger(p::SetLedger {
            writer: writer.0.to_vec().into(),
            expected: bytes(expected.as_ref().map(|h| &h.0)),
            counter: ledger.counter,
            hash: bytes(Some(&ledger.hash.0)),
            v: bytes(set.v.as_ref().map(Secret32::expose)),
            owner: None,
        }),
        goal: Goal::Named(generation, writer, ledger),
        wait: Wait::Threshold,
    })
}

/// An owner-signed operation in progress. It outlives sessions, and every repetition sends the same bytes.
struct Signed {
    ready: Ready,
    generation: Generation,
    reference: Bytes,
}

impl Ready {
    fn signed(mut self, generation: Generation, signature: p::OwnerSignature) -> Signed {
        let reference = signature.operation.clone();
        match &mut self.request {
            Request::SetLedger(r) => r.owner = Some(signature),
            Request::ForgetWriter(r) => r.owner = Some(signature),
            Request::Delete(r) => r.owner = Some(signature),
            _ => {}
        }
        Signed { ready: self, generation, reference }
    }
}

/// True for refusals that can follow from the account's state. A rooted leader can claim them, and a change by another device causes them.
const fn depends_on_state(code: Code) -> bool {
    is_about_account(code) || matches!(code, Code::Expired)
}

/// Checks that there is a live key, and that it is this owner's.
fn may_change(says: &Attested, owner: &OwnerKey) -> Result<(), Error> {
    match says.state {
        State::Live | State::LastTry | State::Locked if says.owner == owner_hash(&owner.public()) => Ok(()),
        State::Live | State::LastTry | State::Locked => Err(Error::NotOwner),
        State::None => Err(Error::NoKey),
        State::Destroyed => Err(Error::Destroyed),
        State::Deleted => Err(Error::Deleted),
    }
}

impl Client {
    /// Removes the key from the vault for good.
    pub async fn delete(&self, key: &BackupKey) -> Result<Deleted, Error> {
        let (receipt, not_followed) = self.owned(key, &Change::Delete).await?;
        Ok(Deleted { receipt, not_followed })
    }

    /// Names the newest of the backups that are one file each, so that a new device notices when it is shown an older one.
    pub async fn name_file(&self, key: &BackupKey, newest: LedgerName) -> Result<Receipt, Error> {
        Ok(self.owned(key, &Change::NameFile(newest)).await?.0)
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

    pub(crate) async fn owned(
        &self,
        key: &BackupKey,
        change: &Change,
    ) -> Result<(Receipt, Vec<String>), Error> {
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
        change: &Change,
        kept: &mut Option<Signed>,
    ) -> Result<(Receipt, Vec<String>), Fault> {
        // All clocks: of the first t regions a single liar's could be the smallest, and the signature would have expired at once.
        let regions = if kept.is_none() { Regions::All } else { Regions::None };
        let (mut session, entered) = self.enter(regions, None).await?;
        if kept.is_none() {
            *kept = Some(self.sign_change(&entered, key, change)?);
        }
        let Some(signed) = kept.as_ref() else { return Err(unexpected()) };
        let id = session.ask(signed.ready.request.clone()).await?;
        let answer = match session.reply(&self.runtime, id, self.timing.reply).await {
            Ok((answer, _)) => answer,
            Err(Fault::Refused(refused)) if depends_on_state(refused.code()) => {
                let (generation, code) = (signed.generation, refused.code());
                // Another device may have changed the account meanwhile, so the next run signs anew.
                *kept = None;
                return Err(self.refused(&mut session, &entered, key, change, generation, code).await);
            }
            Err(fault) => return Err(fault),
        };
        let Answer::Done(done) = answer else { return Err(unexpected()) };
        let (trusted, account) = (&entered.trusted, &entered.account);
        let what = signed.ready.operation.receipt();
        let receipt =
            receipt::verify(trusted, entered.clock, account, what, &signed.reference, done.receipt)?;
        let settled = self.settled(&mut session, &entered, signed.ready.goal, signed.ready.wait).await?;
        Ok((receipt, settled.behind))
    }

    /// Signs for the generation and the ledgers that t regions attest. Otherwise a rooted leader alone could make us sign for a later generation.
    fn sign_change(&self, entered: &Entered, key: &BackupKey, change: &Change) -> Result<Signed, Fault> {
        let says = entered.agreed(|a| change.depends_on(a))?;
        let owner = owner_key(key.as_bytes(), &entered.trusted.admission().lineage, &entered.account);
        may_change(says, &owner)?;
        let generation = says.generation;
        let ready = change.ready(generation, &says.writers)?;
        let signature = self.sign(entered, generation, &owner, &ready.operation)?;
        Ok(ready.signed(generation, signature))
    }

    /// The fault of a refusal that depends on the account's state. One region alone could claim it, so t regions are asked.
    async fn refused(
        &self,
        session: &mut Session,
        entered: &Entered,
        key: &BackupKey,
        change: &Change,
        generation: Generation,
        code: Code,
    ) -> Fault {
        let survey = match self.attest(session, entered, Regions::All).await {
            Ok(survey) => survey,
            Err(fault) => return fault,
        };
        let says = match entered.agreed_in(&survey, |a| change.depends_on(a)) {
            Ok(says) => says,
            Err(fault) => return fault,
        };
        let owner = owner_key(key.as_bytes(), &entered.trusted.admission().lineage, &entered.account);
        let why = may_change(says, &owner).err();
        let why = why.or_else(|| {
            let same = says.generation == generation;
            same.then(|| change.why(code, generation, &says.writers)).flatten()
        });
        why.map_or_else(
            || {
                let why = "another device changed the account at the same time, or the leading region refuses for no reason";
                Fault::Repeat(Cause::Vault(why.into()))
            },
            Fault::from,
        )
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
