//! Resolves a path inside a root, link by link. The kernel treats `/..` as `/`. This code refuses a link that leads above the root, because such a
//! link was not made for this image.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

/// The kernel's own limit (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// Folders that the kernel and the container runtime provide, not the image. A path through `/proc/self/fd` could lead anywhere.
const NOT_OF_THE_IMAGE: [&str; 3] = ["proc", "sys", "dev"];

/// A path that can't be resolved or must not be copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// The path, or the target of a link on it, does not exist.
    #[error("{} is not there", .path.display())]
    Missing {
        /// The path that does not exist.
        path: PathBuf,
    },
    /// Its metadata can't be read.
    #[error("{} can't be read", .path.display())]
    Unreadable {
        /// The path that can't be read.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The path leads through more than [`LINKS`] links, probably in a circle.
    #[error("{} leads through more than {LINKS} links", .path.display())]
    TooManyLinks {
        /// The path that was to be copied.
        path: PathBuf,
    },
    /// A link leads above the root.
    #[error("{} leads out of /", .path.display())]
    LeavesRoot {
        /// The path that was to be copied.
        path: PathBuf,
    },
    /// The path leads into /proc, /sys or /dev.
    #[error("{} leads to /{}, which is not the image's", .path.display(), .to.display())]
    NotOfTheImage {
        /// The path that was to be copied.
        path: PathBuf,
        /// The resolved path.
        to: PathBuf,
    },
}

/// Resolves `path`, absolute or not, below `root`. The result is relative to `root` and contains no link.
pub(crate) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, ResolveError> {
    let mut place = PathBuf::new();
    let mut ahead = steps(path);
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        if step == OsStr::new("..") {
            if !place.pop() {
                return Err(ResolveError::LeavesRoot { path: path.to_owned() });
            }
            continue;
        }
        place.push(&step);
        if place.components().next().is_some_and(|first| is_foreign(first.as_os_str())) {
            return Err(ResolveError::NotOfTheImage { path: path.to_owned(), to: place });
        }
        let metadata = root.join(&place).symlink_metadata().map_err(|source| unseen(&place, source))?;
        if !metadata.is_symlink() {
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(ResolveError::TooManyLinks { path: path.to_owned() });
        }
        let target = root.join(&place).read_link().map_err(|source| unseen(&place, source))?;
        place.pop();
        if target.is_absolute() {
            place.clear();
        }
        for step in steps(&target).into_iter().rev() {
            ahead.push_front(step);
        }
    }
    Ok(place)
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|c| matches!(c, Component::Normal(_) | Component::ParentDir))
        .map(|c| c.as_os_str().to_owned())
        .collect()
}

fn is_foreign(first: &OsStr) -> bool {
    NOT_OF_THE_IMAGE.iter().any(|name| first == OsStr::new(name))
}

fn unseen(place: &Path, source: io::Error) -> ResolveError {
    let path = Path::new("/").join(place);
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ResolveError::Missing { path },
        _ => ResolveError::Unreadable { path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn image() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("opt/hsm/lib")).unwrap();
        fs::write(root.path().join("opt/hsm/lib/module.so.1.2"), "code").unwrap();
        symlink("module.so.1.2", root.path().join("opt/hsm/lib/module.so")).unwrap();
        symlink("/opt/hsm/lib", root.path().join("lib")).unwrap();
        symlink("../hsm/lib/../lib/module.so", root.path().join("opt/hsm/round")).unwrap();
        root
    }

    fn place(root: &tempfile::TempDir, path: &str) -> Result<PathBuf, ResolveError> {
        resolve(root.path(), Path::new(path))
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let root = image();
        let module = PathBuf::from("opt/hsm/lib/module.so.1.2");
        for path in ["/opt/hsm/lib/module.so", "/lib/module.so", "lib/module.so.1.2", "/opt/hsm/round"] {
            assert_eq!(place(&root, path).unwrap(), module, "{path}");
        }
        assert_eq!(place(&root, "/").unwrap(), PathBuf::new());
    }

    #[test]
    fn a_link_above_the_root_is_refused_even_if_something_is_there() {
        let root = image();
        let inner = root.path().join("opt");
        fs::write(root.path().join("secret"), "of the host").unwrap();
        symlink("../secret", inner.join("up")).unwrap();
        symlink("/../../secret", inner.join("far")).unwrap();
        assert!(matches!(resolve(&inner, Path::new("/up")), Err(ResolveError::LeavesRoot { .. })));
        assert!(matches!(resolve(&inner, Path::new("/far")), Err(ResolveError::LeavesRoot { .. })));
    }

    #[test]
    fn an_absolute_link_stays_in_the_root() {
        let root = image();
        symlink("/etc/passwd", root.path().join("passwd")).unwrap();
        let Err(ResolveError::Missing { path }) = place(&root, "/passwd") else { panic!("followed") };
        assert_eq!(path, Path::new("/etc"));
    }

    #[test]
    fn circles_missing_things_and_kernel_files_are_named() {
        let root = image();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(matches!(place(&root, "/a"), Err(ResolveError::TooManyLinks { .. })));
        let missing = place(&root, "/lib/other.so").unwrap_err().to_string();
        assert_eq!(missing, "/opt/hsm/lib/other.so is not there");
        let under_a_file = place(&root, "/lib/module.so/x").unwrap_err();
        assert!(matches!(under_a_file, ResolveError::Missing { .. }), "{under_a_file}");
        symlink("/proc/self/environ", root.path().join("environ")).unwrap();
        assert!(matches!(place(&root, "/environ"), Err(ResolveError::NotOfTheImage { .. })));
        assert!(matches!(place(&root, "/dev"), Err(ResolveError::NotOfTheImage { .. })));
    }
}
