//! CPU, memory and disk of the fleet's processes, read from /proc, so that the measured programs need no support for it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use procfs::process::{ClearRefs, Process, Stat, all_processes};

fn stat(pid: u32) -> Option<Stat> {
    Process::new(i32::try_from(pid).ok()?).and_then(|p| p.stat()).ok()
}

/// CPU that a process has used so far: user and system, all its threads, waited-for children not among them.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    let stat = stat(pid)?;
    let ticks = stat.utime.saturating_add(stat.stime);
    Some(Duration::from_millis(ticks.saturating_mul(1000).checked_div(procfs::ticks_per_second())?))
}

/// A process and all that descend from it (Postgres is many).
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let all = all_processes().into_iter().flatten().flatten().filter_map(|p| p.stat().ok());
    let parents: Vec<(u32, u32)> =
        all.filter_map(|s| Some((u32::try_from(s.pid).ok()?, u32::try_from(s.ppid).ok()?))).collect();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at).copied() {
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(c, _)| *c));
        at += 1;
    }
    family
}

/// CPU of several processes together.
pub(crate) fn cpu_all(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|pid| cpu(*pid)).sum()
}

/// Private memory in use, in bytes: what mapped files hold is not the process's.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    let status = Process::new(i32::try_from(pid).ok()?).and_then(|p| p.status()).ok()?;
    status.rssanon.map(|kib| kib * 1024)
}

/// This process's highest resident memory since [`forget_peak`], in bytes.
pub(crate) fn peak() -> Option<u64> {
    Process::myself().and_then(|p| p.status()).ok()?.vmhwm.map(|kib| kib * 1024)
}

/// Lets the peak begin anew at what is resident now.
pub(crate) fn forget_peak() {
    // Where the kernel refuses, the peak stays the highest ever: a growth is then understated, and the row's difference shows as 0.
    let _ = Process::myself().and_then(|p| p.clear_refs(ClearRefs::PeakRSS));
}

/// Bytes on disk below a folder, as blocks in use.
pub(crate) fn disk(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if meta.is_file() {
                bytes += meta.blocks() * 512;
            }
        }
    }
    bytes
}

/// Type of the file system that holds a folder.
pub(crate) fn file_system(folder: &Path) -> String {
    let at = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mounts = Process::myself().and_then(|p| p.mountinfo()).into_iter().flatten();
    let above = mounts.filter(|m| at.starts_with(&m.mount_point));
    // The last mount at a place hides the earlier ones.
    above.max_by_key(|m| m.mount_point.as_os_str().len()).map_or("unknown".to_owned(), |m| m.fs_type)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_may_be_called_anything() {
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join("a) b) R");
        std::os::unix::fs::symlink("/bin/sh", &shell).unwrap();
        let mut child = std::process::Command::new(shell)
            .args(["-c", "read line"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        assert!(cpu(child.id()).is_some() && memory(child.id()).is_some());
        assert!(family(std::process::id()).contains(&child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(cpu(child.id()), None);
    }

    #[test]
    fn this_process_is_seen() {
        let me = std::process::id();
        assert!(cpu(me).is_some() && memory(me).unwrap() > 0 && peak().unwrap() > 0);
        assert_eq!(family(me).first(), Some(&me));
    }

    #[test]
    fn disk_counts_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("in/file"), vec![1; 20_000]).unwrap();
        fs::File::open(dir.path().join("in/file")).unwrap().sync_all().unwrap();
        assert!(disk(dir.path()) >= 20_000);
    }
}
