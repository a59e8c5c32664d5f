//! A device's own history at a destination: opens it after a crash, and commits ledgers.
//!
//! The order of a commit: state (what is about to be written), ledger (two copies, read back), state, vault (compare-and-swap), state. A kill between any
//! two steps leaves either the old ledger, or the new one which [`Writer::open`] finds by its name in the state.

mod renewal;

use bkv_stream::BackupKey;
use minicbor::bytes::ByteArray;

use crate::clock::Clock;
use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::format::ledger::Ledger;
use crate::format::names::LEDGER_COPIES;
use crate::format::secret::Secret;
use crate::format::{Folder, Tag};
use crate::ledgers;
use crate::objects::write_object;
use crate::state::{Next, State, StateFile};
use crate::vault::{Named, Naming, SetLedger, Vault, VaultFault};
pub(crate) use renewal::Renewal;

/// Everything outside that a writer uses.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// Where the objects are.
    pub destination: &'a dyn Destination,
    /// The account's vault.
    pub vault: &'a dyn Vault,
    /// Time.
    pub clock: &'a dyn Clock,
    /// The backup key.
    pub key: &'a BackupKey,
    /// The account's folder.
    pub tag: Tag,
}

impl std::fmt::Debug for Outside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// The writer of this device, locked.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(crate) outside: Outside<'a>,
    pub(crate) folder: Folder,
    file: StateFile,
    state: State,
    ledger: Ledger,
}

impl<'a> Writer<'a> {
    /// Opens the history that the state names, or begins a new one. `forward_secrecy` counts for a new one only.
    pub fn open(outside: Outside<'a>, file: StateFile, forward_secrecy: bool) -> Result<Self> {
        let state = if let Some(state) = file.load()? {
            state
        } else {
            let state = State::new(forward_secrecy && outside.vault.exists())?;
            file.save(&state)?;
            state
        };
        let folder = Folder::new(&outside.tag, &state.writer, outside.key)?;
        let ledger = Ledger::first(state.writer);
        let mut writer = Self { outside, folder, file, state, ledger };
        writer.load()?;
        writer.finish_renewal()?;
        writer.check_for_twin()?;
        Ok(writer)
    }

    fn read(&self, named: Named) -> Result<Option<Ledger>> {
        self.read_under(named, self.state.v.as_ref())
    }

    fn read_under(&self, named: Named, v: Option<&Secret>) -> Result<Option<Ledger>> {
        ledgers::open(self.outside.destination, &self.folder, self.outside.key, v, named)
    }

    /// Takes the newest ledger: one that a killed run wrote and did not record, or the recorded one.
    fn load(&mut self) -> Result<()> {
        let newest = self.state.newest();
        let expected = newest.map_or(1, |newest| newest.counter + 1);
        let begun: Vec<Named> =
            self.state.pending().rev().filter(|named| named.counter == expected).collect();
        for named in begun {
            // A copy that is damaged or short was being written when the process was killed.
            let Ok(Some(ledger)) = self.read(named) else { continue };
            self.finish_copies(named)?;
            self.state.wrote(named);
            self.file.save(&self.state)?;
            self.ledger = ledger;
            return Ok(());
        }
        let Some(newest) = newest else { return Ok(()) };
        let Some(ledger) = self.read(newest)? else {
            let object = self.folder.ledger(newest.counter, &newest.hash, 1);
            return Err(Error::RolledBack { counter: newest.counter, object });
        };
        self.ledger = ledger;
        Ok(())
    }

    /// Writes the copy that a killed run did not write.
    fn finish_copies(&self, named: Named) -> Result<()> {
        let destination = self.outside.destination;
        let Some(bytes) = ledgers::bytes(destination, &self.folder, named)? else { return Ok(()) };
        for copy in LEDGER_COPIES {
            let name = self.folder.ledger(named.counter, &named.hash, copy);
            let there = destination.stat(&name).map_err(|fault| Error::at("look at", &name, fault))?;
            if there.is_empty() {
                write_object(destination, &name, &bytes)?;
            }
        }
        Ok(())
    }

    /// A ledger that this device did not write, or that the vault names and this device does not know, means that the state was copied or put back.
    fn check_for_twin(&mut self) -> Result<()> {
        let newest = self.state.newest().map_or(0, |newest| newest.counter);
        let known_above = self.state.known_above().min(newest);
        for named in ledgers::list(self.outside.destination, &self.folder)? {
            if named.counter <= known_above {
                break;
            }
            if self.state.is_ours(named) {
                continue;
            }
            // An attacker who can write to the destination can put a file there. Only a ledger under this writer's key counts.
            match self.read(named) {
                Ok(Some(_)) => return Err(Error::Twin),
                Err(Error::WrongV { .. }) if named.counter > newest && !self.is_named_by_vault() => {
                    return Err(Error::Twin);
                }
                _ => {}
            }
        }
        match self.outside.vault.named(&self.state.writer) {
            // A twin's ledger may have any counter.
            Ok(Some(named)) if !self.state.is_ours(named) => Err(Error::Twin),
            Ok(Some(named)) => {
                self.state.named_by_vault(named);
                self.file.save(&self.state)
            }
            // Committing reports a vault that does not answer.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// True if the vault answers that it names a ledger of this device. Then a newer one under another V counts nowhere: a V that was not taken leaves one, here or by another
    /// device that could not take V back.
    fn is_named_by_vault(&self) -> bool {
        let named = self.outside.vault.named(&self.state.writer);
        matches!(named, Ok(Some(named)) if self.state.is_ours(named))
    }

    /// The newest ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The device's state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Writes the ledger after `change`, then names it at the vault.
    pub(crate) fn commit(&mut self, change: impl FnOnce(&mut Ledger)) -> Result<Naming> {
        let (ledger, named) = self.put(change, None)?;
        self.adopt(ledger, named)?;
        self.name()
    }

    /// Writes the copies of the ledger after `change` and reads them back, under `next` if that is given and else under V. It is not this writer's newest before [`Writer::adopt`].
    fn put(&mut self, change: impl FnOnce(&mut Ledger), next: Option<&Secret>) -> Result<(Ledger, Named)> {
        let mut ledger = self.ledger.clone();
        change(&mut ledger);
        let newest = self.state.newest();
        ledger.counter = newest.map_or(1, |newest| newest.counter + 1);
        ledger.before = newest.map(|newest| ByteArray::from(newest.hash));
        ledger.abandoned = self
            .state
            .pending()
            .filter(|pending| pending.counter == ledger.counter)
            .map(|pending| ByteArray::from(pending.hash))
            .collect();
        ledger.written_ms = self.outside.clock.now_ms();
        let (bytes, hash) = ledger.seal(self.outside.key, next.or(self.state.v.as_ref()))?;
        let named = Named { counter: ledger.counter, hash };
        self.state.begin(named);
        if let Some(v) = next {
            self.state.next = Some(Next::new(named, v.clone()));
        }
        self.file.save(&self.state)?;
        ledgers::write(self.outside.destination, &self.folder, named, &bytes)?;
        Ok((ledger, named))
    }

    fn adopt(&mut self, ledger: Ledger, named: Named) -> Result<()> {
        self.state.wrote(named);
        if self.outside.vault.exists() && self.state.unnamed_since_ms.is_none() {
            self.state.unnamed_since_ms = Some(ledger.written_ms);
        }
        self.file.save(&self.state)?;
        self.ledger = ledger;
        Ok(())
    }

    /// Tells the vault of the newest ledger, if it does not name it yet.
    pub(crate) fn name(&mut self) -> Result<Naming> {
        if !self.outside.vault.exists() {
            return Ok(Naming::NoVault);
        }
        let Some(mut new) = self.state.newest() else { return Ok(Naming::Named) };
        if self.state.named() == Some(new) {
            return Ok(Naming::Named);
        }
        let fault = match self.set(new) {
            Ok(()) => return self.was_named(new),
            // The answer to an earlier call was lost.
            Err(VaultFault::Refused { named: Some(named) }) if named == new => return self.was_named(new),
            Err(VaultFault::Refused { named: None }) => {
                // The vault has forgotten this writer, as after a new registration. It gets V again.
                self.state.forgotten_by_vault();
                self.file.save(&self.state)?;
                match self.set(new) {
                    Ok(()) => return self.was_named(new),
                    Err(fault) => fault,
                }
            }
            // The answer to an earlier naming was lost.
            Err(VaultFault::Refused { named: Some(named) }) if self.state.is_ours(named) => {
                self.state.named_by_vault(named);
                self.file.save(&self.state)?;
                if named.counter >= new.counter {
                    // A new V was taken after all, with the counter that this ledger has too. The vault takes only a higher one.
                    let (ledger, higher) = self.put(|_| {}, None)?;
                    self.adopt(ledger, higher)?;
                    new = higher;
                }
                match self.set(new) {
                    Ok(()) => return self.was_named(new),
                    Err(VaultFault::Refused { .. }) => return Err(Error::Twin),
                    Err(fault) => fault,
                }
            }
            Err(VaultFault::Refused { .. }) => return Err(Error::Twin),
            Err(fault) => fault,
        };
        let since_ms = self.state.unnamed_since_ms.unwrap_or(self.ledger.written_ms);
        let opens_nowhere_else = self.state.v.is_some() && !self.state.v_given;
        Ok(Naming::NotNamed { fault, since_ms, opens_nowhere_else })
    }

    /// Asks the vault itself, and not the state, whether it names this writer's newest ledger. It is told of it if it is behind. While the vault names another one or does
    /// not answer, another device may continue this history, and a reader may still need what its ledger names.
    pub(crate) fn may_delete(&mut self) -> Result<()> {
        let stop = |why: &dyn std::fmt::Display| Error::Vault(format!("{why}; nothing was deleted"));
        if let Naming::NotNamed { fault, .. } = self.name()? {
            return Err(stop(&fault));
        }
        if !self.outside.vault.exists() {
            return Ok(());
        }
        match self.outside.vault.named(&self.state.writer) {
            Ok(named) if named == self.state.newest() => Ok(()),
            Ok(Some(named)) if !self.state.is_ours(named) => Err(Error::Twin),
            Ok(_) => Err(stop(&"it does not name this device's newest ledger; make a backup first")),
            Err(fault) => Err(stop(&fault)),
        }
    }

    /// The ledger that the vault is known to name. None if it names none, or there is no vault.
    pub(crate) fn named_ledger(&self) -> Result<Option<Ledger>> {
        let Some(named) = self.state.named() else { return Ok(None) };
        if self.state.newest() == Some(named) {
            return Ok(Some(self.ledger.clone()));
        }
        let object = self.folder.ledger(named.counter, &named.hash, 1);
        if let Some(next) = self.state.next.as_ref().filter(|next| next.ledger() == named) {
            return self
                .read_under(named, Some(&next.v))?
                .map(Some)
                .ok_or(Error::RolledBack { counter: named.counter, object });
        }
        self.read(named)?.map(Some).ok_or(Error::RolledBack { counter: named.counter, object })
    }

    /// V goes along each time, so that no ledger is named beside a V that does not open it. To the vault the V that it has is no change, and the one before it is taken back.
    fn set(&self, new: Named) -> std::result::Result<(), VaultFault> {
        self.outside.vault.set(&SetLedger {
            writer: self.state.writer,
            expected: self.state.named().map(|named| named.hash),
            new,
            v: self.state.v.clone(),
        })
    }

    fn was_named(&mut self, new: Named) -> Result<Naming> {
        self.state.named_by_vault(new);
        self.file.save(&self.state)?;
        Ok(Naming::Named)
    }
}
