//! Passwords, keys and tokens come from a prompt, a file or a descriptor. They never come from an argument or the environment, where other users of
//! the machine could see them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read, Write as _};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure, Outcome};
use crate::signals::Asking;

/// The most bytes that are read. No password is that long, and most files that are named by mistake are longer.
const MAX: u64 = 64 << 10;

/// Where to read from. A prompt if neither is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub file: Option<&'a Path>,
    pub fd: Option<i32>,
}

/// Parses the number of a descriptor.
pub(crate) fn descriptor(text: &str) -> Result<i32, String> {
    let number = text.parse().ok().filter(|fd| *fd >= 0);
    number.ok_or_else(|| {
        "the number of an open file descriptor is needed, such as 3 after `3<FILE` in the shell".into()
    })
}

/// The name of a file in an error. A value that names no file and has no slash may be the secret itself, typed by mistake: the error may end up in a log.
pub(crate) fn file_name(path: &Path, why: &std::io::Error) -> String {
    let is_path = path.as_os_str().as_encoded_bytes().contains(&b'/');
    if is_path || why.kind() != std::io::ErrorKind::NotFound {
        return path.display().to_string();
    }
    "the file that was named (its name is not shown, because it may be the secret itself)".into()
}

/// Reads the secret. `what` names it in prompts and errors ("password"). `twice` asks again, for a new secret.
pub(crate) fn read(source: Source<'_>, what: &str, twice: bool) -> Outcome<Zeroizing<String>> {
    let text = match (source.file, source.fd) {
        (Some(path), _) => {
            let file = File::open(path).map_err(|e| {
                Failure::new(
                    Exit::NoInput,
                    format!("can't read the {what} from {}: {e}", file_name(path, &e)),
                )
                .remedy("Check the path and that you may read it.")
            })?;
            let text = from(file, what).map_err(|mut e| {
                e.message = format!("{}: {}", path.display(), e.message);
                e
            })?;
            if text.is_empty() {
                return Err(Failure::new(
                    Exit::NoInput,
                    format!("{} is empty: nothing was given for the {what}", path.display()),
                )
                .remedy("Write it into the file, or name another file. Nothing was changed."));
            }
            text
        }
        (None, Some(fd)) => {
            // Open the descriptor again through /proc. Taking it over would need `unsafe`, and its owner would still use it.
            let file = File::open(format!("/proc/self/fd/{fd}")).map_err(|e| {
                Failure::new(Exit::NoInput, format!("can't read the {what} from descriptor {fd}: {e}"))
                    .remedy(format!("Open it in the shell, for example `{fd}<file`."))
            })?;
            from(file, what)?
        }
        (None, None) => prompt(what, twice)?,
    };
    if text.is_empty() {
        return Err(Failure::new(Exit::NoInput, format!("nothing was given for the {what}"))
            .remedy("Nothing was changed; try again."));
    }
    Ok(text)
}

fn from(file: impl Read, what: &str) -> Outcome<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX + 1).read_to_string(&mut text);
    let read = read.map_err(|e| {
        Failure::new(Exit::NoInput, format!("can't read the {what}: {e}")).remedy("It must be UTF-8 text.")
    })?;
    if read as u64 > MAX {
        return Err(Failure::new(Exit::NoInput, format!("the {what} is longer than {MAX} bytes"))
            .remedy("Is this the right file?"));
    }
    let trimmed = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).len();
    text.truncate(trimmed);
    Ok(text)
}

fn prompt(what: &str, twice: bool) -> Outcome<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::NoInput, format!("no terminal to ask for the {what}"))
            .remedy(format!("Give a file or a descriptor: see `--help` for the {what}'s options.")));
    }
    let ask = |text: String| {
        ask_unseen(&text).map_err(|e| Failure::new(Exit::NoInput, format!("can't ask for the {what}: {e}")))
    };
    let first = ask(format!("{}: ", capitalised(what)))?;
    if twice && *ask(format!("{} again: ", capitalised(what)))? != *first {
        return Err(Failure::new(Exit::Usage, format!("the two {what}s differ"))
            .remedy("Nothing was changed; try again."));
    }
    Ok(first)
}

/// Asks on the terminal itself, even if the outputs are redirected. Turns the echo off before it prints the question. Otherwise the terminal would show a
/// password that a person types early.
fn ask_unseen(question: &str) -> std::io::Result<Zeroizing<String>> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let echo = echo_off(&terminal)?;
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    let mut line = Zeroizing::new(String::new());
    // Reserve the capacity once: a buffer that grows leaves copies of the secret in memory.
    line.reserve(usize::try_from(MAX).unwrap_or(0));
    let read = BufReader::with_capacity(1, &terminal).take(MAX).read_line(&mut line);
    drop(echo);
    terminal.write_all(b"\n")?;
    if read? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let trimmed = line.strip_suffix('\n').map_or(line.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).len();
    line.truncate(trimmed);
    Ok(line)
}

/// Turns the terminal's echo off. The guard gives the earlier setting back when dropped, and a signal does too.
fn echo_off(terminal: &File) -> std::io::Result<Asking> {
    let before = tcgetattr(terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
    // Remember the setting first: a signal may come right after the change.
    let asking = Asking::new(Some((terminal.try_clone()?, before)));
    tcsetattr(terminal, OptionalActions::Now, &quiet)?;
    Ok(asking)
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Asks a yes/no question. Without a terminal the answer is no.
pub(crate) fn confirm(question: &str) -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let _asking = Asking::new(None);
    // A closed stderr does not end the command: without a question the answer is no.
    if write!(std::io::stderr(), "{question} [y/N] ").is_err() {
        return false;
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailing_line_break_is_not_part_of_the_password_but_blanks_are() {
        for (given, want) in
            [("pass word\n", "pass word"), ("pass\r\n", "pass"), (" x ", " x "), ("a\nb\n\n", "a\nb\n")]
        {
            assert_eq!(*from(given.as_bytes(), "password").unwrap(), want);
        }
    }

    #[test]
    fn a_file_that_is_no_password_is_refused_without_showing_it() {
        let long = "x".repeat(70_000);
        let e = from(long.as_bytes(), "password").unwrap_err();
        assert_eq!(e.exit, Exit::NoInput);
        assert!(!e.message.contains("xxx"));
        assert!(from(&[0xff, 0xfe][..], "password").is_err());
    }
}
