//! Checks that the key in a state folder belongs to the access token's account. A command does this before it sends anything that could cost a try, bind a
//! backup to the wrong account, or overwrite a key.

use bkv_client::{AccountId, Client, Lineage};

use crate::device::{Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};

/// Refuses a 64-digit key: it exists on this device only, and no vault may ever learn it.
pub(crate) fn not_digits(kept: Option<&Kept>, otherwise: &str) -> Outcome {
    if kept.is_some_and(|k| k.mode == Mode::Digits) {
        return Err(Failure::new(
            Exit::CantCreate,
            format!("this device's state holds a 64-digit key; {otherwise}"),
        )
        .remedy("Use another folder with --state. Nothing was sent, and no try was spent."));
    }
    Ok(())
}

/// Refuses a 64-digit key for a command on what the vault has.
pub(crate) fn in_vault(kept: &Kept) -> Outcome {
    if kept.mode == Mode::Digits {
        return Err(Failure::new(
            Exit::WrongKey,
            "this device's state holds a 64-digit key: no vault has it",
        )
        .remedy("Name the state of a device that has the account's key, with --state."));
    }
    Ok(())
}

/// Fails with `exit` unless the kept key belongs to this account of this fleet.
pub(crate) fn check(kept: &Kept, account: &AccountId, lineage: &Lineage, exit: Exit) -> Outcome {
    let whose = match (kept.lineage()? == lineage.0, kept.account()? == account.0) {
        (true, true) => return Ok(()),
        (false, _) => "another fleet's",
        (true, false) => "another account's",
    };
    Err(Failure::new(exit, format!("this device's state holds {whose} key"))
        .remedy("Use a folder of its own for each account, with --state, or this account's token. No try was spent.")
        .detail("state_account", kept.account.clone()))
}

/// The same, with the account that the vault derives from the access token. Costs no try.
pub(crate) async fn same_account(client: &Client, kept: &Kept, exit: Exit) -> Outcome {
    let (account, lineage) = client.account().await?;
    check(kept, &account, &lineage, exit)
}
