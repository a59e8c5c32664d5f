//! The root's ceremony, made for a machine without network: nothing here opens a connection.

use std::fs;
use std::path::{Path, PathBuf};

use bkv_admin_api::shown;
use bkv_core::id::{Era, FleetId};
use bkv_wire::documents::{
    self, Content, DocumentError, Kind, Root, RootKey, Shown, add_signature, fingerprint,
};
use clap::Subcommand;
use rand::RngCore as _;
use serde_json::json;
use zeroize::Zeroizing;

use super::{lift, show};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::secret_input;

#[derive(Debug, Subcommand)]
pub(crate) enum CeremonyCommand {
    /// Make a root key, and the root file that clients and vaults pin.
    Root {
        /// Where the private key goes (0600). Keep it off every network.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where the root file goes. It is public: give it to everybody.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
    },
    /// Show every field of a document, with the fingerprints to compare aloud.
    ///
    /// With --root, the command also reports whether the root signed the document, and ends with 65 if a signature is not good or the document belongs to
    /// another root. A document that too few keys have signed so far is no error.
    Show {
        /// An admission list, a policy or a lift, signed or not, or a root file.
        document: PathBuf,
        /// The root file, to check the signatures against.
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// The signed document before this one, to show what differs.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
    },
    /// Sign an admission list or a policy.
    Sign {
        /// The unsigned (or partly signed) document.
        document: PathBuf,
        /// The root's private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The root file. A document of another fleet is refused.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// The signed document before this one, which the root must have signed. Shows what differs.
        #[arg(long, value_name = "FILE")]
        previous: Option<PathBuf>,
        /// Where the signed document goes.
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// Don't ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Sign that a halted or quarantined replica may serve again. Find out first why it stopped.
    Lift(lift::LiftArgs),
}

pub(super) fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|e| Failure::new(Exit::NoInput, format!("can't read {}: {e}", path.display())))
}

fn config(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Config, format!("{}: {why}", path.display()))
}

/// Never overwrites an existing file: a root key can't be made again.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Outcome {
    let failed = |e: std::io::Error| {
        Failure::new(Exit::CantCreate, format!("can't write {}: {e}", path.display()))
            .remedy("Choose a path that does not exist yet.")
    };
    bkv_files::create(path, bytes, bkv_files::Mode::Bits(mode)).map_err(failed)
}

/// Makes a root of one key. Returns the public root file.
pub(crate) fn make_root(key_path: &Path, root_path: &Path, development: bool) -> Outcome<(Root, RootKey)> {
    let mut seed = Zeroizing::new([0u8; 32]);
    rand::rngs::OsRng.fill_bytes(seed.as_mut_slice());
    let key = RootKey::from_seed(&seed);
    let mut fleet = [0u8; 16];
    rand::rngs::OsRng.fill_bytes(&mut fleet);
    let root =
        Root { keys: vec![key.public()], threshold: 1, fleet: FleetId(fleet), era: Era(1), development };
    write_new(key_path, key.seed().as_slice(), 0o600)?;
    if let Err(e) = write_new(root_path, &root.encode(), 0o644) {
        // Remove the key: without its root file it is useless, and it would block the next run.
        let _ = fs::remove_file(key_path);
        return Err(e);
    }
    Ok((root, key))
}

pub(super) fn root_of(path: &Path) -> Outcome<Root> {
    Root::decode(&read(path)?).map_err(|e| config(path, e))
}

pub(super) fn damaged(path: &Path, e: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Damaged, format!("{}: {e}", path.display()))
}

/// Why a file is not to be signed, with the command for a lift.
fn unsignable(path: &Path, e: &DocumentError) -> Failure {
    let failure = damaged(path, e);
    match e {
        DocumentError::Kind { got, .. } if got == "lift" => {
            failure.remedy("`bkv ceremony lift --signed FILE` adds a signature to a lift.")
        }
        _ => failure.remedy("Give the unsigned document of the operator's request. Nothing was written."),
    }
}

/// Whether enough keys of the root have signed.
pub(super) fn good_under(root: &Root, kind: Kind, document: &[u8]) -> Result<(), DocumentError> {
    match kind {
        Kind::Admission => documents::admission(root, document, None).map(drop),
        Kind::Policy => documents::policy(root, document, None).map(drop),
    }
}

/// The document before `new`. If a root is given, it must have signed that document: an attacker could
/// otherwise supply a made-up document to which the new one shows no difference.
pub(super) fn previous_of(new: &Shown, path: &Path, root: Option<&Root>) -> Outcome<Content> {
    let bytes = read(path)?;
    let previous = documents::show(&bytes).map_err(|e| damaged(path, e))?;
    if previous.kind != new.kind {
        return Err(Failure::new(
            Exit::Damaged,
            format!("{} is of kind `{}`, not `{}`", path.display(), previous.kind.name(), new.kind.name()),
        )
        .remedy("Give the document of the same kind that is in force."));
    }
    if let Some(root) = root {
        good_under(root, new.kind, &bytes).map_err(|e| {
            damaged(path, e).remedy("Give the signed document that is in force. Nothing was written.")
        })?;
    }
    Ok(previous.content)
}

/// All that is in a document, as text and for programs.
pub(super) fn describe(
    shown: &Shown,
    previous: Option<&Content>,
    verdict: &str,
) -> (String, serde_json::Value) {
    let mut lines = vec![shown::text(shown, previous)];
    if previous.is_none() && shown.content.number() > 1 {
        lines.push(
            "To see what differs from the document in force, add --previous with that document.".into(),
        );
    }
    lines.push(format!("signed by {} key(s){verdict}", shown.signatures));
    let fields: serde_json::Map<_, _> =
        shown::fields(&shown.content).into_iter().map(|f| (f.name, f.value.into())).collect();
    let value = json!({
        "kind": shown.kind.name(), "number": shown.content.number(), "fields": fields,
        "fingerprint": shown::body_fingerprint(shown),
        "changes": previous.map(|p| shown::changes(p, &shown.content)),
    });
    (lines.join("\n"), value)
}

/// Refuses what no vault would install after `previous`.
fn check_successor(previous: &Content, new: &Content) -> Outcome {
    let refused =
        |why: String| Failure::new(Exit::Damaged, why).remedy("Write a new document. Nothing was written.");
    if new.number() <= previous.number() {
        return Err(refused(format!(
            "the previous document has number {}, so this one needs a higher number than {}",
            previous.number(),
            new.number()
        )));
    }
    match (previous, new) {
        (Content::Policy(old), Content::Policy(new)) if old.shards != new.shards => Err(refused(format!(
            "field `shards`: was {}, is {}, but the number of shards never changes",
            old.shards, new.shards
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn run(out: Output, command: CeremonyCommand) -> Outcome {
    match command {
        CeremonyCommand::Root { key, root } => {
            let (made, _) = make_root(&key, &root, false)?;
            let print = fingerprint("root", &made.encode());
            out.result(
                &format!(
                    "Root made. Keep {} off every network; hand {} to everybody.\nfingerprint {print}",
                    key.display(),
                    root.display()
                ),
                facts([("fingerprint", print.into()), ("fleet", made.fleet.to_string().into())]),
            )?;
        }
        CeremonyCommand::Show { document, root, previous } => {
            show::show(out, &document, root.as_deref(), previous)?;
        }
        CeremonyCommand::Lift(args) => lift::run(out, &args)?,
        CeremonyCommand::Sign { document, key, root, previous, output, yes } => {
            let root = root_of(&root)?;
            let bytes = read(&document)?;
            let shown = documents::show_to_sign(&bytes).map_err(|e| unsignable(&document, &e))?;
            let key = key_of(&key, &root)?;
            let previous = previous.map(|path| previous_of(&shown, &path, Some(&root))).transpose()?;
            if let Some(previous) = &previous {
                check_successor(previous, &shown.content)?;
            }
            out.warnings(&describe(&shown, previous.as_ref(), "").0);
            if !yes
                && !secret_input::confirm(
                    "Compare each field, and the fingerprints with what each vault shows. Sign?",
                )
            {
                return Err(Failure::new(Exit::Usage, "not confirmed")
                    .remedy("Add --yes to sign without being asked."));
            }
            let signed = add_signature(shown.kind, &bytes, &key)
                .map_err(|e| Failure::new(Exit::Damaged, e.to_string()))?;
            // Do not sign a document that this root would refuse, such as another fleet's.
            good_under(&Root { threshold: 1, ..root }, shown.kind, &signed)
                .map_err(|e| Failure::new(Exit::Damaged, e.to_string()).remedy("Nothing was written."))?;
            write_new(&output, &signed, 0o644)?;
            out.result(
                &format!("Signed: {}", output.display()),
                facts([("signed", output.display().to_string().into())]),
            )?;
        }
    }
    Ok(())
}

/// The root's private key in this file.
pub(super) fn key_of(path: &Path, root: &Root) -> Outcome<RootKey> {
    let seed = Zeroizing::new(read(path)?);
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(
        seed.as_slice().try_into().map_err(|_| config(path, "not a root key from `bkv ceremony root`"))?,
    );
    let key = RootKey::from_seed(&seed);
    if root.keys.contains(&key.public()) {
        return Ok(key);
    }
    Err(Failure::new(Exit::WrongKey, "this key is not one of the root's")
        .remedy("Use the key that belongs to this root file."))
}
