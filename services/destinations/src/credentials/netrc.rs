//! `.netrc`, in which curl, git and others keep passwords: `machine HOST login USER password SECRET`.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{CredentialsError, text};
use crate::settings::{Environment, Settings};

/// User and password at a WebDAV server.
#[derive(Default)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Zeroizing<String>,
}

impl Login {
    /// The login for a host, and for a user if the address names one. None if there is no file: some servers need no login.
    pub(crate) fn find(
        host: &str,
        user: Option<&str>,
        settings: &Settings,
        env: &dyn Environment,
    ) -> Result<Option<Self>, CredentialsError> {
        let usual = || env.get("NETRC").map(PathBuf::from).or_else(|| env.home(".netrc"));
        let Some(path) = settings.credentials.clone().or_else(usual) else { return Ok(None) };
        let Some(text) = text(&path)? else {
            return match (&settings.credentials, user) {
                (None, None) => Ok(None),
                _ => Err(CredentialsError::File { path, why: "there is no such file".into() }),
            };
        };
        match parse(&text, host, user) {
            Some(login) => Ok(Some(login)),
            None if settings.credentials.is_none() && user.is_none() => Ok(None),
            None => {
                let of = user.map(|user| format!(" login {user}")).unwrap_or_default();
                Err(CredentialsError::Missing {
                    path, what: format!("line `machine {host}{of} password …`")
                })
            }
        }
    }
}

fn parse(text: &str, host: &str, user: Option<&str>) -> Option<Login> {
    let mut words =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    let mut login = Login::default();
    let mut fits = false;
    let is_done = |fits: bool, login: &Login| {
        fits && !login.password.is_empty() && user.is_none_or(|user| user == login.user)
    };
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" => {
                if is_done(fits, &login) {
                    return Some(login);
                }
                login = Login::default();
                fits = word == "default" || words.next().is_some_and(|name| name.eq_ignore_ascii_case(host));
            }
            "login" => words.next().unwrap_or_default().clone_into(&mut login.user),
            "password" => login.password = Zeroizing::new(words.next().unwrap_or_default().to_owned()),
            _ => {}
        }
    }
    is_done(fits, &login).then_some(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_host_and_user_counts() {
        let text = "# machine cloud login no password no\nmachine other login x password y\n\
                    machine cloud login anna password a1\nmachine cloud\n  login ben\n  password b1\ndefault login d password d1\n";
        let found = |host, user| parse(text, host, user).map(|l| (l.user, l.password.as_str().to_owned()));
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(found("Cloud", None), login("anna", "a1"));
        assert_eq!(found("cloud", Some("ben")), login("ben", "b1"));
        assert_eq!(found("elsewhere", None), login("d", "d1"));
        assert_eq!(found("cloud", Some("carl")), None);
        assert!(parse("machine cloud login anna", "cloud", None).is_none());
    }

    #[test]
    fn a_file_that_is_named_must_have_the_login() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("logins");
        std::fs::write(&file, "machine other login x password y").unwrap();
        let named = Settings { credentials: Some(file.clone()), ..Settings::default() };
        let nothing = |_: &str| None;
        let error = Login::find("cloud", Some("anna"), &named, &nothing).err().unwrap().to_string();
        assert!(error.contains("machine cloud login anna"), "{error}");
        assert!(Login::find("cloud", None, &Settings::default(), &nothing).unwrap().is_none());
        let env = |name: &str| (name == "NETRC").then(|| file.display().to_string());
        assert!(Login::find("cloud", None, &Settings::default(), &env).unwrap().is_none());
        assert_eq!(Login::find("other", None, &Settings::default(), &env).unwrap().unwrap().user, "x");
    }
}
