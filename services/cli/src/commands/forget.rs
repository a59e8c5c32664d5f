//! `bkv forget`: the vault forgets a writer that is no longer used.

use bkv_client::{LedgerFault, WriterId};
use clap::Args;

use super::writers::Known;
use crate::args::Online;
use crate::backups::writer;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::secret_input;
use crate::signals::{Sent, interruptible};
use crate::words::time;

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// The writer, by the first digits of its id. `bkv writers` lists them.
    pub writer: String,
    #[command(flatten)]
    pub online: Online,
    /// Don't ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

fn failed(fault: LedgerFault) -> Failure {
    match fault {
        LedgerFault::KeyGone(e) | LedgerFault::Unreachable(e) => e.into(),
        LedgerFault::Refused { .. } => {
            Failure::new(Exit::Wait, "its device has just made a backup, so the vault forgot nothing")
                .remedy("Make sure that the device is no longer used, then repeat the command.")
        }
        fault @ (LedgerFault::TooManyWriters(_) | LedgerFault::NotNow { .. }) => {
            Failure::new(Exit::Unexpected, fault.to_string())
        }
    }
}

pub(crate) async fn run(out: Output, a: Forget) -> Outcome {
    let known = Known::open(&a.online).await?;
    let one = known.find(&a.writer)?.clone();
    let (id, of) = (hex::encode(one.id.0), known.of(&one));
    let answer = |text: &str, until: Option<u64>| {
        out.result(
            text,
            facts([
                ("forgotten", true.into()),
                ("writer", id.clone().into()),
                ("of", of.into()),
                ("kept_until_ms", until.into()),
            ]),
        )
    };
    let short = writer(&one.id.0);
    if let Some(until) = one.forgotten {
        let until = until.0;
        return answer(
            &format!("Writer {short} is forgotten already and goes at {}.", time(until)),
            Some(until),
        );
    }
    let then = if one.id == WriterId::FILES {
        "a new device then no longer notices an older copy of the single files"
    } else {
        "its backups then open only on the device that made them"
    };
    out.warning(&format!("Writer {short} of {of}, with ledger {}.", one.ledger.counter));
    let question = format!("Forget it? The vault erases it and its V 7 days from now: {then}.");
    if !a.yes && !secret_input::confirm(&question) {
        return Err(
            Failure::new(Exit::Usage, "not confirmed").remedy("Add --yes to forget it without being asked.")
        );
    }
    let key = known.key()?;
    let forget = known.client.forget_writer(&key, &one.id);
    interruptible(forget, Sent::Forgetting).await?.map_err(failed)?;
    // The change is made, whatever the vault answers now.
    let after = known.client.writers().await.unwrap_or_default();
    let until = after.iter().find(|w| w.id == one.id).and_then(|w| w.forgotten).map(|until| until.0);
    let when = until.map_or_else(|| "7 days from now".to_owned(), |until| format!("at {}", time(until)));
    answer(
        &format!(
            "Forgotten. The vault erases writer {short} and its V {when}, and counts it as one of 16 until then. A backup by its device before that takes this back."
        ),
        until,
    )
}
