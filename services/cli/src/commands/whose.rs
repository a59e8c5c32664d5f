//! Whose key lies in a state folder, and whether the token that came with it is that person's. Asked before anything is sent that could cost a try, bind a
//! backup to the wrong account, or write over a key.

use bkv_client::{AccountId, Client, Lineage};

use crate::device::{Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};

/// A 64-digit key lies on this device and nowhere else, and its owner was promised that no vault hears of it.
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

/// Is the key that is kept this account's, of this fleet? `exit` says what would have come of it.
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

/// The same, asking the vault who the token's account is. Costs no try.
pub(crate) async fn same_account(client: &Client, kept: &Kept, exit: Exit) -> Outcome {
    let (account, lineage) = client.account().await?;
    check(kept, &account, &lineage, exit)
}
