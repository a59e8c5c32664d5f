//! Registers a key: splits a fresh OPRF key over the regions, encrypts the backup key under the hardened password, and makes it live only when t
//! regions have signed that they hold record and share (S12).

mod acknowledged;
mod draft;

use std::sync::Arc;

use bkv_core::account::State;
use bkv_core::id::{AccountId, Generation, Hash};
use bkv_core::record::KsfParams;
use bkv_core::statement::{self, ReceiptKind};
use bkv_crypto::password::Prepared;
use bkv_stream::BackupKey;
use bkv_wire::proto::inner::refused::Code;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};
use zeroize::Zeroizing;

use crate::attested::Regions;
use crate::client::{Client, Entered};
use crate::error::{Error, WrongAnswer};
use crate::fault::{Cause, Fault, unexpected};
use crate::receipt::{self, Receipt};
use crate::sealed;
use crate::session::Session;
use crate::settled::{Goal, Wait};
use crate::trusted::Trusted;
use draft::Draft;

/// Options of a registration.
#[derive(Default)]
pub struct RegisterOptions<'a> {
    /// The key to register under the password. None makes a new key. A caller with the registered key may overwrite the live registration (S16).
    pub key: Option<&'a BackupKey>,
    /// Names that an attacker knows of the account (user name, e-mail address, phone number). They are refused as passwords.
    pub account_names: Vec<&'a str>,
    /// Stretching parameters, which must be within the policy. None takes the policy's floor.
    pub ksf: Option<KsfParams>,
}

impl std::fmt::Debug for RegisterOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegisterOptions")
            .field("key_given", &self.key.is_some())
            .field("ksf", &self.ksf)
            .finish_non_exhaustive()
    }
}

/// A live registration.
pub struct Registered {
    /// The backup key.
    pub key: BackupKey,
    /// Whose.
    pub account: AccountId,
    /// Which registration.
    pub generation: Generation,
    /// The leader's signed confirmation that it is live.
    pub receipt: Receipt,
    /// Regions that did not acknowledge in time. They may store the registration later, or never.
    pub not_acknowledged: Vec<String>,
    /// Regions that have not signed the overwrite of an older registration. Until they do, an attacker with root there can still use what they hold of
    /// the older one, with its password. Empty if there was none.
    pub not_followed: Vec<String>,
    /// Regions that answered wrongly.
    pub wrong: Vec<WrongAnswer>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("account", &self.account)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// A registration in progress. It outlives sessions.
struct Registration {
    password: Prepared,
    key: BackupKey,
    key_given: bool,
    ksf: Option<KsfParams>,
    draft: Option<Draft>,
    wrong: Vec<WrongAnswer>,
}

impl Client {
    /// Registers a key under a password. Fails with [`Error::KeyExists`] if one is live and `options.key` is not given.
    pub async fn register(&self, password: &str, options: RegisterOptions<'_>) -> Result<Registered, Error> {
        let prepared = Prepared::new(password)?;
        prepared.check_new(&options.account_names)?;
        self.lay(prepared, options.key, options.ksf).await
    }

    /// The same for a password that is already in use. It skips the check for easy passwords, whose advice would come too late.
    pub(crate) async fn renew(
        &self,
        password: &str,
        key: &BackupKey,
        ksf: KsfParams,
    ) -> Result<Registered, Error> {
        self.lay(Prepared::new(password)?, Some(key), Some(ksf)).await
    }

    async fn lay(
        &self,
        password: Prepared,
        key: Option<&BackupKey>,
        ksf: Option<KsfParams>,
    ) -> Result<Registered, Error> {
        let key_given = key.is_some();
        let fresh = key.is_none().then(|| Zeroizing::new(self.runtime.bytes::<32>()));
        let bytes = key.map(BackupKey::as_bytes).or(fresh.as_deref());
        let key = BackupKey::from_bytes(bytes.ok_or_else(|| Error::Local("no key".into()))?);
        let mut registration = Registration { password, key, key_given, ksf, draft: None, wrong: vec![] };
        self.retry()
            .run_with(&mut registration, |registration| async move {
                let ended = self.register_once(registration).await;
                (registration, ended)
            })
            .await
    }

    async fn register_once(&self, r: &mut Registration) -> Result<Registered, Fault> {
        let (mut session, entered) = self.enter(Regions::All, None).await?;
        let base = match entered.agreed(|a| (a.state, a.generation, a.record)) {
            Ok(says) => (says.state, says.generation, says.record),
            // A repetition may meet regions that have not all applied our own registration yet.
            Err(fault) => return Err(fault),
        };
        // A draft for another list or another base is useless.
        r.draft.take_if(|d| d.trusted.admission() != entered.trusted.admission() || !d.fits(base.1, &base.2));
        if r.draft.is_none() {
            r.draft = Some(self.start(&mut session, &entered, r, base.0, base.1).await?);
        }
        let Some(draft) = r.draft.as_mut() else { return Err(unexpected()) };
        let stored = self.store(&mut session, &entered, draft, &mut r.wrong).await;
        let confirmed = match stored {
            Ok(()) => self.make_live(&mut session, &entered, draft).await,
            Err(fault) => Err(fault),
        };
        match confirmed {
            Ok((receipt, not_followed)) => Ok(Registered {
                key: BackupKey::from_bytes(r.key.as_bytes()),
                account: entered.account,
                generation: draft.record.generation,
                receipt,
                not_acknowledged: draft.silent(),
                not_followed,
                wrong: std::mem::take(&mut r.wrong),
            }),
            // The leader holds z in memory until Store is applied. If that leader is gone, nothing was stored and this draft is useless.
            Err(Fault::Refused(refused)) if starts_again(refused.code()) => {
                let code = refused.code().as_str_name();
                r.draft = None;
                Err(Fault::Repeat(Cause::Vault(format!("the registration must start again: {code}"))))
            }
            // A full vault proposes nothing, and the next session's leader does not know this draft. With it the next answer would be NO_ATTEMPT, which does not show that the vault is full.
            Err(Fault::Refused(refused)) if refused.code() == Code::Full => {
                r.draft = None;
                Err(Fault::Refused(refused))
            }
            Err(fault) => Err(fault),
        }
    }

    /// The draft, whose `Store` the client may have to repeat.
    async fn start(
        &self,
        session: &mut Session,
        entered: &Entered,
        r: &Registration,
        state: State,
        generation: Generation,
    ) -> Result<Draft, Fault> {
        let live = matches!(state, State::Live | State::LastTry | State::Locked);
        if live && !r.key_given {
            return Err(Error::KeyExists.into());
        }
        let trusted: &Arc<Trusted> = &entered.trusted;
        let begun = draft::begin(&self.runtime, trusted, &r.password, r.ksf)?;
        let request = begun.request.clone().into();
        let id = session.ask(Operation::RegisterStart(p::RegisterStart { request })).await?;
        let (answer, _) = session.reply(&self.runtime, id, self.timing.reply).await?;
        let Answer::RegisterStarted(started) = answer else { return Err(unexpected()) };
        if started.base_generation != generation.0 {
            let wrong =
                trusted.wrong(entered.leader(session), "named another generation than t regions attest");
            return Err(wrong.into());
        }
        let mut draft = begun.finish(&self.runtime, entered, generation, &started, r.key.as_bytes())?;
        if live {
            let owner = sealed::owner_key(r.key.as_bytes(), &trusted.admission().lineage, &entered.account);
            let what = statement::Operation::Register(draft.hash);
            draft.owner = Some(self.sign(entered, generation, &owner, &what)?);
        }
        Ok(draft)
    }

    /// Confirms the draft, until t regions have signed that it is live. Also returns the regions that have not signed the end of an older registration.
    async fn make_live(
        &self,
        session: &mut Session,
        entered: &Entered,
        draft: &Draft,
    ) -> Result<(Receipt, Vec<String>), Fault> {
        let receipt = self.confirm(session, entered, draft).await?;
        let goal = Goal::Registered(draft.record.generation, draft.hash);
        let overwrites = draft.owner.is_some();
        let wait = if overwrites { Wait::All } else { Wait::Threshold };
        let behind = self.settled(session, entered, goal, wait).await?.behind;
        Ok((receipt, if overwrites { behind } else { vec![] }))
    }

    async fn confirm(
        &self,
        session: &mut Session,
        entered: &Entered,
        draft: &Draft,
    ) -> Result<Receipt, Fault> {
        let id = session.ask(Operation::Confirm(draft.confirmation())).await?;
        let (answer, _) = session.reply(&self.runtime, id, self.timing.reply).await?;
        let Answer::Done(done) = answer else { return Err(unexpected()) };
        let reference = draft.record.reg_id.0;
        receipt::verify(
            &entered.trusted,
            entered.clock,
            &entered.account,
            ReceiptKind::Registered,
            &reference,
            done.receipt,
        )
    }
}

/// Refusals after which this registration id can't succeed but a new one may.
fn starts_again(code: Code) -> bool {
    matches!(
        code,
        Code::NoAttempt | Code::Stale | Code::Conflict | Code::Expired | Code::Proof | Code::Record
    )
}

impl Draft {
    /// True if `base` is still the base of the draft, or if this very draft is live already.
    fn fits(&self, generation: Generation, record: &Hash) -> bool {
        self.base == generation || (self.record.generation == generation && self.hash == *record)
    }
}
