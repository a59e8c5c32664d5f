//! A person at a terminal: `bkv` on a pseudo-terminal of its own (util-linux `script`), questions awaited, answers typed.

use std::io::Write as _;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::program::{End, Program};

/// A command on a pseudo-terminal.
pub struct Terminal {
    program: Program,
    keyboard: ChildStdin,
    /// How much of the screen has been looked at.
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

    /// Waits until the screen shows these words after what was awaited before.
    #[track_caller]
    pub fn sees(&mut self, words: &str) {
        crate::wait(&format!("`{words}` on the terminal"), Duration::from_mins(1), || {
            let screen = self.program.text("out");
            let rest = screen.get(self.seen..).unwrap_or_default();
            rest.find(words).map(|at| self.seen += at + words.len()).is_some()
        });
    }

    /// Types a line.
    #[track_caller]
    pub fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").and_then(|()| self.keyboard.flush()).expect("type");
    }

    /// A question and its answer.
    #[track_caller]
    pub fn answer(&mut self, question: &str, line: &str) {
        self.sees(question);
        self.types(line);
    }

    /// Waits for its end; all that was on the screen is `out`.
    #[track_caller]
    pub fn end(self) -> End {
        let Self { program, keyboard, .. } = self;
        let end = program.end(Duration::from_mins(1));
        drop(keyboard);
        end
    }
}
