//! A `main` for test binaries (`harness = false`) whose cases each need a process of their own: a PKCS#11 module reads its configuration once per
//! process. `cargo test` lists, filters and reports the cases by their names; the binary starts itself again for each case.
#![forbid(unsafe_code)]
// This crate is test support: a failed expectation is how it reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::any::Any;
use std::fs::{self, File};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// Names the case that a child process runs.
const CASE: &str = "BKV_TEST_CASE";

/// One test: its name and what its process does.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    name: &'static str,
    body: fn(),
}

impl Case {
    /// `body` panics if the test fails.
    pub const fn new(name: &'static str, body: fn()) -> Self {
        Self { name, body }
    }

    /// As `cargo test` shows it.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// The cases of a binary, from paths `module::test`. With `run;` before them, `run(test)` is each case's body.
#[macro_export]
macro_rules! cases {
    ($run:path; $($module:ident::$test:ident),* $(,)?) => {
        vec![$($crate::Case::new(concat!(stringify!($module), "::", stringify!($test)), || $run($module::$test))),*]
    };
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$($crate::Case::new(concat!(stringify!($module), "::", stringify!($test)), $module::$test)),*]
    };
}

/// What a binary's cases have in common.
pub struct Harness {
    /// Prepares one case in the parent: it adds environment variables to the child's command. The child runs as long as the returned value lives.
    pub prepare: Box<dyn Fn(&mut Command) -> Box<dyn Any> + Send + Sync>,
    /// A child that runs longer fails.
    pub deadline: Duration,
    /// Why no case can run here. They are then reported as ignored.
    pub skip: Option<String>,
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Harness(..)")
    }
}

impl Harness {
    /// The binary's `main`: runs the cases that the arguments select, or, in a child, the one case that its environment names.
    pub fn run(self, cases: Vec<Case>) -> ExitCode {
        if let Ok(name) = std::env::var(CASE) {
            let case = cases.iter().find(|c| c.name == name);
            (case.unwrap_or_else(|| panic!("no case is called {name}")).body)();
            return ExitCode::SUCCESS;
        }
        let arguments = Arguments::from_args();
        if let Some(why) = self.skip.as_ref().filter(|_| !arguments.list) {
            eprintln!("skipped: {why}");
        }
        let skip = self.skip.is_some();
        let harness = Arc::new(self);
        let trials = cases.into_iter().map(|case| {
            let harness = harness.clone();
            Trial::test(case.name, move || harness.judge(&case)).with_ignored_flag(skip)
        });
        libtest_mimic::run(&arguments, trials.collect()).exit_code()
    }

    fn judge(&self, case: &Case) -> Result<(), Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        let _prepared = (self.prepare)(&mut command);
        let output = tempfile::NamedTempFile::new()?;
        let file: File = output.reopen()?;
        command.env(CASE, case.name).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let status = wait(command.spawn()?, self.deadline)?;
        if status.is_some_and(|s| s.success()) {
            return Ok(());
        }
        let ended = status.map_or_else(|| format!("killed after {:?}", self.deadline), |s| s.to_string());
        Err(format!("{ended}\n{}", String::from_utf8_lossy(&fs::read(output.path())?)).into())
    }
}

/// The child's status; None if it had to be killed at the deadline.
fn wait(mut child: Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
