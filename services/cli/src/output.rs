//! Writes to the terminal: text for people, or one JSON object. Results go to stdout, everything else to stderr.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Map, Value};

use crate::exit::Failure;

/// The options of output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub json: bool,
    pub quiet: bool,
}

impl Output {
    /// Progress, for people.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.warning(text);
        }
    }

    /// Text that a person must see even with `--quiet`: what to confirm, what to act on, or which protection is missing.
    #[allow(clippy::unused_self)] // a method, so that a caller writes a warning as it writes a note
    pub(crate) fn warning(self, text: &str) {
        // A closed stderr does not end the command.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// The result: text for people, the same facts for programs.
    pub(crate) fn result(self, text: &str, facts: Map<String, Value>) {
        let mut out = std::io::stdout().lock();
        let _ = if self.json { writeln!(out, "{}", Value::Object(facts)) } else { writeln!(out, "{text}") };
    }

    /// Reports a failed command.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let mut object = failure.details.clone();
            object.insert("error".into(), failure.exit.word().into());
            object.insert("message".into(), failure.message.clone().into());
            if let Some(r) = &failure.remedy {
                object.insert("remedy".into(), r.clone().into());
            }
            let _ = writeln!(std::io::stdout(), "{}", Value::Object(object));
        } else {
            let mut err = std::io::stderr().lock();
            let _ = writeln!(err, "bkv: {}", failure.message);
            if let Some(r) = &failure.remedy {
                let _ = writeln!(err, "     {r}");
            }
        }
    }

    /// True for a progress bar, false for plain lines.
    pub(crate) fn bar(self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }
}

/// A JSON object from pairs.
pub(crate) fn facts<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
