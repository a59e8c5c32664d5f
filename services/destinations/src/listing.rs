//! Lists in pages: of S3 a thousand names from a prefix on, of WebDAV some folders at once.

use bkv_backups::destination::{Fault, Listed};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use opendal_core::options::ListOptions;
use opendal_core::{Entry, Lister};

use crate::cloud::{Inner, Kind, PART, meta};

/// Names in one answer of S3, and what is asked of it at once.
const PAGE: usize = 1000;
/// Deepest folder that a list follows. Objects lie three folders deep.
const DEPTH: usize = 4;
/// Folders that are asked for at the same time.
const AT_ONCE: usize = 8;
/// A server that lists more does not tell the truth.
const MOST: usize = 10_000_000;
/// The same of one folder.
const MOST_HERE: usize = 100_000;

/// What to ask for.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// Objects below a folder whose names come after this one.
    After(String, Option<String>),
    /// Entries of these folders, with their depths.
    Folders(Vec<(String, usize)>),
}

/// What came.
#[derive(Debug)]
pub(crate) enum Page {
    /// The name to go on after, if there are more, and the objects.
    Names(Option<String>, Vec<Listed>),
    /// Objects, and folders with their depths.
    Entries(Vec<Listed>, Vec<(String, usize)>),
}

/// Where a list is.
#[derive(Debug)]
pub(crate) struct Pages {
    open: Vec<Request>,
    after: Option<String>,
    listed: usize,
}

impl Pages {
    pub(crate) fn new(kind: Kind, folder: String) -> Self {
        let first = match kind {
            Kind::Amazon | Kind::S3 => Request::After(folder, None),
            Kind::WebDav => Request::Folders(vec![(folder, 0)]),
        };
        Self { open: vec![first], after: None, listed: 0 }
    }

    pub(crate) fn next(&mut self) -> Option<Request> {
        let mut request = self.open.pop()?;
        if let Request::Folders(folders) = &mut request
            && folders.len() > AT_ONCE
        {
            let rest = folders.split_off(AT_ONCE);
            self.open.push(Request::Folders(rest));
        }
        if let Request::After(folder, _) = &request {
            self.open.push(Request::After(folder.clone(), None));
        }
        Some(request)
    }

    /// Notes what is to be asked next, and returns the objects.
    pub(crate) fn take(&mut self, page: Page, place: &str) -> Result<Vec<Listed>, Fault> {
        let names = match page {
            Page::Names(next, names) => {
                let Some(Request::After(folder, _)) = self.open.pop() else { return Ok(names) };
                if next.is_some() && next <= self.after {
                    return Err(unsound(place, "its pages do not follow each other"));
                }
                if next.is_some() {
                    self.open.push(Request::After(folder, next.clone()));
                }
                self.after = next;
                names
            }
            Page::Entries(names, folders) => {
                if !folders.is_empty() {
                    self.open.push(Request::Folders(folders));
                }
                names
            }
        };
        self.listed += names.len();
        if self.listed > MOST {
            return Err(unsound(place, "it lists more objects than any backup has"));
        }
        Ok(names)
    }
}

/// One page.
pub(crate) async fn page(inner: &Inner, request: Request) -> Result<Page, Fault> {
    match request {
        Request::After(folder, after) => names(inner, &folder, after).await,
        Request::Folders(folders) => entries(inner, folders).await,
    }
}

async fn names(inner: &Inner, folder: &str, after: Option<String>) -> Result<Page, Fault> {
    let below = format!("{folder}/");
    let options =
        ListOptions { limit: Some(PAGE), start_after: after, recursive: true, ..ListOptions::default() };
    let found = inner.call(async {
        let lister = inner.operator().lister_options(&below, options).await?;
        // OpenDAL asks for the next page when this one is used up.
        lister.take(PAGE).try_collect::<Vec<Entry>>().await
    });
    let found = known(inner, found.await.0)?;
    // Also of what is no object, or a list of such things would end here.
    let next = found.last().filter(|_| found.len() == PAGE).map(|entry| entry.path().to_owned());
    let is_object = |entry: &Entry| entry.metadata().is_file() && entry.path().starts_with(&below);
    let names = found.into_iter().filter(is_object).map(listed).collect();
    Ok(Page::Names(next, names))
}

/// A server that does not tell the truth, or is none.
fn unsound(place: &str, what: &str) -> Fault {
    Fault::Other(format!(
        "{place} gave a list that can't be used ({what}); check that it is the right server"
    ))
}

/// A bucket without such names has an empty list, so a page that is not found is no answer of an S3 server.
fn known<T>(inner: &Inner, found: Result<T, Fault>) -> Result<T, Fault> {
    match found {
        Err(Fault::NotFound) if inner.is_s3() => Err(unsound(inner.place(), "404")),
        found => found,
    }
}

fn listed(entry: Entry) -> Listed {
    let (name, found) = entry.into_parts();
    Listed { meta: meta(&found), name }
}

async fn entries(inner: &Inner, folders: Vec<(String, usize)>) -> Result<Page, Fault> {
    let asked = stream::iter(folders).map(|(folder, depth)| async move {
        let below = format!("{folder}/");
        let found = children(inner, &below).await?;
        // Its parent has just listed it.
        if found.is_none() && depth > 0 {
            return Err(Fault::Unavailable(format!("{}: {folder} came and went", inner.place())));
        }
        Ok((found.unwrap_or_default(), below, depth))
    });
    let mut answers = asked.buffer_unordered(AT_ONCE);
    let (mut objects, mut deeper) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.next().await {
        let (found, below, depth) = answer?;
        for entry in found {
            let part = child(&entry, &below).unwrap_or_default();
            if entry.metadata().is_file() && !part.contains(PART) {
                objects.push(listed(entry));
            } else if entry.metadata().is_dir() && depth < DEPTH {
                deeper.push((format!("{below}{part}"), depth + 1));
            }
        }
    }
    Ok(Page::Entries(objects, deeper))
}

/// The name of an entry that lies directly in a folder.
fn child<'a>(entry: &'a Entry, below: &str) -> Option<&'a str> {
    let part = entry.path().strip_prefix(below)?.trim_end_matches('/');
    (!part.is_empty() && !part.contains('/')).then_some(part)
}

/// Everything directly below a folder, which ends with a slash or is empty. None if there is no such folder.
async fn children(inner: &Inner, folder: &str) -> Result<Option<Vec<Entry>>, Fault> {
    let path = if folder.is_empty() { "/" } else { folder };
    let found = inner.call(async {
        let lister: Lister = inner.operator().lister_options(path, ListOptions::default()).await?;
        lister.take(MOST_HERE + 1).try_collect::<Vec<Entry>>().await
    });
    let (found, answer) = found.await;
    let found = match known(inner, found) {
        Err(Fault::NotFound) => return Ok(None),
        found => found?,
    };
    if answer.status == 404 {
        return Ok(None);
    }
    if found.len() > MOST_HERE {
        return Err(unsound(inner.place(), "a folder has more entries than any of a backup"));
    }
    let (own, found): (Vec<Entry>, Vec<Entry>) = found.into_iter().partition(|entry| entry.path() == path);
    // A WebDAV server lists the folder itself too.
    if own.is_empty() && !inner.is_s3() {
        return Err(unsound(inner.place(), "the folder itself is not in it"));
    }
    if found.iter().any(|entry| child(entry, folder).is_none()) {
        return Err(unsound(inner.place(), "something in it lies elsewhere"));
    }
    Ok(Some(found))
}

/// Names of the folders directly below a folder.
pub(crate) async fn folders(inner: &Inner, folder: &str) -> Result<Vec<String>, Fault> {
    let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let found = children(inner, &below).await?.unwrap_or_default();
    let is_folder = |entry: &&Entry| entry.metadata().is_dir();
    let mut names: Vec<String> =
        found.iter().filter(is_folder).filter_map(|entry| child(entry, &below)).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Asks for one entry of the root.
pub(crate) async fn exists(inner: &Inner) -> Result<bool, Fault> {
    let options = ListOptions { limit: Some(1), ..ListOptions::default() };
    let asked = inner.call(async {
        let mut lister = inner.operator().lister_options("/", options).await?;
        lister.try_next().await
    });
    let (found, answer) = asked.await;
    match known(inner, found) {
        Ok(_) => Ok(answer.status != 404),
        Err(Fault::NotFound) => Ok(false),
        Err(fault) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_after_the_last_name_and_only_forward() {
        let mut pages = Pages::new(Kind::S3, "f".into());
        for (next, want) in [(Some("f/b"), true), (Some("f/c"), true), (Some("f/c"), false)] {
            assert!(pages.next().is_some());
            // Nothing in the page is an object, and there may be some behind it.
            let taken = pages.take(Page::Names(next.map(str::to_owned), Vec::new()), "s3://b");
            assert_eq!(taken.is_ok(), want, "{next:?}");
        }
        let mut pages = Pages::new(Kind::S3, "f".into());
        assert!(matches!(pages.next(), Some(Request::After(_, None))));
        pages.take(Page::Names(Some("f/b".into()), Vec::new()), "s3://b").unwrap();
        assert!(matches!(pages.next(), Some(Request::After(_, Some(after))) if after == "f/b"));
        pages.take(Page::Names(None, Vec::new()), "s3://b").unwrap();
        assert!(pages.next().is_none());
    }
}
