//! `bkv take-back`: the last V of a writer, which somebody else has replaced.

use std::path::PathBuf;

use bkv_backups::take_back::{Of, TakenBack, take_back};
use bkv_backups::{Access, Expected, Secret, SystemClock};
use bkv_client::Secret32;
use clap::Args;
use serde_json::{Value, json};

use super::interrupt::cancellable;
use super::writers::Known;
use crate::args::{MaybeOnline, Online};
use crate::backups::{AccountVault, Place, Remote, expected, name, tag, writer};
use crate::device::DeviceState;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::words::{count, time};

#[derive(Debug, Args)]
pub(crate) struct TakeBack {
    /// Folder with the writer's backups, or the address of one.
    pub from: PathBuf,
    /// The writer, by the first digits of its id. `bkv writers` lists them, and until when the V before is kept.
    pub writer: String,
    #[command(flatten)]
    pub online: Online,
    #[command(flatten, next_help_heading = "S3 and WebDAV")]
    pub remote: Remote,
}

fn secret(v: &Secret32) -> Secret {
    Secret::from_bytes(*v.expose())
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
fn kept(known: &Known, digits: &str) -> Outcome<(Expected, Secret, u64)> {
    let one = known.find(digits)?;
    let Some(before) = &one.before else {
        let what = format!("the vault keeps no V before that of writer {}", writer(&one.id.0));
        return Err(Failure::new(Exit::NoInput, what).remedy(
            "It keeps one for 7 days after V was replaced. `bkv writers` shows until when. Nothing was changed.",
        ));
    };
    let expected = expected(std::slice::from_ref(one)).pop();
    let expected = expected.ok_or_else(|| Failure::new(Exit::NoInput, "single files have no V"))?;
    Ok((expected, secret(&before.v), before.until.0))
}

pub(crate) async fn run(out: Output, a: TakeBack) -> Outcome {
    let known = Known::open(&a.online).await?;
    let (expected, before, until) = kept(&known, &a.writer)?;
    let place = Place::open(&a.from, &a.remote, Exit::NoInput)?;
    let (key, tag) = (known.key()?, tag(&known.kept)?);
    let Online { fleet, token, device, timeout } = a.online;
    let online = MaybeOnline { fleet: Some(fleet), token: Some(token), device, timeout, remote: a.remote };
    let vault = AccountVault::open(&online, &DeviceState::open(&online.device)?, &known.kept).await?;
    let id = expected.writer;
    let taken = cancellable(move |_| {
        let access = Access { destination: place.destination(), key: &key, tag };
        take_back(access, &vault, &SystemClock, &expected, &before)
    });
    let TakenBack { back, lost } = taken.await??;
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
            ("was_kept_until", time(until).into()),
        ]),
    )
}
