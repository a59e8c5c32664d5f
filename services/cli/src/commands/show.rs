//! `bkv ceremony show`: every field of a root file, a document or a lift, and whether the root signed it.

use std::path::{Path, PathBuf};

use bkv_admin_api::shown::{self, Field};
use bkv_wire::documents::{self, DocumentError, Root, Shown, ShownLift, fingerprint};
use serde_json::{Value, json};

use super::ceremony::{damaged, describe, good_under, previous_of, read, root_of};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Output, facts};

/// What the file is.
enum Paper {
    Root(Root),
    Lift(ShownLift),
    Document(Box<Shown>),
}

impl Paper {
    fn read(path: &Path, bytes: &[u8]) -> Outcome<Self> {
        if let Ok(root) = Root::decode(bytes)
            && root.encode() == bytes
        {
            return Ok(Self::Root(root));
        }
        let remedy =
            "Give a root file, an admission list, a policy or a lift, as the ceremony's commands make them.";
        let refused = |e: DocumentError| match e {
            DocumentError::NotWhole { .. } => damaged(path, e),
            e => damaged(path, e).remedy(remedy),
        };
        if let Some(lift) = documents::show_lift(bytes).map_err(refused)? {
            return Ok(Self::Lift(lift));
        }
        documents::show_to_sign(bytes).map(|shown| Self::Document(Box::new(shown))).map_err(refused)
    }
}

/// Whether the root signed the file.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    NotAsked,
    Good,
    /// All signatures are of the root, and more are needed.
    Incomplete {
        want: u8,
    },
    Bad(String),
}

impl Verdict {
    fn of(checked: Result<(), DocumentError>, signatures: usize) -> Self {
        match checked {
            Ok(()) => Self::Good,
            Err(DocumentError::Signatures { got, want, .. }) if got == signatures => {
                Self::Incomplete { want }
            }
            Err(e) => Self::Bad(e.to_string()),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::NotAsked => String::new(),
            Self::Good => "; good under this root".into(),
            Self::Incomplete { want } => format!("; this root needs {want}, so no vault takes it yet"),
            Self::Bad(_) => "; NOT GOOD under this root".into(),
        }
    }

    const fn name(&self) -> Option<&'static str> {
        match self {
            Self::NotAsked => None,
            Self::Good => Some("good"),
            Self::Incomplete { .. } => Some("incomplete"),
            Self::Bad(_) => Some("bad"),
        }
    }
}

fn with_fields(kind: &str, fields: Vec<Field>, print: &str) -> (String, Value) {
    let mut lines = vec![kind.to_owned()];
    lines.extend(fields.iter().map(|f| format!("  {}: {}", f.name, f.value)));
    lines.push(format!("fingerprint {print}"));
    let fields: serde_json::Map<_, _> = fields.into_iter().map(|f| (f.name, f.value.into())).collect();
    (lines.join("\n"), json!({ "kind": kind, "fields": fields, "fingerprint": print }))
}

pub(super) fn show(out: Output, path: &Path, root: Option<&Path>, previous: Option<PathBuf>) -> Outcome {
    let root = root.map(root_of).transpose()?;
    let bytes = read(path)?;
    let paper = Paper::read(path, &bytes)?;
    if previous.is_some() && !matches!(paper, Paper::Document(_)) {
        return Err(Failure::new(
            Exit::Usage,
            "--previous: only an admission list or a policy has a previous one",
        )
        .remedy("Leave the option out."));
    }
    let (text, mut value, verdict) = match &paper {
        Paper::Root(shown) => {
            let (text, value) = with_fields("root", shown::root_fields(shown), &fingerprint("root", &bytes));
            let verdict = match &root {
                None => Verdict::NotAsked,
                Some(root) if root == shown => Verdict::Good,
                Some(_) => Verdict::Bad("it is another root".into()),
            };
            (text, value, verdict)
        }
        Paper::Lift(lift) => {
            let print = fingerprint("lift", &lift.body);
            let (text, value) = with_fields("lift", shown::lift_fields(&lift.lift), &print);
            let checked = root.as_ref().map(|root| documents::lift(root, &bytes).map(drop));
            let verdict = checked.map_or(Verdict::NotAsked, |checked| Verdict::of(checked, lift.signatures));
            (format!("{text}\nsigned by {} key(s){}", lift.signatures, verdict.words()), value, verdict)
        }
        Paper::Document(shown) => {
            let previous = previous.map(|path| previous_of(shown, &path, root.as_ref())).transpose()?;
            let checked = root.as_ref().map(|root| good_under(root, shown.kind, &bytes));
            let verdict = checked.map_or(Verdict::NotAsked, |checked| Verdict::of(checked, shown.signatures));
            let (text, value) = describe(shown, previous.as_ref(), &verdict.words());
            (text, value, verdict)
        }
    };
    if let Some(map) = value.as_object_mut() {
        map.insert("under_root".into(), verdict.name().into());
    }
    let Verdict::Bad(why) = verdict else { return out.shown(&text, facts([("document", value)])) };
    if !out.json {
        out.shown(&text, facts([]))?;
    }
    Err(damaged(path, format!("not good under this root: {why}"))
        .remedy("Do not use this file. Find out who made it, or give the root file that it belongs to.")
        .detail("document", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_of_another_key_is_bad_and_a_missing_one_is_not() {
        let few = |got| Err(DocumentError::Signatures { kind: "policy", want: 2, got });
        assert_eq!(Verdict::of(Ok(()), 2), Verdict::Good);
        assert_eq!(Verdict::of(few(0), 0), Verdict::Incomplete { want: 2 });
        assert_eq!(Verdict::of(few(1), 1), Verdict::Incomplete { want: 2 });
        assert!(matches!(Verdict::of(few(1), 2), Verdict::Bad(_)));
        let foreign = DocumentError::OtherFleet { kind: "policy" };
        assert!(matches!(Verdict::of(Err(foreign), 2), Verdict::Bad(_)));
    }
}
