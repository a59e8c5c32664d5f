//! Lists in pages: of S3 a thousand names from a prefix on, of WebDAV some folders at once.

use bkv_backups::destination::{Fault, Listed};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use opendal_core::options::ListOptions;
use opendal_core::{Entry, Lister};

use crate::cloud::{Inner, Kind, meta};

/// Names in one answer of S3, and what is asked of it at once.
const PAGE: usize = 1000;
/// Deepest folder that a list follows. Objects lie three folders deep.
const DEPTH: usize = 4;
/// Folders that are asked for at the same time.
const AT_ONCE: usize = 8;
/// A server that lists more does not tell the truth.
const MOST: usize = 10_000_000;

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
    /// Whether there are more, and the objects.
    Names(bool, Vec<Listed>),
    /// Objects, and folders with their depths.
    Entries(Vec<Listed>, Vec<(String, usize)>),
}

/// Where a list is.
#[derive(Debug)]
pub(crate) struct Pages {
    open: Vec<Request>,
    listed: usize,
}

impl Pages {
    pub(crate) fn new(kind: Kind, folder: String) -> Self {
        let first = match kind {
            Kind::Amazon | Kind::S3 => Request::After(folder, None),
            Kind::WebDav => Request::Folders(vec![(folder, 0)]),
        };
        Self { open: vec![first], listed: 0 }
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
            Page::Names(more, names) => {
                if let (Some(Request::After(folder, _)), true, Some(last)) =
                    (self.open.pop(), more, names.last())
                {
                    self.open.push(Request::After(folder, Some(last.name.clone())));
                }
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
            return Err(Fault::Other(format!(
                "{place} lists more than {MOST} objects; check that it is the right server"
            )));
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
    let found = found.await.0?;
    let more = found.len() == PAGE;
    let is_object = |entry: &Entry| entry.metadata().is_file() && entry.path().starts_with(&below);
    let names = found.into_iter().filter(is_object).map(listed).collect();
    Ok(Page::Names(more, names))
}

fn listed(entry: Entry) -> Listed {
    let (name, found) = entry.into_parts();
    Listed { meta: meta(&found), name }
}

async fn entries(inner: &Inner, folders: Vec<(String, usize)>) -> Result<Page, Fault> {
    let asked = stream::iter(folders).map(|(folder, depth)| async move {
        let below = format!("{folder}/");
        Ok::<_, Fault>((children(inner, &below).await?, below, depth))
    });
    let mut answers = asked.buffer_unordered(AT_ONCE);
    let (mut objects, mut deeper) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.next().await {
        let (found, below, depth) = answer?;
        for entry in found {
            let part = entry.path().strip_prefix(&below).unwrap_or_default().trim_end_matches('/');
            // The folder itself is listed too. Nothing else is below a child here.
            if part.is_empty() || part.contains('/') {
                continue;
            }
            if entry.metadata().is_file() {
                objects.push(listed(entry));
            } else if depth < DEPTH {
                deeper.push((format!("{below}{part}"), depth + 1));
            }
        }
    }
    Ok(Page::Entries(objects, deeper))
}

/// Everything directly below a folder, which ends with a slash or is empty.
async fn children(inner: &Inner, folder: &str) -> Result<Vec<Entry>, Fault> {
    let path = if folder.is_empty() { "/" } else { folder };
    let found = inner.call(async {
        let lister: Lister = inner.operator().lister_options(path, ListOptions::default()).await?;
        lister.take(MOST).try_collect::<Vec<Entry>>().await
    });
    match found.await.0 {
        Err(Fault::NotFound) => Ok(Vec::new()),
        found => found,
    }
}

/// Names of the folders directly below a folder.
pub(crate) async fn folders(inner: &Inner, folder: &str) -> Result<Vec<String>, Fault> {
    let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut names: Vec<String> = Vec::new();
    for entry in children(inner, &below).await? {
        let part = entry.path().strip_prefix(&below).unwrap_or_default().trim_end_matches('/');
        if entry.metadata().is_dir() && !part.is_empty() && !part.contains('/') {
            names.push(part.to_owned());
        }
    }
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
    match asked.await {
        (Ok(_), answer) => Ok(answer.status != 404),
        (Err(Fault::NotFound), _) => Ok(false),
        (Err(fault), _) => Err(fault),
    }
}
