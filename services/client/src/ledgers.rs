//! The writers' map at the vault: the newest ledger of each device at each destination, and V.

use bkv_core::account::State;
use bkv_core::id::{AccountId, Hash, Time, WriterId};
use bkv_core::statement::{self, Attested};
use bkv_core::writers::{AttestedRetired, AttestedWriter, LedgerName, owner_hash, writers_hash};
use bkv_stream::BackupKey;
use bkv_wire::ledgers::EXPORTER;
use bkv_wire::proto::inner::reply::Result as Answer;
use bkv_wire::proto::inner::request::Operation;
use bkv_wire::proto::inner::{self as p};

use crate::attested::Regions;
use crate::client::Client;
use crate::error::Error;
use crate::fault::{Cause, Fault, unexpected};
use crate::owner::Change;
use crate::receipt::Receipt;
use crate::sealed::owner_key;
use crate::writers::{Ledgers, SetLedger, with_v};

/// Why a ledger was not named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// Another ledger is named than the expected one, as t regions sign. If it is the new one, an earlier call has named it and its answer was lost.
    #[error("another ledger is named")]
    Refused {
        /// The one that is named.
        named: Option<LedgerName>,
    },
    /// There is no live key that could name it, as t regions sign.
    #[error("the key is gone: {0}")]
    KeyGone(Error),
    /// The account has as many writers as it can have.
    #[error("the vault knows {} other writers already; forget one that is no longer used", .0.len())]
    TooManyWriters(Vec<AttestedWriter>),
    /// V was changed lately.
    #[error("V can't be changed before {} (ms since 1970)", until.0)]
    NotNow {
        /// By the vault's clock.
        until: Time,
    },
    /// Anything else. Whether the ledger is named is not known, and the same call may be repeated.
    #[error("{0}")]
    Unreachable(Error),
}

// For the errors of `Client::owned`, which takes the end of a key from what t regions sign and never from a refusal.
impl From<Error> for LedgerFault {
    fn from(e: Error) -> Self {
        match e {
            Error::OtherLedger { named } => Self::Refused { named },
            Error::TooManyWriters { writers } => Self::TooManyWriters(writers),
            Error::VTooSoon { until } => Self::NotNow { until },
            e @ (Error::NoKey | Error::Destroyed | Error::Deleted | Error::NotOwner) => Self::KeyGone(e),
            e => Self::Unreachable(e),
        }
    }
}

impl Client {
    /// The writers as t regions sign them. Empty if there is no live key.
    pub async fn writers(&self) -> Result<Vec<AttestedWriter>, Error> {
        Ok(self.quick_status().await?.writers)
    }

    /// The newest ledger of a writer, as t regions sign it. None if the vault does not know the writer.
    pub async fn named(&self, writer: &WriterId) -> Result<Option<LedgerName>, LedgerFault> {
        let status = self.quick_status().await.map_err(LedgerFault::Unreachable)?;
        match status.state {
            State::None => Err(LedgerFault::KeyGone(Error::NoKey)),
            State::Destroyed => Err(LedgerFault::KeyGone(Error::Destroyed)),
            State::Deleted => Err(LedgerFault::KeyGone(Error::Deleted)),
            State::Live | State::LastTry | State::Locked => {
                Ok(status.writers.iter().find(|w| w.id == *writer).map(|w| w.ledger))
            }
        }
    }

    /// Names a writer's newest ledger once t regions have signed it.
    pub async fn set_ledger(&self, key: &BackupKey, change: &SetLedger) -> Result<Receipt, LedgerFault> {
        Ok(self.owned(key, &Change::SetLedger(change.clone())).await?.0)
    }

    /// Forgets a writer that is no longer used. The vaults keep it for 7 more days, in which [`Client::set_ledger`] takes that back.
    pub async fn forget_writer(&self, key: &BackupKey, writer: &WriterId) -> Result<Receipt, LedgerFault> {
        Ok(self.owned(key, &Change::ForgetWriter(*writer)).await?.0)
    }

    /// Reads V with the backup key, also for 90 days after the vault's copy of it was destroyed or replaced.
    pub async fn read_ledgers(&self, key: &BackupKey) -> Result<Ledgers, Error> {
        self.retry().run(|| self.read_ledgers_once(key)).await
    }

    async fn read_ledgers_once(&self, key: &BackupKey) -> Result<Ledgers, Fault> {
        let (mut session, entered) = self.enter(Regions::Threshold, None).await?;
        // From one region a rooted leader could name an account of its own, for which the owner would sign.
        let before = entered.agreed(shown)?.clone();
        let list = entered.trusted.admission();
        let owner = owner_key(key.as_bytes(), &list.lineage, &before.account);
        let own = owner_hash(&owner.public());
        let kept = before.retired.iter().find(|r| r.owner == own);
        if before.owner != own && kept.is_none() {
            return Err(match before.state {
                State::None => Error::NoKey,
                State::Destroyed => Error::Destroyed,
                State::Deleted => Error::Deleted,
                State::Live | State::LastTry | State::Locked => Error::NotOwner,
            }
            .into());
        }
        let channel = session.exporter(EXPORTER, &[])?;
        let statement = statement::read_ledgers(&list.lineage, list.era, &before.account, &channel);
        let signature = owner.sign(&statement).0.to_vec().into();
        let id = session.ask(Operation::ReadLedgers(p::ReadLedgers { signature })).await?;
        let answer = session.reply(&self.runtime, id, self.timing.reply).await;
        // t regions sign that this owner has a map.
        let (answer, _) = answer.map_err(Fault::without_claims)?;
        let Answer::Ledgers(ledgers) = answer else { return Err(unexpected()) };
        let named: Option<Vec<AttestedWriter>> = match kept {
            Some(kept) if before.owner != own => {
                let named: Option<_> =
                    ledgers.retired.iter().map(|w| AttestedWriter::try_from(w).ok()).collect();
                named.filter(|named: &Vec<_>| writers_hash(named) == kept.writers)
            }
            _ => Some(before.writers.clone()),
        };
        if let Some(writers) = named.and_then(|named| with_v(&named, &ledgers.vs)) {
            let kept_until = kept.filter(|_| before.owner != own).map(|kept| kept.until);
            return Ok(Ledgers { writers, kept_until });
        }
        // Another device may have changed V since the regions signed. Only if they sign the same again, the leader lies.
        let after = self.attest(&mut session, &entered, Regions::All).await?;
        let same = entered.agreed_in(&after, shown).is_ok_and(|after| shown(after) == shown(&before));
        Err(if same {
            entered.trusted.wrong(entered.leader(&session), "sent other ledgers than the regions sign").into()
        } else {
            Fault::Repeat(Cause::Vault("the ledgers changed while they were read".into()))
        })
    }
}

/// What regions must sign alike before V is read.
fn shown(a: &Attested) -> (AccountId, State, Hash, Vec<AttestedWriter>, Vec<AttestedRetired>) {
    (a.account, a.state, a.owner, a.writers.clone(), a.retired.clone())
}
