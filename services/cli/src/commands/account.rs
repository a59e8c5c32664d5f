//! Commands on the account in the vault: status, change of password, deletion.

use std::path::PathBuf;

use bkv_client::{State, WriterId};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::fetch::{ask_password, failed, options, series};
use super::{last_try, ownership, saved};
use crate::args::{Online, PasswordSource};
use crate::backups::writer as shown;
use crate::device::{DeviceState, Kept, Mode};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::secret_input::{self, Source};
use crate::signals::{Handled, Sent, interruptible};
use crate::words::time;

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    /// Prove the old password, then protect the same key by a new one.
    Change {
        #[command(flatten)]
        online: Online,
        #[command(flatten)]
        password: PasswordSource,
        /// Read the new password from a file.
        #[arg(long, value_name = "FILE", conflicts_with = "new_password_fd")]
        new_password_file: Option<PathBuf>,
        /// Read the new password from an open file descriptor.
        #[arg(long, value_name = "N", value_parser = secret_input::descriptor)]
        new_password_fd: Option<i32>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub online: Online,
    /// Don't ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

/// For people. `--json` has [`State::name`].
fn words(state: State) -> &'static str {
    match state {
        State::None => "no key",
        State::Live => "live",
        State::LastTry => "last try open",
        State::Locked => "locked",
        State::Destroyed => "destroyed",
        State::Deleted => "deleted",
    }
}

pub(crate) async fn status(out: Output, a: Online) -> Outcome {
    let device = DeviceState::open(&a.device)?;
    let known = device.load()?;
    let (client, _) = profile::client(&a, &device)?;
    let list = client.trusted().await?.admission().clone();
    let s = client.status().await?;
    if let Some(kept) = known.as_ref().filter(|k| k.mode == Mode::Password) {
        ownership::check(kept, &s.account, &list.lineage, Exit::OtherAccount)?;
    }
    // Judge by the vault's clock, and show no wait that is over.
    let vault_now = i128::from(crate::failure::now_ms()) + i128::from(s.clock_offset_ms);
    let next_allowed = Some(s.next_allowed.0).filter(|t| i128::from(*t) > vault_now);
    let agreeing: Vec<String> = s.agreeing.iter().map(|r| r.region.clone()).collect();
    let differing: Vec<String> = s.differing.iter().map(|r| r.region.clone()).collect();
    let mut lines = vec![
        format!("key          {}", words(s.state)),
        format!("tries left   {}", s.tries_left),
        format!("failures     {} since it was registered", s.lifetime_failures),
    ];
    if let Some(next) = next_allowed {
        lines.push(format!("next try at  {}", time(next)));
    }
    if let Some(newest) = s.newest_file() {
        lines.push(format!("newest       backup {} of those in single files", newest.counter));
    }
    let series: Vec<_> = s.writers.iter().filter(|writer| writer.id != WriterId::FILES).collect();
    lines.extend(
        series
            .iter()
            .map(|writer| format!("writer       {}, ledger {}", shown(&writer.id.0), writer.ledger.counter)),
    );
    let writers: Vec<Value> = series
        .iter()
        .map(|writer| json!({ "writer": hex::encode(writer.id.0), "ledger": writer.ledger.counter }))
        .collect();
    lines.push(format!("signed by    {}", agreeing.join(", ")));
    for (what, who) in [("differing", &differing), ("silent", &s.silent)] {
        if !who.is_empty() {
            lines.push(format!("{what:<12} {}", who.join(", ")));
        }
    }
    if let [only] = &list.members[..] {
        lines.push(format!(
            "One region ({}): it has no threshold. Whoever has root there can test passwords offline.",
            only.region
        ));
    }
    if s.development {
        lines.push("A development fleet: its root was not made in a ceremony, and its waits may be short. Keep no key in it that you can't lose.".into());
    }
    let has_key = known.as_ref().is_some_and(|k| k.mode == Mode::Password);
    let advice = saved::advice(s.state).filter(|_| has_key);
    lines.extend(advice.map(str::to_owned));
    let regions: Vec<Value> =
        s.agreeing.iter().map(|r| json!({ "name": r.region, "index": r.says.index })).collect();
    out.shown(
        &lines.join("\n"),
        facts([
            ("state", s.state.name().into()),
            ("tries_left", s.tries_left.into()),
            ("advice", advice.into()),
            ("next_allowed_ms", next_allowed.into()),
            ("generation", s.generation.0.into()),
            ("lifetime_failures", s.lifetime_failures.into()),
            ("newest_backup", s.newest_file().map(|newest| newest.counter).into()),
            ("writers", writers.into()),
            ("regions", regions.into()),
            ("single_region", (list.members.len() == 1).into()),
            ("differing", differing.into()),
            ("silent", s.silent.into()),
            ("clock_offset_ms", s.clock_offset_ms.into()),
            ("development", s.development.into()),
        ]),
    )
}

pub(crate) async fn password(out: Output, a: PasswordCommand) -> Outcome {
    let PasswordCommand::Change { online, .. } = &a;
    let device = DeviceState::open_for_key_change(&online.device)?;
    last_try::open(&device)?;
    let known = device.load()?;
    let ended = change(out, a, &device).await.map_err(|failure| {
        let failure = saved::advise(failure, known.as_ref());
        if failure.details.contains_key("declined") {
            declined(failure, known.as_ref().is_some_and(|k| k.mode == Mode::Password))
        } else {
            failure
        }
    });
    ended.map_err(|failure| last_try::remind(failure, &device))
}

/// This command has no --yes: the device that has the key needs no try to set a new password.
fn declined(failure: Failure, has_key: bool) -> Failure {
    failure.remedy(if has_key {
        "No try was spent. This device has the key: `bkv register` here sets a new password without the old one."
    } else {
        "No try was spent. Set a new password with `bkv register` on a device that still has the key, or use the last try with `bkv recover`."
    })
}

async fn change(out: Output, a: PasswordCommand, device: &DeviceState) -> Outcome {
    let PasswordCommand::Change { online, password: old, new_password_file, new_password_fd } = a;
    let known = device.load()?;
    let (client, runtime) = profile::client(&online, device)?;
    if let Some(kept) = known.as_ref().filter(|k| k.mode == Mode::Password) {
        ownership::same_account(&client, kept, Exit::OtherAccount).await?;
    }
    let old = ask_password(&old, "old password", false)?;
    let new = secret_input::read(
        Source { file: new_password_file.as_deref(), fd: new_password_fd },
        "new password",
        true,
    )?;
    let keep = device.last_try();
    let _handled = Handled::new();
    let change = client.change_password(&old, &new, &[], options(false, &keep));
    let done = interruptible(change, Sent::TryAndChange).await?.map_err(failed)?;
    not_followed(out, &done.not_followed);
    let lineage = client.trusted().await?.admission().lineage.0;
    if known.is_none() {
        device.save(&Kept::new(Mode::Password, &done.key, &done.account.0, &lineage, series(&runtime)))?;
    }
    out.result(
        "The password is changed; the key and its backups stay the same.",
        facts([
            ("changed", true.into()),
            ("generation", done.generation.0.into()),
            ("not_followed", done.not_followed.into()),
        ]),
    )
}

pub(crate) async fn delete(out: Output, a: Delete) -> Outcome {
    let device = DeviceState::open(&a.online.device)?;
    let kept = device.require()?;
    ownership::in_vault(&kept)?;
    let (client, _) = profile::client(&a.online, &device)?;
    ownership::same_account(&client, &kept, Exit::OtherAccount).await?;
    if !a.yes
        && !secret_input::confirm(
            "Remove the key from the vault for good? Backups can then only be read by a device that has the key, and 7 days later each series only by the device that made it.",
        )
    {
        return Err(
            Failure::new(Exit::Usage, "not confirmed").remedy("Add --yes to delete without being asked.")
        );
    }
    let done = interruptible(client.delete(&kept.key()?), Sent::Deletion).await??;
    not_followed(out, &done.not_followed);
    // The key is deleted, whatever the vault answers now.
    let kept_until = client.read_ledgers(&kept.key()?).await.ok().and_then(|ledgers| ledgers.kept_until);
    let v = kept_until.map(|until| {
        format!(
            " Until {} the vault gives V to a device that has the key. After that each series opens only on the device that made it.",
            time(until.0)
        )
    });
    let text = format!(
        "Deleted from the vault. This device still has the key, and reads its backups; registering again makes a new one.{}",
        v.unwrap_or_default()
    );
    out.result(
        &text,
        facts([
            ("deleted", true.into()),
            ("v_kept_until_ms", kept_until.map(|until| until.0).into()),
            ("not_followed", done.not_followed.into()),
        ]),
    )
}

/// Names the regions where what was replaced or deleted can still be used.
pub(crate) fn not_followed(out: Output, regions: &[String]) {
    for region in regions {
        out.warning(&format!(
            "Region {region} has not signed this change. Until it has, an attacker with root there can still use its part of the old registration."
        ));
    }
}
