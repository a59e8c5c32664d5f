//! CPU, memory and disk of the fleet's processes, read from /proc, so that the measured programs need no support for it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// CPU time that a process has used so far: user and system, of all its threads, without its children.
pub(crate) fn cpu(pid: u32) -> Option<Duration> {
    cpu_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, rustix::param::clock_ticks_per_second())
}

fn fields(stat: &str) -> Option<std::str::SplitWhitespace<'_>> {
    // The process name may contain spaces and brackets, so the fields are counted from the last bracket.
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace())
}

fn cpu_of(stat: &str, per_second: u64) -> Option<Duration> {
    let mut rest = fields(stat)?.skip(11);
    let user: u64 = rest.next()?.parse().ok()?;
    let system: u64 = rest.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system).saturating_mul(1000).checked_div(per_second)?))
}

/// A process and all its descendants. Postgres consists of many.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter_map(|child: u32| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            Some((child, fields(&stat)?.nth(1)?.parse().ok()?))
        })
        .collect();
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

/// One line of /proc/PID/status, in bytes.
fn status(pid: &str, line: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Private memory in use, without mapped files.
pub(crate) fn memory(pid: u32) -> Option<u64> {
    status(&pid.to_string(), "RssAnon")
}

/// This process's highest resident memory since [`forget_peak`].
pub(crate) fn peak() -> Option<u64> {
    status("self", "VmHWM")
}

/// Resets the peak to the memory that is resident now.
pub(crate) fn forget_peak() {
    // If the kernel refuses, the peak stays the highest ever. The growth is then understated and may be reported as 0.
    let _ = fs::write("/proc/self/clear_refs", "5");
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
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let at = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let mut best = (0, "unknown");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        if let (Some(point), Some(kind)) = (words.next(), words.next())
            && at.starts_with(point)
            && point.len() >= best.0
        {
            best = (point.len(), kind);
        }
    }
    best.1.to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_name_with_brackets_is_parsed() {
        let stat = "12 (a) b) R 1 12 12 0 -1 4 9 0 0 0 150 50 7 7 20 0 1 0 5 6 7";
        assert_eq!(cpu_of(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(cpu_of("nonsense", 100), None);
        assert_eq!(cpu_of(stat, 0), None);
    }

    #[test]
    fn this_process_has_cpu_time_and_memory() {
        let me = std::process::id();
        assert!(cpu(me).is_some() && memory(me).unwrap() > 0 && peak().unwrap() > 0);
        assert_eq!(family(me).first(), Some(&me));
    }

    #[test]
    fn disk_counts_the_files_below_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::write(dir.path().join("in/file"), vec![1; 20_000]).unwrap();
        fs::File::open(dir.path().join("in/file")).unwrap().sync_all().unwrap();
        assert!(disk(dir.path()) >= 20_000);
    }
}
