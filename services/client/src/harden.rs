//! Keeps this process's memory off the disk.

/// Turns core dumps off, and (on Linux) keeps other processes of the same user from reading this one's memory. Call it first in `main`, before
/// anything reads a password.
///
/// # Errors
/// The system's, if it refuses.
pub fn harden() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
