//! `bkv ceremony lift`: the root ends a halt or quarantine of one replica.

use std::path::PathBuf;

use bkv_core::id::NodeId;
use bkv_wire::documents::{self, Lift, Root, sign_lift};
use clap::Args;

use super::ceremony::{key_of, read, root_of, write_new};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::secret_input;

#[derive(Debug, Args)]
pub(crate) struct LiftArgs {
    /// The vault's node id, from its status.
    #[arg(long, value_name = "ID")]
    pub node: u64,
    /// The shard that has stopped.
    #[arg(long, value_name = "N")]
    pub shard: u16,
    /// The id of the stop, 32 hexadecimal digits, from the vault's status.
    #[arg(long, value_name = "HEX")]
    pub stop: String,
    /// The root's private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The root file.
    #[arg(long, value_name = "FILE")]
    pub root: PathBuf,
    /// What the other keys of the root have signed so far.
    #[arg(long, value_name = "FILE")]
    pub signed: Option<PathBuf>,
    /// Where the signed statement goes.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Don't ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

/// 32 hexadecimal digits.
fn stop_id(text: &str) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(id)
}

pub(super) fn run(out: Output, args: &LiftArgs) -> Outcome {
    let root = root_of(&args.root)?;
    let stop = stop_id(&args.stop).ok_or_else(|| {
        Failure::new(Exit::Usage, "--stop: not 32 hexadecimal digits")
            .remedy("Copy the id of the stop from the vault's status.")
    })?;
    let key = key_of(&args.key, &root)?;
    out.warning(&format!(
        "node {} serves shard {} again from the disk on which it has stopped (stop {})",
        args.node, args.shard, args.stop
    ));
    let question = "If the disk is an old one, an attacker gets tries back. Sign?";
    if !args.yes && !secret_input::confirm(question) {
        return Err(
            Failure::new(Exit::Usage, "not confirmed").remedy("Add --yes to sign without being asked.")
        );
    }
    let lift =
        Lift { lineage: root.lineage(), era: root.era, node: NodeId(args.node), shard: args.shard, stop };
    let so_far = args.signed.as_deref().map(read).transpose()?;
    let damaged = |e: documents::DocumentError| Failure::new(Exit::Damaged, e.to_string());
    let signed = sign_lift(&lift, so_far.as_deref(), &key).map_err(damaged)?;
    let is_complete = documents::lift(&root, &signed).is_ok();
    documents::lift(&Root { threshold: 1, ..root }, &signed).map_err(damaged)?;
    write_new(&args.output, &signed, 0o644)?;
    let next = if is_complete {
        "POST it to /v1/lift of the vault's admin port."
    } else {
        "More keys of the root must sign. Give each of them this file with --signed."
    };
    out.result(
        &format!("Signed: {}. {next}", args.output.display()),
        facts([("signed", args.output.display().to_string().into())]),
    )
}
