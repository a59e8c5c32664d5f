//! Exit codes: documented in `--help` and stable, so that a script can tell the causes apart.

/// What the process ends with. Codes from 64 on are those of sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Unexpected = 1,
    /// Not confirmed, or options that contradict each other.
    Usage = 2,
    /// The backup or restore was made, and some files are not in it.
    Incomplete = 3,
    /// The backup was made, and no other device can open it, or for a week none could notice if an older one is served.
    NotNamed = 4,
    WrongPassword = 10,
    Wait = 11,
    Gone = 12,
    NoKey = 13,
    Locked = 14,
    WrongKey = 15,
    FleetNotTrusted = 16,
    RegionWrong = 17,
    ClockWrong = 18,
    PasswordRefused = 19,
    KeyExists = 20,
    OtherAccount = 21,
    /// The last try is open. At its deadline the key is destroyed.
    LastTry = 22,
    Config = 64,
    Damaged = 65,
    NoInput = 66,
    Unavailable = 69,
    CantCreate = 73,
    TokenRefused = 77,
    Interrupted = 130,
}

impl Exit {
    /// Its name in `--json` output.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Unexpected => "unexpected",
            Self::Usage => "usage",
            Self::Incomplete => "incomplete",
            Self::NotNamed => "not-named",
            Self::WrongPassword => "wrong-password",
            Self::Wait => "wait",
            Self::Gone => "gone",
            Self::NoKey => "no-key",
            Self::Locked => "locked",
            Self::WrongKey => "wrong-key",
            Self::FleetNotTrusted => "fleet-not-trusted",
            Self::RegionWrong => "region-wrong",
            Self::ClockWrong => "clock-wrong",
            Self::PasswordRefused => "password-refused",
            Self::KeyExists => "key-exists",
            Self::OtherAccount => "other-account",
            Self::LastTry => "last-try",
            Self::Config => "config",
            Self::Damaged => "damaged",
            Self::NoInput => "no-input",
            Self::Unavailable => "unavailable",
            Self::CantCreate => "cannot-create",
            Self::TokenRefused => "token-refused",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failed command: message, remedy and exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub exit: Exit,
    pub message: String,
    /// What to do next.
    pub remedy: Option<String>,
    /// The last lines of a program's log.
    pub log: Option<String>,
    /// Further fields for `--json`.
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: None, log: None, details: serde_json::Map::new() }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn log(mut self, log: String) -> Self {
        self.log = Some(log);
        self
    }

    pub(crate) fn detail(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Failure>;
