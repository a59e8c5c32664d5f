//! `bkv writers`: the account's writers as the vault knows them, and how a person names one.

use std::fmt::Write as _;

use bkv_backups::format::Id;
use bkv_client::{BackupKey, Client, Ledgers, Writer, WriterId};
use serde_json::{Value, json};

use super::ownership;
use crate::args::Online;
use crate::backups::{self, table, tag, writer};
use crate::device::{DeviceState, Kept};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::profile;
use crate::words::time;

/// What the vault knows, and the client that asked.
pub(super) struct Known {
    pub client: Client,
    pub kept: Kept,
    pub ledgers: Ledgers,
    own: Vec<Id>,
}

impl Known {
    pub(super) async fn open(online: &Online) -> Outcome<Self> {
        let device = DeviceState::open(&online.device)?;
        let kept = device.require()?;
        ownership::in_vault(&kept)?;
        let (client, _) = profile::client(online, &device)?;
        ownership::same_account(&client, &kept, Exit::OtherAccount).await?;
        let own = backups::Writers::of(&device, &kept, tag(&kept)?)?.ids()?;
        let ledgers = client.read_ledgers(&kept.key()?).await?;
        Ok(Self { client, kept, ledgers, own })
    }

    pub(super) fn key(&self) -> Outcome<BackupKey> {
        self.kept.key()
    }

    /// The writer whose id begins with these digits. Fails if several do.
    pub(super) fn find(&self, digits: &str) -> Outcome<&Writer> {
        let digits = digits.to_ascii_lowercase();
        let mut fitting = self.ledgers.writers.iter().filter(|w| hex::encode(w.id.0).starts_with(&digits));
        match (fitting.next(), fitting.next()) {
            (Some(one), None) if !digits.is_empty() => Ok(one),
            (Some(_), _) => Err(Failure::new(Exit::Usage, format!("several writers begin with '{digits}'"))
                .remedy("Give more digits. `bkv writers --json` shows all of them.")),
            (None, _) => Err(Failure::new(Exit::NoInput, format!("the vault knows no writer '{digits}'"))
                .remedy("`bkv writers` lists those that it knows.")),
        }
    }

    /// Names the device that writes these backups.
    pub(super) fn of(&self, one: &Writer) -> &'static str {
        if one.id == WriterId::FILES {
            "single files"
        } else if self.own.contains(&one.id.0) {
            "this device"
        } else {
            "another device"
        }
    }
}

fn state(one: &Writer) -> String {
    let mut parts = Vec::new();
    if let Some(until) = one.forgotten {
        parts.push(format!("forgotten, kept until {}", time(until.0)));
    }
    if let Some(before) = &one.before {
        parts.push(format!("the V before it is kept until {}", time(before.until.0)));
    }
    parts.join("; ")
}

fn fact(known: &Known, one: &Writer) -> Value {
    json!({
        "writer": hex::encode(one.id.0),
        "ledger": one.ledger.counter,
        "of": known.of(one),
        "has_v": one.v.is_some(),
        "v_before_until_ms": one.before.as_ref().map(|before| before.until.0),
        "forgotten_until_ms": one.forgotten.map(|until| until.0),
    })
}

pub(crate) async fn run(out: Output, a: &Online) -> Outcome {
    let known = Known::open(a).await?;
    let writers = &known.ledgers.writers;
    let row = |one: &Writer| {
        vec![writer(&one.id.0), one.ledger.counter.to_string(), known.of(one).into(), state(one)]
    };
    let mut text = if writers.is_empty() {
        "The vault knows no writer of this account.".to_owned()
    } else {
        table(&["writer", " ledger", "of", "state"], &writers.iter().map(row).collect::<Vec<_>>())
    };
    if let Some(until) = known.ledgers.kept_until {
        let _ = write!(
            text,
            "\nThe key is gone from the vault, which gives V to the owner of the key until {}. After that only the devices that made these backups open them.",
            time(until.0)
        );
    }
    out.shown(
        &text,
        facts([
            ("writers", writers.iter().map(|one| fact(&known, one)).collect::<Vec<_>>().into()),
            ("kept_until_ms", known.ledgers.kept_until.map(|until| until.0).into()),
        ]),
    )
}
