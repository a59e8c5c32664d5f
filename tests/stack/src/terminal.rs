//! A user at a terminal: `bkv` on its own pseudo-terminal (util-linux `script`). The test waits for questions and types answers.

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::program::{End, Program};

/// A command on a pseudo-terminal.
pub struct Terminal {
    program: Program,
    keyboard: ChildStdin,
    /// Bytes of the screen that earlier waits have consumed.
    seen: usize,
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

impl Terminal {
    /// Starts `bkv` with these arguments.
    #[track_caller]
    pub fn bkv<S: AsRef<str>>(args: &[S]) -> Self {
        let program = crate::bin_dir().join("bkv");
        let mut line = quoted(program.to_str().expect("UTF-8 path"));
        for a in args {
            line += " ";
            line += &quoted(a.as_ref());
        }
        let mut command = Command::new("script");
        command
            .args(["-q", "-e", "-f", "-c", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .env_remove("BKV_FLEET");
        let mut program = Program::start(command);
        let keyboard = program.stdin().expect("a pipe");
        Self { program, keyboard, seen: 0 }
    }

    /// Waits until the screen shows this text after the one of the wait before.
    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        crate::wait(&format!("`{text}` on the terminal"), Duration::from_mins(1), || {
            let screen = self.program.text("out");
            let rest = screen.get(self.seen..).unwrap_or_default();
            rest.find(text).map(|at| self.seen += at + text.len()).is_some()
        });
    }

    /// Types a line.
    #[track_caller]
    pub fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").and_then(|()| self.keyboard.flush()).expect("type");
    }

    /// Waits for a question and types the answer.
    #[track_caller]
    pub fn answer(&mut self, question: &str, line: &str) {
        self.sees(question);
        self.types(line);
    }

    /// Waits until it ends. `out` is everything that was on the screen.
    #[track_caller]
    pub fn end(self) -> End {
        let Self { program, keyboard, .. } = self;
        let end = program.end(Duration::from_mins(1));
        drop(keyboard);
        end
    }
}
