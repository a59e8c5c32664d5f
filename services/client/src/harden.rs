//! No copy of this process's memory on a disk.

/// Core dumps off, and other processes of the same user kept from reading this one's memory (Linux). Call it first thing in `main`, before a
/// password is read.
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
