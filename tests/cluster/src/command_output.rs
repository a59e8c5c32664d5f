//! A command, run to its end.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A command's exit code and output.
#[derive(Debug)]
pub struct CommandOutput {
    /// Exit code 0.
    pub ok: bool,
    /// Its exit code; None if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error, warnings included.
    pub err: String,
}

impl CommandOutput {
    /// Runs a command with `input` on its standard input.
    pub fn of(command: &mut Command, input: Option<&str>) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut stdin = child.stdin.take().expect("piped");
        if let Some(text) = input {
            stdin.write_all(text.as_bytes()).expect("it reads");
        }
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        Self {
            ok: output.status.success(),
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Its output. Fails the test if the command failed or printed a warning.
    #[track_caller]
    pub fn clean(self) -> String {
        assert!(self.ok && self.err.is_empty(), "{}\n{}", self.err, self.out);
        self.out
    }

    /// Its output. Fails the test if the command failed. Warnings are allowed.
    #[track_caller]
    pub fn good(self) -> String {
        assert!(self.ok, "{}\n{}", self.err, self.out);
        self.out
    }

    /// Its output as JSON. Fails the test if the command failed.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.good();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }
}
