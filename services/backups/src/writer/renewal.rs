//! A new V, after which nothing opens that only an old ledger had the seeds of.
//!
//! The ledger under the new V is written first. It counts once the vault has taken both in one compare-and-swap. Until then the old ledger and the old V are the
//! valid ones, here and on every other device.

use super::Writer;
use crate::error::{Error, Result};
use crate::format::ledger::Ledger;
use crate::format::secret::Secret;
use crate::vault::{Named, SetLedger, VaultFault};

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
        let v = Secret::random()?;
        self.state.next_v = Some(v.clone());
        self.file.save(&self.state)?;
        let (ledger, new) = self.put(change, Some(&v))?;
        let change = SetLedger {
            writer: self.state.writer,
            expected: self.state.named().map(|named| named.hash),
            new,
            v: Some(v),
        };
        match self.outside.vault.set(&change) {
            Ok(()) => self.renewed(ledger, new),
            Err(VaultFault::Refused { named: Some(named) }) if named == new => self.renewed(ledger, new),
            Err(VaultFault::Refused { .. }) => Err(Error::Twin),
            // The vault may have taken it. The next run asks it.
            Err(fault @ VaultFault::Unreachable(_)) => Err(Error::Vault(fault.to_string())),
            Err(fault) => {
                self.state.next_v = None;
                self.file.save(&self.state)?;
                Ok(Renewal::NotDone(Some(fault.to_string())))
            }
        }
    }

    fn renewed(&mut self, ledger: Ledger, new: Named) -> Result<Renewal> {
        self.state.v = self.state.next_v.take();
        self.adopt(ledger, new)?;
        self.was_named(new)?;
        Ok(Renewal::Done)
    }

    /// After a kill or a lost answer: asks the vault whether it took the new V.
    pub(super) fn finish_renewal(&mut self) -> Result<()> {
        let Some(v) = self.state.next_v.clone() else { return Ok(()) };
        let named = match self.outside.vault.named(&self.state.writer) {
            Ok(named) => named,
            // Without its answer neither ledger is known to be the valid one.
            Err(fault) => {
                return Err(Error::Vault(format!("{fault}; whether it took the new V must be known first")));
            }
        };
        if let Some(new) = named.filter(|named| self.state.pending().any(|pending| pending == *named)) {
            let kept = self.state.v.replace(v);
            if let Some(ledger) = self.read(new)? {
                self.finish_copies(new)?;
                return self.renewed(ledger, new).map(drop);
            }
            self.state.v = kept;
            return Err(Error::RolledBack {
                counter: new.counter,
                object: self.folder.ledger(new.counter, &new.hash, 1),
            });
        }
        self.state.next_v = None;
        self.file.save(&self.state)
    }
}
