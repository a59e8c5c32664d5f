//! `bkv take-back`: the last V of a writer, after a thief of the key has replaced it.

use std::path::PathBuf;

use bkv_backups::take_back::{Of, TakenBack, take_back};
use bkv_backups::{Access, Error, Expected, SystemClock};
use clap::Args;
use serde_json::{Value, json};

use super::interrupt::cancellable;
use super::writers::Known;
use crate::args::{MaybeOnline, Online};
use crate::backups::{AccountVault, Place, Remote, expected, name, tag, writer};
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::secret_input;
use crate::words::count;

#[derive(Debug, Args)]
pub(crate) struct TakeBack {
    /// Folder with the writer's backups, or the address of one.
    pub from: PathBuf,
    /// The writer, by the first digits of its id. `bkv writers` lists them, and until when the V before is kept.
    pub writer: String,
    #[command(flatten)]
    pub online: Online,
    /// Don't ask for confirmation if the ledger that the vault names is not at this place.
    #[arg(long)]
    pub yes: bool,
    #[command(flatten, next_help_heading = "S3 and WebDAV")]
    pub remote: Remote,
}

fn listed(all: &[Of]) -> Value {
    all.iter().map(|(label, number)| json!({ "series": label, "generation": number })).collect()
}

fn lines(word: &str, all: &[Of]) -> Vec<String> {
    all.iter()
        .map(|(label, number)| format!("{word}: generation {number} of '{}'", name(label.as_bytes())))
        .collect()
}

/// What the vault has of the writer, and the V before.
fn kept(known: &Known, digits: &str) -> Outcome<(Expected, u64)> {
    let one = known.find(digits)?;
    let Some(before) = &one.before else {
        let what = format!("the vault keeps no V before that of writer {}", writer(&one.id.0));
        return Err(Failure::new(Exit::NoInput, what).remedy(
            "It keeps one for 7 days after V was replaced. `bkv writers` shows until when. Nothing was changed.",
        ));
    };
    let expected = expected(std::slice::from_ref(one)).pop();
    let expected = expected.ok_or_else(|| Failure::new(Exit::NoInput, "single files have no V"))?;
    Ok((expected, before.until.0))
}

/// Asks before it gives up what only the named ledger has.
fn ask_and_take(
    access: Access<'_>,
    vault: &AccountVault,
    expected: &Expected,
    yes: bool,
) -> Outcome<TakenBack> {
    let take = |without_named| take_back(access, vault, &SystemClock, expected, without_named);
    let (counter, object) = match take(yes) {
        Err(Error::RolledBack { counter, object }) => (counter, object),
        ended => return Ok(ended?),
    };
    let what = format!(
        "the ledger that the vault names, number {counter}, does not open here ({object}). If a device of yours wrote it, generations that were made since are at another folder, and taking V back here gives them up"
    );
    if secret_input::confirm(&format!("Attention: {what}. Go on?")) {
        return Ok(take(true)?);
    }
    Err(Failure::new(Exit::Usage, what).remedy(
        "Name the folder to which the device backs up. If a thief wrote that ledger, add --yes. Nothing was changed.",
    ))
}

pub(crate) async fn run(out: Output, a: TakeBack) -> Outcome {
    let known = Known::open(&a.online).await?;
    let (expected, until) = kept(&known, &a.writer)?;
    let place = Place::open(&a.from, &a.remote, Exit::NoInput)?;
    let (key, tag) = (known.key()?, tag(&known.kept)?);
    let Online { fleet, token, device, timeout } = a.online;
    let online = MaybeOnline { fleet: Some(fleet), token: Some(token), device, timeout, remote: a.remote };
    let vault = AccountVault::open(&online, &DeviceState::open(&online.device)?, &known.kept).await?;
    let id = expected.writer;
    let taken = cancellable(move |_| {
        let access = Access { destination: place.destination(), key: &key, tag };
        ask_and_take(access, &vault, &expected, a.yes)
    });
    let TakenBack { back, lost, given_up } = taken.await??;
    let mut text = lines("back", &back);
    text.extend(lines("lost", &lost));
    text.push(format!(
        "{} back. The vault has the last V of writer {} again, and keeps the other one for 7 days. If you did not replace V yourself, somebody has your key and can do it again: restore, then make a new key.",
        count(back.len() as u64, "generation"),
        writer(&id),
    ));
    out.result(
        &text.join("\n"),
        facts([
            ("writer", hex::encode(id).into()),
            ("back", listed(&back)),
            ("lost", listed(&lost)),
            ("given_up_ledger", given_up.into()),
            ("v_before_until_ms", until.into()),
        ]),
    )
}
