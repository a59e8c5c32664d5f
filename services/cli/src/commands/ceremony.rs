//! The root's ceremony, made for a machine without network: nothing here opens a connection.

use std::fs;
use std::path::Path;

use bkv_core::id::{Era, FleetId};
use bkv_wire::documents::{self, Kind, Root, RootKey, add_signature, fingerprint};
use rand::RngCore as _;
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::CeremonyCommand;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};
use crate::secret_input;

fn read(path: &Path) -> Outcome<Vec<u8>> {
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

/// Makes a root of one key; its file for everybody.
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

fn root_of(path: &Path) -> Outcome<Root> {
    Root::decode(&read(path)?).map_err(|e| config(path, e))
}

/// The kind and content of a document.
fn describe(document: &[u8], root: Option<&Root>) -> Outcome<(Kind, String, serde_json::Value)> {
    let shown = documents::show(document).map_err(|e| Failure::new(Exit::Damaged, e.to_string()))?;
    let mut lines: Vec<String> = Vec::new();
    let value = match &shown.content {
        documents::Content::Admission(a) => {
            lines.push(format!(
                "admission list {} · threshold {} of {}",
                a.number,
                a.threshold,
                a.members.len()
            ));
            for m in &a.members {
                lines.push(format!("  slot {} {:<16} node {}", m.slot, m.region, m.node));
                lines.push(format!("    identity {}", fingerprint("identity", &m.identity)));
                lines.push(format!("    delivery {}", fingerprint("delivery", &m.delivery)));
            }
            json!({ "kind": "admission", "number": a.number, "regions": a.members.iter().map(|m| m.region.clone()).collect::<Vec<_>>() })
        }
        documents::Content::Policy(p) => {
            let a = &p.attempts;
            lines.push(format!(
                "policy {} · issuer {} · {} tries, locked after {} failures in all",
                p.number, p.issuer, a.max, a.lifetime_failures
            ));
            lines.push(format!("  waits {:?} ms", a.waits_ms));
            json!({ "kind": "policy", "number": p.number, "issuer": p.issuer, "max": p.attempts.max })
        }
    };
    let good = root.map(|root| {
        let good = match shown.kind {
            Kind::Admission => documents::admission(root, document, None).map(|_| ()),
            Kind::Policy => documents::policy(root, document, None).map(|_| ()),
        };
        match good {
            Ok(()) => "; good under this root".to_owned(),
            Err(e) => format!("; not good under this root: {e}"),
        }
    });
    lines.push(format!("  signed by {} key(s){}", shown.signatures, good.unwrap_or_default()));
    Ok((shown.kind, lines.join("\n"), value))
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
            );
        }
        CeremonyCommand::Show { document, root } => {
            let root = root.as_deref().map(root_of).transpose()?;
            let (_, text, value) = describe(&read(&document)?, root.as_ref())?;
            out.result(&text, facts([("document", value)]));
        }
        CeremonyCommand::Sign { document, key, root, output, yes } => {
            let root = root_of(&root)?;
            let bytes = read(&document)?;
            let (kind, text, _) = describe(&bytes, None)?;
            let seed = Zeroizing::new(read(&key)?);
            let seed: Zeroizing<[u8; 32]> = Zeroizing::new(
                seed.as_slice()
                    .try_into()
                    .map_err(|_| config(&key, "not a root key from `bkv ceremony root`"))?,
            );
            let key = RootKey::from_seed(&seed);
            if !root.keys.contains(&key.public()) {
                return Err(Failure::new(Exit::WrongKey, "this key is not one of the root's")
                    .remedy("Use the key that belongs to this root file."));
            }
            out.note(&text);
            if !yes && !secret_input::confirm("Compare the fingerprints with what each vault shows. Sign?") {
                return Err(Failure::new(Exit::Usage, "not confirmed")
                    .remedy("Add --yes to sign without being asked."));
            }
            let signed =
                add_signature(kind, &bytes, &key).map_err(|e| Failure::new(Exit::Damaged, e.to_string()))?;
            // Do not sign a document that this root would refuse, such as another fleet's.
            let checked = match kind {
                Kind::Admission => {
                    documents::admission(&Root { threshold: 1, ..root.clone() }, &signed, None).map(|_| ())
                }
                Kind::Policy => {
                    documents::policy(&Root { threshold: 1, ..root.clone() }, &signed, None).map(|_| ())
                }
            };
            checked.map_err(|e| Failure::new(Exit::Damaged, e.to_string()).remedy("Nothing was written."))?;
            write_new(&output, &signed, 0o644)?;
            out.result(
                &format!("Signed: {}", output.display()),
                facts([("signed", output.display().to_string().into())]),
            );
        }
    }
    Ok(())
}
