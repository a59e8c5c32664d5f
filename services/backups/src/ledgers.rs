//! Reads ledgers of a writer's folder.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bkv_stream::BackupKey;

use crate::destination::{Destination, Fault};
use crate::error::{Error, Result};
use crate::format::ledger::{LEDGER_HEAD, Ledger, LedgerHead};
use crate::format::names::LEDGER_COPIES;
use crate::format::secret::Secret;
use crate::format::{Folder, Hash, MAX_LEDGER, sealed, sha256};
use crate::objects::write_object;
use crate::vault::Named;

/// Numbers and hashes of the ledgers that a listing shows, newest first. A listing may lag, and may show what was never written.
pub(crate) fn list(destination: &dyn Destination, folder: &Folder) -> Result<Vec<Named>> {
    let mut found = BTreeSet::new();
    let place = folder.ledgers();
    let mut each = |listed: crate::destination::Listed| {
        found.extend(folder.parse_ledger(&listed.name));
        ControlFlow::Continue(())
    };
    destination.list(&place, &mut each).map_err(|fault| Error::at("list", &place, fault))?;
    Ok(found.into_iter().rev().map(|(counter, hash)| Named { counter, hash }).collect())
}

/// The bytes of a ledger whose hash is `named.hash`. None if no copy is there.
pub(crate) fn bytes(destination: &dyn Destination, folder: &Folder, named: Named) -> Result<Option<Vec<u8>>> {
    let (mut damaged, mut failed) = (None, None);
    for number in LEDGER_COPIES {
        let name = folder.ledger(named.counter, &named.hash, number);
        let copies = destination.stat(&name).map_err(|fault| Error::at("look at", &name, fault))?.len();
        for copy in 0..copies {
            match destination.read(&name, copy, 0..sealed::longest(LEDGER_HEAD, MAX_LEDGER)) {
                Ok(bytes) if sha256(&bytes) == named.hash => return Ok(Some(bytes)),
                // Its name is its hash, so another content is damage or a sync that has not finished.
                Ok(bytes) => damaged = Some((name.clone(), bytes.len())),
                Err(Fault::NotFound) => {}
                // On a disk that dies the other copy may read.
                Err(fault) => failed = Some(Error::at("read", &name, fault)),
            }
        }
    }
    match damaged {
        None => failed.map_or(Ok(None), Err),
        Some((object, length)) if length < LEDGER_HEAD => Err(Error::Cut { object }),
        Some((object, _)) => Err(Error::Damaged { object, what: "its content is not the one in its name" }),
    }
}

/// An error if one copy of a ledger is missing or not what its name says.
pub(crate) fn check(destination: &dyn Destination, folder: &Folder, named: Named, number: u8) -> Result<()> {
    let object = folder.ledger(named.counter, &named.hash, number);
    let copies = destination.stat(&object).map_err(|fault| Error::at("look at", &object, fault))?.len();
    let mut error = Error::NotAllHere { missing: 1, needed: 1, first: object.clone() };
    for copy in 0..copies {
        match destination.read(&object, copy, 0..sealed::longest(LEDGER_HEAD, MAX_LEDGER)) {
            Ok(bytes) if sha256(&bytes) == named.hash => return Ok(()),
            Ok(_) => error = Error::damaged(&object, "its content is not the one in its name"),
            Err(Fault::NotFound) => {}
            Err(fault) => return Err(Error::at("read", &object, fault)),
        }
    }
    Err(error)
}

/// Writes both copies of a ledger and reads them back.
pub(crate) fn write(
    destination: &dyn Destination,
    folder: &Folder,
    named: Named,
    bytes: &[u8],
) -> Result<()> {
    for copy in LEDGER_COPIES {
        let name = folder.ledger(named.counter, &named.hash, copy);
        write_object(destination, &name, bytes)?;
        match destination.read(&name, 0, 0..bytes.len() as u64 + 1) {
            Ok(there) if sha256(&there) == named.hash => {}
            Ok(_) | Err(Fault::NotFound) => return Err(Error::NotKept { object: name }),
            Err(fault) => return Err(Error::at("read back", &name, fault)),
        }
    }
    Ok(())
}

/// Reads and opens a ledger. None if no copy is there.
pub(crate) fn open(
    destination: &dyn Destination,
    folder: &Folder,
    key: &BackupKey,
    v: Option<&Secret>,
    named: Named,
) -> Result<Option<Ledger>> {
    let Some(bytes) = bytes(destination, folder, named)? else { return Ok(None) };
    let name = folder.ledger(named.counter, &named.hash, 1);
    // The destination may show another writer's ledger here, which the same key opens.
    let (head, _) = LedgerHead::parse(&name, &bytes)?;
    if head.writer != *folder.writer() {
        return Err(Error::Foreign { object: name, what: "it is another device's ledger" });
    }
    // Whoever has the key and not V could write one that needs no V.
    if v.is_some() && !head.forward_secrecy {
        return Err(Error::Foreign {
            object: name,
            what: "it opens without V, which this device's ledgers need",
        });
    }
    let ledger = Ledger::open(&name, &bytes, key, v)?;
    if ledger.counter != named.counter {
        return Err(Error::damaged(&name, "its number is not the one in its name"));
    }
    Ok(Some(ledger))
}

/// True if `ledger` lists the ledger with this hash as abandoned.
pub(crate) fn gave_up(ledger: &Ledger, hash: &Hash) -> bool {
    ledger.abandoned.iter().any(|other| **other == *hash)
}
