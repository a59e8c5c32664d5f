//! S54 from end to end: the library of backups on a real folder, with V at real vaults whose clocks pass the grace time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bkv_backups::backup::{Options as BackupOptions, Source, backup};
use bkv_backups::destination::LocalFolder;
use bkv_backups::format::{Id, Tag};
use bkv_backups::prune::{condemn, sweep};
use bkv_backups::restore::{Options as RestoreOptions, restore};
use bkv_backups::{
    Access, Expected, Named, Naming, Outside, Reading, Secret, SetLedger, StateFile, Vault, VaultFault,
    Which, Writer, history, open,
};
use bkv_client::{
    BackupKey, Client, Clock, Fleet, GRACE_MS, Hash, LedgerFault, LedgerName, OsRandom, RecoverOptions,
    Runtime, Secret32, SetLedger as Change, Time, TokioClock, VolatileMemory, WriterId, Zeroizing,
};
use bkv_simulation::{Options, RIGHT, Simulation, documents, eventually};
use bkv_stream::{Cancel, Control};
use bkv_tokens::dev::DevClaims;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

const ANNA: &str = "anna";
/// A little more than the grace time, so that it is over by every clock.
const LATER_MS: i64 = GRACE_MS.cast_signed() + 60_000;

/// A clock that a test sets ahead.
#[derive(Clone, Default)]
struct DeviceClock(Arc<AtomicI64>, Arc<TokioClock>);

#[async_trait::async_trait]
impl Clock for DeviceClock {
    fn now(&self) -> Time {
        Time(self.1.now().0.saturating_add_signed(self.0.load(Ordering::SeqCst)))
    }
    fn elapsed(&self) -> Duration {
        self.1.elapsed()
    }
    async fn sleep(&self, time: Duration) {
        self.1.sleep(time).await;
    }
}

impl bkv_backups::Clock for DeviceClock {
    fn now_ms(&self) -> i64 {
        self.now().0.cast_signed()
    }
}

/// The account's vaults as the library uses them, from a thread that may block.
struct AtVaults {
    client: Client,
    key: BackupKey,
    runtime: Handle,
}

fn fault(fault: LedgerFault) -> VaultFault {
    match fault {
        LedgerFault::Refused { named } => VaultFault::Refused { named: named.map(name) },
        LedgerFault::KeyGone(e) => VaultFault::KeyGone(e.to_string()),
        LedgerFault::NotNow { until } => VaultFault::NotNow(until.0.to_string()),
        other => VaultFault::Unreachable(other.to_string()),
    }
}

fn name(ledger: LedgerName) -> Named {
    Named { counter: ledger.counter, hash: ledger.hash.0 }
}

impl Vault for AtVaults {
    fn named(&self, writer: &Id) -> Result<Option<Named>, VaultFault> {
        let asked = self.runtime.block_on(self.client.named(&WriterId(*writer)));
        Ok(asked.map_err(fault)?.map(name))
    }

    fn set(&self, change: &SetLedger) -> Result<(), VaultFault> {
        let change = Change {
            writer: WriterId(change.writer),
            expected: change.expected.map(Hash),
            ledger: LedgerName { counter: change.new.counter, hash: Hash(change.new.hash) },
            v: change.v.as_ref().map(|v| Secret32::new(*v.as_bytes())),
        };
        self.runtime.block_on(self.client.set_ledger(&self.key, &change)).map(drop).map_err(fault)
    }
}

/// A person's device, with a token that is valid by its clock.
fn client(sim: &Simulation, clock: &DeviceClock) -> Client {
    let now = clock.now().0 / 1000 - 7200;
    let claims = DevClaims {
        subject: ANNA,
        audience: documents::VAULT_AUDIENCE,
        now,
        lifetime: 14_400,
        enrolment: None,
    };
    let fleet = Arc::new(Fleet::new(documents::root().0, VolatileMemory::default()));
    let transport = sim.transport(ANNA);
    let runtime = Runtime { transport, clock: Arc::new(clock.clone()), random: Arc::new(OsRandom) };
    Client::new(fleet, runtime, Zeroizing::new(sim.issuer.sign(&claims)))
}

/// The device, its source and its drive.
struct Device {
    dir: PathBuf,
    drive: LocalFolder,
    /// By which a prune waits. The client has the vaults' time.
    clock: DeviceClock,
    vault: AtVaults,
    tag: Tag,
}

impl Device {
    fn writer(&self) -> Writer<'_> {
        let outside = Outside {
            destination: &self.drive,
            vault: &self.vault,
            clock: &self.clock,
            key: &self.vault.key,
            tag: self.tag,
        };
        Writer::open(outside, StateFile::lock(&self.dir.join("state"), false).unwrap(), true).unwrap()
    }

    fn back_up(&self, content: &str) {
        fs::write(self.dir.join("source/letter"), content).unwrap();
        let options = BackupOptions { label: "docs".into(), ..BackupOptions::default() };
        let cancel = Cancel::default();
        let control = Control { progress: &(), cancel: &cancel };
        let folders = [self.dir.join("source")];
        let report = backup(&mut self.writer(), Source::Folders(&folders), &options, control).unwrap();
        assert_eq!(report.naming, Naming::Named);
    }

    /// Lets generations 1 and 3 go for good.
    fn prune(&self) {
        let cancel = Cancel::default();
        let control = Control { progress: &(), cancel: &cancel };
        let mut writer = self.writer();
        let series = writer.ledger().series("docs").unwrap().id;
        condemn(&mut writer, &BTreeSet::from([(series, 1), (series, 3)]), control).unwrap();
        self.clock.0.store(LATER_MS, Ordering::SeqCst);
        let swept = sweep(&mut writer, true, control).unwrap();
        assert_eq!((swept.generations, swept.v_kept), (2, None));
    }
}

/// Adds what lies in `from` to `to`, as a drive that forgets nothing.
fn keep_all(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.unwrap().success());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Contents of all generations that a thief opens with the key, everything that the drive ever held, and this V. Each ledger is tried on its own, beside all objects.
fn opened(key: &BackupKey, tag: Tag, ever: &Path, writer: Id, v: &Secret) -> BTreeSet<String> {
    let mut contents = BTreeSet::new();
    let ledgers: Vec<_> =
        files(ever).into_iter().filter(|f| f.to_string_lossy().contains("/ledgers/")).collect();
    assert!(ledgers.len() >= 12, "the drive has lost ledgers");
    let work = tempfile::tempdir().unwrap();
    for (n, ledger) in ledgers.iter().enumerate() {
        let alone = work.path().join(format!("drive-{n}"));
        fs::create_dir(&alone).unwrap();
        keep_all(ever, &alone);
        for other in ledgers.iter().filter(|other| *other != ledger) {
            fs::remove_file(alone.join(other.strip_prefix(ever).unwrap())).unwrap();
        }
        let drive = LocalFolder::new(&alone);
        let access = Access { destination: &drive, key, tag };
        let expected = Expected { writer, named: None, v: Some(v.clone()), before: None };
        let Ok(Some(mut found)) = history(access, writer, Some(&expected), true) else { continue };
        // A condemned generation still has its seed.
        let condemned = std::mem::take(&mut found.ledger.condemned);
        found.ledger.kept.extend(condemned.into_iter().map(|condemned| condemned.kept));
        for kept in &found.ledger.kept {
            let choice = bkv_backups::Choice { history: &found, kept };
            let Ok(reading) = Reading::open(access, choice) else { continue };
            let out = work.path().join(format!("out-{n}-{}", kept.number));
            let cancel = Cancel::default();
            let control = Control { progress: &(), cancel: &cancel };
            if restore(&reading, &out, &RestoreOptions::default(), control).is_ok() {
                contents.insert(fs::read_to_string(out.join("letter")).unwrap());
            }
        }
    }
    contents
}

/// Whoever has the backup key, and everything that the drive held before and after the prune, opens the deleted generations with the V of then, and not with what the vaults
/// give once the grace time is over: neither by the owner's signature nor by the password.
pub(crate) async fn s54_deleted_generations_do_not_open_with_what_the_vaults_give_later(dir: PathBuf) {
    let sim = Simulation::up(dir, Options::default()).await;
    let key = sim.register(ANNA).await;
    let clock = DeviceClock::default();
    let home = tempfile::tempdir().unwrap();
    for folder in ["source", "drive", "ever"] {
        fs::create_dir(home.path().join(folder)).unwrap();
    }
    let (drive, ever) = (home.path().join("drive"), home.path().join("ever"));
    let at_home = client(&sim, &clock);
    let (account, lineage) = at_home.account().await.unwrap();
    let tag = Tag::new(&lineage.0, &account.0);
    let key = || BackupKey::from_bytes(key.as_bytes());
    let device = Device {
        dir: home.path().to_owned(),
        drive: LocalFolder::new(&drive),
        clock: DeviceClock::default(),
        vault: AtVaults { client: at_home.clone(), key: key(), runtime: Handle::current() },
        tag,
    };
    let (drive_then, ever_then) = (drive.clone(), ever.clone());
    let writer = spawn_blocking(move || {
        for content in ["one", "two", "three", "four"] {
            device.back_up(content);
        }
        keep_all(&drive_then, &ever_then);
        device.prune();
        keep_all(&drive_then, &ever_then);
        device.writer().state().writer
    });
    let writer = writer.await.unwrap();
    let secret = |v: &Secret32| Secret::from_bytes(*v.expose());
    let all = ["one", "two", "three", "four"].map(str::to_owned);
    let kept = ["two", "four"].map(str::to_owned);
    let steal = |v: Secret| {
        let (key, ever) = (key(), ever.clone());
        spawn_blocking(move || opened(&key, tag, &ever, writer, &v))
    };

    // For the grace time the vaults keep the V before, which the owner can take back. With it the attack works.
    let given = at_home.read_ledgers(&key()).await.unwrap().writers.remove(0);
    let before = given.before.unwrap();
    assert_eq!(steal(secret(&before.v)).await.unwrap(), BTreeSet::from(all));

    for machine in &sim.machines {
        machine.clock.offset(LATER_MS);
    }
    clock.0.store(LATER_MS, Ordering::SeqCst);
    sim.restart_all().await;
    sim.settle().await;
    let erased = || {
        let gone = |i| sim.account(i, ANNA).is_some_and(|a| a.writers.iter().all(|w| w.before.is_none()));
        (0..3).all(gone).then_some(())
    };
    eventually("the V before is erased in every row", erased).await;
    let later = client(&sim, &clock);
    let by_key = later.read_ledgers(&key()).await.unwrap().writers.remove(0);
    let by_password =
        later.recover(RIGHT, RecoverOptions::default()).await.unwrap().writers.unwrap().remove(0);
    assert_eq!(by_key, by_password);
    assert!(by_key.before.is_none() && by_key.v != Some(before.v));
    let v = secret(&by_key.v.unwrap());
    assert_eq!(steal(v.clone()).await.unwrap(), BTreeSet::from(kept));

    // The owner on a new device.
    let expected = Expected { writer, named: Some(name(by_key.ledger)), v: Some(v), before: None };
    let new_device = LocalFolder::new(&drive);
    let key = key();
    let access = Access { destination: &new_device, key: &key, tag };
    let library = open(access, &[expected], false).unwrap();
    assert!(library.unreadable.is_empty(), "{:?}", library.unreadable);
    assert!(library.choose(Some("docs"), Which::Number(4)).is_ok());
    assert!(library.choose(Some("docs"), Which::Number(3)).is_err());
    sim.down().await;
}
