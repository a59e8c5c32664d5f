//! The environment of a test: a child process, a fresh token, its configuration.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bkv_hsm::{KeyName, Token, TokenConfig, TokenError, VaultName, softhsm};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

pub(crate) const LABEL: &str = "bkv-test";
/// As CloudHSM has it: user and password. The other modules take it as one string.
pub(crate) const PIN: &str = "vault:83-user-pin-of-a-test";
const SO_PIN: &str = "17-officer-pin-of-a-test";
const CHILD: &str = "BKV_HSM_TEST_CHILD";
const DIR: &str = "BKV_HSM_TEST_DIR";
const INIT: &str = "BKV_HSM_TEST_INIT";
const DEADLINE: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    SoftHsm,
    Kryoptic,
    /// SoftHSM behind the rules of Google's kmsp11 (tests/strict-pkcs11).
    Gcp,
    /// The same before kmsp11 1.3, which had no HMAC.
    OldGcp,
    /// SoftHSM behind the rules of AWS CloudHSM.
    Aws,
    /// The same before client 1.1.1, which refused CKA_DERIVE.
    OldAws,
}

impl Kind {
    /// The profile of the strict module.
    fn profile(self) -> Option<&'static str> {
        match self {
            Self::SoftHsm | Self::Kryoptic => None,
            Self::Gcp => Some("gcp"),
            Self::OldGcp => Some("old-gcp"),
            Self::Aws => Some("aws"),
            Self::OldAws => Some("old-aws"),
        }
    }

    pub(crate) fn is_cloud_kms(self) -> bool {
        matches!(self, Self::Gcp | Self::OldGcp)
    }
}

pub(crate) struct Stand {
    pub(crate) kind: Kind,
    pub(crate) dir: PathBuf,
    pub(crate) module: PathBuf,
    /// The folder with the token's objects. Moving it away makes the token vanish.
    pub(crate) storage: PathBuf,
}

impl Stand {
    pub(crate) fn config(&self) -> TokenConfig {
        let mut config = TokenConfig::new(self.module.clone(), LABEL.into(), self.dir.join("pin"));
        config.pool = 3;
        // With a short deadline a busy machine would look like a hung token.
        config.call_deadline_ms = 10_000;
        config
    }

    pub(crate) fn vault() -> VaultName {
        VaultName::new("test/one").unwrap()
    }

    /// The label of a key in this module.
    pub(crate) fn label(&self, key: KeyName) -> String {
        let label = key.label(&Self::vault());
        if self.kind.is_cloud_kms() { label.replace('/', "__") } else { label }
    }

    /// How often a test repeats an operation. A module with a quota would take minutes for as many as the others do.
    pub(crate) fn rounds<N: From<u8> + std::ops::Div<Output = N>>(&self, many: N) -> N {
        if self.kind.profile().is_some() { many / N::from(50) } else { many }
    }

    pub(crate) fn connect(&self) -> Result<Token, TokenError> {
        Token::connect(&self.config(), &Self::vault())
    }

    /// Connects with one session, so that no other thread is inside the module while a test uses `raw_session`.
    pub(crate) fn connect_one(&self) -> Token {
        let mut config = self.config();
        config.pool = 1;
        Token::connect(&config, &Self::vault()).unwrap()
    }

    /// A session of an attacker who has the PIN, without this crate. Needs a connected `Token`, which has initialised the module and logged in.
    pub(crate) fn raw_session(&self) -> Session {
        let context = Pkcs11::new(&self.module).unwrap();
        let slot = context
            .get_slots_with_token()
            .unwrap()
            .into_iter()
            .find(|slot| context.get_token_info(*slot).unwrap().label().trim_end() == LABEL)
            .unwrap();
        context.open_rw_session(slot).unwrap()
    }

    pub(crate) fn write_pin(&self, pin: &str) {
        let path = self.dir.join("pin");
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(path).unwrap();
        file.write_all(pin.as_bytes()).unwrap();
    }
}

/// Runs `body` on a fresh token in a child process. The parent waits for the child and checks its result.
pub(crate) fn run(kind: Kind, name: &str, body: fn(&Stand)) {
    if std::env::var(CHILD).as_deref() == Ok(name) {
        let dir = PathBuf::from(std::env::var(DIR).unwrap());
        let stand = stand(kind, dir);
        if kind == Kind::Kryoptic && !stand.storage.join("token.sql").exists() {
            init_kryoptic(&stand.module);
        }
        body(&stand);
        return;
    }
    let Some(module) = module(kind) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut command = test_process(name);
    command.env(CHILD, name).env(DIR, dir.path());
    match kind {
        Kind::SoftHsm | Kind::Gcp | Kind::OldGcp | Kind::Aws | Kind::OldAws => {
            let mut child = test_process("stand::init_child");
            child.env(INIT, "1");
            let made = softhsm::init_token_by(child, dir.path(), LABEL, PIN, SO_PIN).unwrap();
            command.env(softhsm::CONF_VARIABLE, made.conf);
            if let Some(profile) = kind.profile() {
                command.env(bkv_strict_pkcs11::PROFILE, profile);
                command.env(bkv_strict_pkcs11::NAMES, dir.path().join("names"));
            }
        }
        Kind::Kryoptic => {
            fs::create_dir(dir.path().join("tokens")).unwrap();
            let conf = dir.path().join("kryoptic.conf");
            let token = dir.path().join("tokens/token.sql");
            let text =
                format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", token.display());
            fs::write(&conf, text).unwrap();
            command.env("KRYOPTIC_CONF", conf).env("BKV_KRYOPTIC_SO", module);
        }
    }
    stand(kind, dir.path().to_owned()).write_pin(PIN);
    let output = dir.path().join("output");
    let file = fs::File::create(&output).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let printed = fs::read_to_string(&output).unwrap();
    let ran_one = printed.contains("1 passed");
    assert!(status.is_some_and(|s| s.success()) && ran_one, "{name}: {status:?}\n{printed}");
    print!("{printed}");
}

fn stand(kind: Kind, dir: PathBuf) -> Stand {
    let module = module(kind).unwrap();
    let storage = match kind {
        Kind::SoftHsm | Kind::Gcp | Kind::OldGcp | Kind::Aws | Kind::OldAws => {
            fs::read_dir(dir.join("tokens")).unwrap().map(|entry| entry.unwrap().path()).next().unwrap()
        }
        Kind::Kryoptic => dir.join("tokens"),
    };
    Stand { kind, dir, module, storage }
}

/// A command that runs one test of this test program.
pub(crate) fn test_process(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"]);
    command
}

/// A command that runs the same test in another process on the same token.
pub(crate) fn this_test_again() -> Command {
    test_process(&std::env::var(CHILD).unwrap())
}

/// Not a test: the process that makes SoftHSM's tokens.
#[test]
fn init_child() {
    if std::env::var_os(INIT).is_some() {
        let code = softhsm::run_child();
        assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::SUCCESS));
    }
}

/// The module's path, or None and a printed line that its tests are skipped.
fn module(kind: Kind) -> Option<PathBuf> {
    static KRYOPTIC: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let found = match kind {
        Kind::SoftHsm | Kind::Gcp | Kind::OldGcp | Kind::Aws | Kind::OldAws => {
            let path = PathBuf::from(softhsm::DEBIAN_MODULE);
            let wanted = kind.profile().map_or_else(|| path.clone(), |_| strict());
            if path.is_file() { Ok(wanted) } else { Err(Missing::SoftHsm) }
        }
        Kind::Kryoptic => KRYOPTIC.get_or_init(build_kryoptic).clone(),
    };
    found
        .map_err(|missing| {
            // Write to stderr itself: the test harness captures `eprintln!` of a test that passes.
            let _ = writeln!(std::io::stderr(), "\nskipped: a test on {kind:?} did not run: {missing}");
        })
        .ok()
}

/// The strict module. Cargo builds it beside this program, which depends on it.
fn strict() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libbkv_strict_pkcs11.so");
    assert!(path.is_file(), "no {}", path.display());
    path
}

/// Why a module is not there.
#[derive(Clone, Debug, thiserror::Error)]
enum Missing {
    #[error("apt-get install softhsm2")]
    SoftHsm,
    #[error("tests/kryoptic/build.sh cannot be run: {0}")]
    Script(Arc<std::io::Error>),
    #[error("tests/kryoptic/build.sh failed ({0}); its reason is above")]
    Build(ExitStatus),
}

impl From<std::io::Error> for Missing {
    fn from(error: std::io::Error) -> Self {
        Self::Script(Arc::new(error))
    }
}

fn build_kryoptic() -> Result<PathBuf, Missing> {
    if let Some(path) = std::env::var_os("BKV_KRYOPTIC_SO") {
        return Ok(path.into());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/kryoptic/build.sh");
    let built = Command::new(script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if built.status.success() {
        Ok(PathBuf::from(String::from_utf8_lossy(&built.stdout).trim()))
    } else {
        Err(Missing::Build(built.status))
    }
}

/// Makes a Kryoptic token. Kryoptic keeps all state in its file, so this process may do it without a child.
fn init_kryoptic(module: &Path) {
    let context = Pkcs11::new(module).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let (so_pin, pin) = (AuthPin::new(SO_PIN.into()), AuthPin::new(PIN.into()));
    let slot = *context.get_slots_with_token().unwrap().first().unwrap();
    context.init_token(slot, &so_pin, LABEL).unwrap();
    let session = context.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&so_pin)).unwrap();
    session.init_pin(&pin).unwrap();
    session.logout().unwrap();
    session.close().unwrap();
    context.finalize().unwrap();
}
