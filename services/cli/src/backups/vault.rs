//! The account's vault as the core of backups uses it, from the thread on which a backup runs.

use bkv_backups::format::Id;
use bkv_backups::{Expected, Named, Secret, SetLedger, Vault, VaultFault};
use bkv_client::{
    BackupKey, Client, Hash, LedgerFault, LedgerName, Secret32, SetLedger as Change, Writer, WriterId,
};
use tokio::runtime::Handle;

use crate::args::{MaybeOnline, Online};
use crate::commands::ownership;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Outcome};
use crate::profile;

/// The vault of a device's key.
pub(crate) enum AccountVault {
    /// The key is 64 digits, which no vault learns of.
    None,
    /// The options do not name it. What is made is named by a later backup.
    NotAsked,
    /// It can be asked.
    Known(Box<Known>),
}

pub(crate) struct Known {
    client: Client,
    key: BackupKey,
    runtime: Handle,
}

/// The online options, if both were given.
fn given(m: &MaybeOnline) -> Option<Online> {
    Some(Online {
        fleet: m.fleet.clone()?,
        token: m.token.clone()?,
        device: m.device.clone(),
        timeout: m.timeout,
    })
}

impl AccountVault {
    /// Fails if the token is another account's: its vault would name these backups for the wrong person.
    pub(crate) async fn open(online: &MaybeOnline, device: &DeviceState, kept: &Kept) -> Outcome<Self> {
        if kept.mode == Mode::Digits {
            return Ok(Self::None);
        }
        let Some(online) = given(online) else { return Ok(Self::NotAsked) };
        let (client, _) = profile::client(&online, device)?;
        // A vault that does not answer is reported when the backup is named.
        if let Ok((account, lineage)) = client.account().await {
            ownership::check(kept, &account, &lineage, Exit::OtherAccount)?;
        }
        Ok(Self::Known(Box::new(Known { client, key: kept.key()?, runtime: Handle::current() })))
    }

    /// Until when the vault gives V to this key, which is gone, in milliseconds since 1970. None if it gives none, or does not answer.
    pub(crate) fn kept_until(&self) -> Option<u64> {
        let Self::Known(known) = self else { return None };
        let read = known.runtime.block_on(known.client.read_ledgers(&known.key));
        read.ok()?.kept_until.map(|until| until.0)
    }

    /// What the vault knows of the account's writers, or why that is not known. Empty without a vault.
    pub(crate) async fn expected(&self) -> Result<Vec<Expected>, String> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::NotAsked => Err(NOT_ASKED.into()),
            Self::Known(known) => {
                let ledgers = known.client.read_ledgers(&known.key).await.map_err(|e| e.to_string())?;
                Ok(expected(&ledgers.writers))
            }
        }
    }
}

/// The writers with ledgers, as a reader expects them. Single files have none.
pub(crate) fn expected(writers: &[Writer]) -> Vec<Expected> {
    let with_ledgers = writers.iter().filter(|writer| writer.id != WriterId::FILES);
    with_ledgers
        .map(|writer| Expected {
            writer: writer.id.0,
            named: Some(named(writer.ledger)),
            v: writer.v.as_ref().map(|v| Secret::from_bytes(*v.expose())),
            before: writer.before.as_ref().map(|before| Secret::from_bytes(*before.v.expose())),
        })
        .collect()
}

const fn named(ledger: LedgerName) -> Named {
    Named { counter: ledger.counter, hash: ledger.hash.0 }
}

fn fault(fault: LedgerFault) -> VaultFault {
    match fault {
        LedgerFault::Refused { named: there } => VaultFault::Refused { named: there.map(named) },
        LedgerFault::KeyGone(e) => VaultFault::KeyGone(e.to_string()),
        LedgerFault::TooManyWriters(writers) => {
            VaultFault::TooManyWriters(u32::try_from(writers.len()).unwrap_or(u32::MAX))
        }
        LedgerFault::NotNow { until } => VaultFault::NotNow(format!(
            "it was changed lately, so not before {}",
            crate::words::time(until.0)
        )),
        LedgerFault::Unreachable(e) => VaultFault::Unreachable(e.to_string()),
    }
}

/// Why it is not known what the vault has.
const NOT_ASKED: &str = "--fleet and --token were not given";

fn not_asked() -> VaultFault {
    VaultFault::Unreachable(NOT_ASKED.into())
}

impl Vault for AccountVault {
    fn named(&self, writer: &Id) -> Result<Option<Named>, VaultFault> {
        match self {
            Self::None => Ok(None),
            Self::NotAsked => Err(not_asked()),
            Self::Known(known) => {
                let asked = known.runtime.block_on(known.client.named(&WriterId(*writer)));
                Ok(asked.map_err(fault)?.map(named))
            }
        }
    }

    fn set(&self, change: &SetLedger) -> Result<(), VaultFault> {
        let known = match self {
            Self::None => return Ok(()),
            Self::NotAsked => return Err(not_asked()),
            Self::Known(known) => known,
        };
        let change = Change {
            writer: WriterId(change.writer),
            expected: change.expected.map(Hash),
            ledger: LedgerName { counter: change.new.counter, hash: Hash(change.new.hash) },
            v: change.v.as_ref().map(|v| Secret32::new(*v.as_bytes())),
        };
        let set = known.runtime.block_on(known.client.set_ledger(&known.key, &change));
        set.map(|_| ()).map_err(fault)
    }

    fn exists(&self) -> bool {
        !matches!(self, Self::None)
    }
}
