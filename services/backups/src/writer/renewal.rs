//! A new V, after which nothing opens that only an old ledger had the seeds of.
//!
//! The ledger under the new V is written first. It counts once the vault has taken both in one compare-and-swap. Until then the old ledger and the old V are the
//! valid ones, here and on every other device.

use super::Writer;
use crate::error::{Error, Result};
use crate::format::ledger::Ledger;
use crate::format::secret::Secret;
use crate::vault::{Named, Naming, SetLedger, VaultFault};

/// Whether V was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renewal {
    Done,
    /// With the reason, unless there is no V or none was wanted.
    NotDone(Option<String>),
}

impl Writer<'_> {
    /// Writes the ledger after `change` under a new V. If it is not done, the ledger is unchanged.
    pub(crate) fn renew(&mut self, change: &impl Fn(&mut Ledger), wanted: bool) -> Result<Renewal> {
        if self.state.v.is_none() || !self.outside.vault.exists() {
            return Ok(Renewal::NotDone(None));
        }
        if !wanted {
            return Ok(Renewal::NotDone(Some(
                "changing V needs a fresh sign-in; run prune again after one".into(),
            )));
        }
        // At most one new V is under way. A ledger that is named in its place excludes that the vault still takes it.
        if self.state.next.is_some()
            && let Naming::NotNamed { fault, .. } = self.commit(|_| {})?
        {
            return Ok(Renewal::NotDone(Some(fault.to_string())));
        }
        let v = Secret::random()?;
        let (ledger, new) = self.put(change, Some(&v))?;
        let change = SetLedger {
            writer: self.state.writer,
            expected: self.state.named().map(|named| named.hash),
            new,
            v: Some(v.clone()),
        };
        match self.outside.vault.set(&change) {
            Ok(()) => self.renewed(ledger, new, v),
            Err(VaultFault::Refused { named: Some(named) }) if named == new => self.renewed(ledger, new, v),
            Err(VaultFault::Refused { .. }) => Err(Error::Twin),
            // The vault may have taken it. The next run asks it.
            Err(fault @ VaultFault::Unreachable(_)) => Err(Error::Vault(fault.to_string())),
            Err(fault) => {
                self.not_taken()?;
                Ok(Renewal::NotDone(Some(fault.to_string())))
            }
        }
    }

    fn renewed(&mut self, ledger: Ledger, new: Named, v: Secret) -> Result<Renewal> {
        self.state.next = None;
        self.state.v = Some(v);
        self.adopt(ledger, new)?;
        self.was_named(new)?;
        Ok(Renewal::Done)
    }

    /// The vault does not name the ledger under the new V. It may still do so, so that V is kept.
    fn not_taken(&mut self) -> Result<()> {
        if let Some(next) = &mut self.state.next {
            next.answered = true;
        }
        self.file.save(&self.state)
    }

    /// After a kill or a lost answer: asks the vault whether it took the new V.
    pub(super) fn finish_renewal(&mut self) -> Result<()> {
        let Some(next) = self.state.next.clone() else { return Ok(()) };
        let new = next.ledger();
        // This device has gone on under its V. The next ledger takes that V back.
        if self.state.newest().is_some_and(|newest| newest.counter >= new.counter) {
            return Ok(());
        }
        match self.outside.vault.named(&self.state.writer) {
            Ok(named) if named == Some(new) => {}
            Ok(_) => return self.not_taken(),
            Err(_) if next.answered => return Ok(()),
            // Without its answer neither ledger is known to be the valid one.
            Err(fault) => {
                return Err(Error::Vault(format!("{fault}; whether it took the new V must be known first")));
            }
        }
        let Some(ledger) = self.read_under(new, Some(&next.v))? else {
            let object = self.folder.ledger(new.counter, &new.hash, 1);
            return Err(Error::RolledBack { counter: new.counter, object });
        };
        self.finish_copies(new)?;
        self.renewed(ledger, new, next.v).map(drop)
    }
}
