//! Writes to the terminal: text for people, or one JSON object. Results go to stdout, everything else to stderr.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure, Outcome};
use crate::legible;

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
        let _ = writeln!(std::io::stderr(), "{}", legible::line(text));
    }

    /// The same with several lines, such as a document to confirm. What comes from outside must have passed [`legible::line`].
    #[allow(clippy::unused_self)]
    pub(crate) fn warnings(self, lines: &str) {
        let _ = writeln!(std::io::stderr(), "{}", legible::lines(lines));
    }

    /// The result of a command that changed something: text for people, the same facts for programs.
    pub(crate) fn result(self, text: &str, facts: Map<String, Value>) -> Outcome {
        // Not in the message: a user who sees only an error would repeat what is done already.
        let done = text.lines().next().unwrap_or_default();
        self.write(text, facts, |failure| {
            failure.remedy(format!(
                "The command has done its work, so do not repeat it only to see the result. {done}"
            ))
        })
    }

    /// What a command shows. It changed nothing.
    pub(crate) fn shown(self, text: &str, facts: Map<String, Value>) -> Outcome {
        self.write(text, facts, |failure| {
            failure
                .remedy("Nothing was changed. Make room or choose another output, then repeat the command.")
        })
    }

    /// A secret, without a copy that is not wiped. `name` is its field with --json.
    pub(crate) fn secret(self, name: &str, line: &str) -> Outcome {
        let unwritten = |failure: Failure| {
            failure
                .remedy("Nothing was changed. Make room or choose another output, then repeat the command.")
        };
        if !self.json {
            return to_stdout(line).map_err(unwritten);
        }
        let mut object = Zeroizing::new(String::with_capacity(name.len() + line.len() + 8));
        for part in ["{\"", name, "\":\"", line, "\"}"] {
            object.push_str(part);
        }
        to_stdout(&object).map_err(unwritten)
    }

    fn write(
        self,
        text: &str,
        facts: Map<String, Value>,
        remedy: impl FnOnce(Failure) -> Failure,
    ) -> Outcome {
        if self.json {
            // Zeroized, because the result can be a key.
            let line = Zeroizing::new(Value::Object(facts).to_string());
            to_stdout(&line).map_err(remedy)
        } else {
            to_stdout(&legible::lines(text)).map_err(remedy)
        }
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
            if let Some(log) = &failure.log {
                object.insert("log".into(), log.clone().into());
            }
            if to_stdout(&Value::Object(object).to_string()).is_ok() {
                return;
            }
        }
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "bkv: {}", legible::line(&failure.message));
        for line in failure.log.iter().flat_map(|log| log.lines()) {
            let _ = writeln!(err, "     | {}", legible::line(line));
        }
        if let Some(r) = &failure.remedy {
            let _ = writeln!(err, "     {}", legible::line(r));
        }
    }

    /// True for a progress bar, false for plain lines.
    pub(crate) fn bar(self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }
}

/// Writes a line to stdout, or reports why not. Every result goes through here. A reader that has closed the pipe wants no more: that is no failure.
pub(crate) fn to_stdout(line: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => {
            Err(Failure::new(Exit::CantCreate, format!("can't write the result to standard output: {e}")))
        }
    }
}

/// A JSON object from pairs.
pub(crate) fn facts<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
