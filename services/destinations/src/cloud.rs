//! A server as a destination.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bkv_backups::Destination;
use bkv_backups::destination::{Fault, Listed, Meta};
use bytes::Bytes;
use opendal_core::options::{ReadOptions, WriteOptions};
use opendal_core::{Metadata, Operator};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::answer::{Answer, limited};
use crate::bridge::{Bridge, Stop};
use crate::fault::fault;
use crate::listing;

/// Pauses between the tries of a call: about 20 to 40 seconds in all.
const TRIES: usize = 6;
/// The first call of a command has fewer: its address may be wrong.
const FIRST_TRIES: usize = 2;

/// No try begins after this time: a server that accepts and says nothing takes a minute each time.
const LAST_TRY: Duration = Duration::from_mins(3);
/// In the name of an object that is not whole yet.
pub(crate) const PART: &str = ".part-";

/// What kind of server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An S3 server that is known to refuse a second object of a name.
    Amazon,
    /// An S3 server that may ignore or not know the condition, so it is asked first.
    S3,
    /// A WebDAV server: it has folders, and it may keep a part of an upload that broke off.
    WebDav,
}

/// Objects on an S3 or WebDAV server. Calls repeat what may pass, within bounds.
pub struct Cloud {
    bridge: Bridge,
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    operator: Operator,
    place: String,
    kind: Kind,
    /// Folders that are known to exist.
    made: Mutex<HashSet<String>>,
    /// The server does not know the condition of a write.
    unconditional: AtomicBool,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloud").field("place", &self.inner.place).finish_non_exhaustive()
    }
}

impl Cloud {
    pub(crate) fn new(operator: Operator, place: String, kind: Kind, stop: Stop) -> std::io::Result<Self> {
        let inner =
            Inner { operator, place, kind, made: Mutex::default(), unconditional: AtomicBool::new(false) };
        Ok(Self { bridge: Bridge::new(stop)?, inner: Arc::new(inner) })
    }

    /// The address and, if it is not the service's own, the server. It is the same for the same place in each run.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// Asks the server once, so that wrong credentials or a missing bucket are found before anything else is done. False if a WebDAV folder does not exist yet: a write
    /// makes it.
    pub fn exists(&self) -> Result<bool, Fault> {
        let inner = Arc::clone(&self.inner);
        self.bridge.run(async move { patiently(FIRST_TRIES, |_| listing::exists(&inner)).await })
    }

    fn run<T, F>(&self, call: impl Fn(Arc<Inner>, bool) -> F + Send + Sync + 'static) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        self.bridge.run(async move { patiently(TRIES, |again| call(Arc::clone(&inner), again)).await })
    }
}

/// Repeats a call while the server does not answer. `again` is true from the second try on.
async fn patiently<T, F: Future<Output = Result<T, Fault>>>(
    tries: usize,
    mut call: impl FnMut(bool) -> F,
) -> Result<T, Fault> {
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(Duration::from_secs(8))
        .with_max_times(tries)
        .with_jitter()
        .build();
    let begun = Instant::now();
    let mut again = false;
    loop {
        let fault = match call(again).await {
            Err(fault @ Fault::Unavailable(_)) => fault,
            done => return done,
        };
        let Some(pause) = pauses.next().filter(|_| begun.elapsed() < LAST_TRY) else { return Err(fault) };
        tokio::time::sleep(pause).await;
        again = true;
    }
}

impl Inner {
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn is_s3(&self) -> bool {
        self.kind != Kind::WebDav
    }

    pub(crate) fn operator(&self) -> &Operator {
        &self.operator
    }

    /// One operation, with what the server answered last.
    pub(crate) async fn call<T>(
        &self,
        work: impl Future<Output = opendal_core::Result<T>>,
    ) -> (Result<T, Fault>, Answer) {
        let (done, answer) = Answer::noted(work).await;
        (done.map_err(|error| fault(&self.place, self.kind != Kind::WebDav, &error, &answer)), answer)
    }

    async fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault> {
        match self.call(self.operator.stat(name)).await.0 {
            Ok(found) if found.is_file() => Ok(vec![meta(&found)]),
            Ok(_) | Err(Fault::NotFound) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let most = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let options = ReadOptions { range: (range.start..).into(), ..ReadOptions::default() };
        let read = limited(most, self.operator.read_options(name, options));
        let (read, answer) = self.call(read).await;
        // The object ends before the range begins.
        if answer.status == 416 {
            return Ok(Vec::new());
        }
        Ok(read?.to_vec())
    }

    /// A name that is taken. It is no failure if a try before has written it and its answer was lost.
    async fn taken(&self, name: &str, bytes: &Bytes, again: bool) -> Result<(), Fault> {
        let same = again && self.read(name, 0..bytes.len() as u64 + 1).await? == *bytes;
        if same { Ok(()) } else { Err(Fault::Exists) }
    }

    async fn put(&self, name: &str, bytes: Bytes, again: bool) -> Result<(), Fault> {
        let conditional = !self.unconditional.load(Ordering::Relaxed);
        if (self.kind != Kind::Amazon || !conditional) && !self.stat(name).await?.is_empty() {
            return self.taken(name, &bytes, again).await;
        }
        let options = WriteOptions { if_not_exists: conditional, ..WriteOptions::default() };
        let (written, answer) = self.call(self.operator.write_options(name, bytes.clone(), options)).await;
        match written {
            Err(Fault::Exists) => self.taken(name, &bytes, again).await,
            Err(_) if answer.status == 501 && conditional => {
                self.unconditional.store(true, Ordering::Relaxed);
                Err(Fault::Unavailable(format!("{} does not know If-None-Match", self.place)))
            }
            written => written.map(drop),
        }
    }

    /// Servers may keep a part of an upload that broke off. So the object is written under another name, and gets its own when it is whole and the name is free.
    async fn put_aside(&self, name: &str, part: &str, bytes: Bytes, again: bool) -> Result<(), Fault> {
        if !self.stat(name).await?.is_empty() {
            return self.taken(name, &bytes, again).await;
        }
        self.make_folder(name).await?;
        let (written, answer) = self.call(self.operator.write(part, bytes.clone())).await;
        // Another program has removed the folder.
        if written.is_err() && !again && matches!(answer.status, 404 | 409) {
            self.made.lock().await.clear();
            return Err(Fault::Unavailable(format!("{}: the folder of {name} is gone", self.place)));
        }
        written?;
        let (named, answer) = self.call(self.operator.rename(part, name)).await;
        if answer.status == 412 || named == Err(Fault::Exists) {
            // A part that can't be deleted takes room, and nothing reads it.
            let _ = self.call(self.operator.delete(part)).await;
            return self.taken(name, &bytes, again).await;
        }
        named
    }

    async fn make_folder(&self, name: &str) -> Result<(), Fault> {
        let Some((folder, _)) = name.rsplit_once('/') else { return Ok(()) };
        // One at a time: Apache refuses the second of two that make the same folder at once.
        let mut made = self.made.lock().await;
        if made.contains(folder) {
            return Ok(());
        }
        let path = format!("{folder}/");
        if let Err(fault) = self.call(self.operator.create_dir(&path)).await.0 {
            // Another program may have made it meanwhile.
            let found = self.call(self.operator.stat(&path)).await.0;
            if !found.is_ok_and(|found| found.is_dir()) {
                return Err(fault);
            }
        }
        made.insert(folder.to_owned());
        Ok(())
    }
}

pub(crate) fn meta(found: &Metadata) -> Meta {
    let modified_ms = found.last_modified().map(|time| time.into_inner().as_millisecond());
    Meta { length: found.content_length(), modified_ms }
}

/// A name that no server reads as another one.
fn sound(name: &str) -> Result<String, Fault> {
    let part = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if name.split('/').all(part) {
        Ok(name.to_owned())
    } else {
        Err(Fault::Other(format!("'{}' is no name of an object", name.escape_debug())))
    }
}

impl Destination for Cloud {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let (name, bytes) = (sound(name)?, Bytes::copy_from_slice(bytes));
        let part = format!("{name}{PART}{:016x}", RandomState::new().build_hasher().finish());
        self.run(move |inner, again| {
            let (name, part, bytes) = (name.clone(), part.clone(), bytes.clone());
            async move {
                match inner.kind {
                    Kind::WebDav => inner.put_aside(&name, &part, bytes, again).await,
                    Kind::Amazon | Kind::S3 => inner.put(&name, bytes, again).await,
                }
            }
        })
    }

    fn read(&self, name: &str, copy: usize, range: Range<u64>) -> Result<Vec<u8>, Fault> {
        if copy > 0 {
            return Err(Fault::NotFound);
        }
        let name = sound(name)?;
        self.run(move |inner, _| {
            let (name, range) = (name.clone(), range.clone());
            async move { inner.read(&name, range).await }
        })
    }

    fn stat(&self, name: &str) -> Result<Vec<Meta>, Fault> {
        let name = sound(name)?;
        self.run(move |inner, _| {
            let name = name.clone();
            async move { inner.stat(&name).await }
        })
    }

    fn list(&self, folder: &str, each: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Fault> {
        let mut pages = listing::Pages::new(self.inner.kind, sound(folder)?);
        while let Some(request) = pages.next() {
            let page = self.run(move |inner, _| {
                let request = request.clone();
                async move { listing::page(&inner, request).await }
            })?;
            for listed in pages.take(page, &self.inner.place)? {
                if each(listed).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>, Fault> {
        let folder = if folder.is_empty() { String::new() } else { sound(folder)? };
        self.run(move |inner, _| {
            let folder = folder.clone();
            async move { listing::folders(&inner, &folder).await }
        })
    }

    fn delete(&self, name: &str) -> Result<(), Fault> {
        let name = sound(name)?;
        self.run(move |inner, _| {
            let name = name.clone();
            async move {
                match inner.call(inner.operator.delete(&name)).await.0 {
                    Err(Fault::NotFound) => Ok(()),
                    done => done,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_repeated_and_not_for_ever() {
        let mut calls = 0;
        let ended = patiently(TRIES, |_| {
            calls += 1;
            ready(Err::<(), _>(Fault::Unavailable("x".into())))
        });
        assert!(matches!(ended.await, Err(Fault::Unavailable(_))));
        assert_eq!(calls, 1 + TRIES);
        let mut again = Vec::new();
        let ended = patiently(TRIES, |second| {
            again.push(second);
            ready(if second { Err(Fault::Full) } else { Err::<(), _>(Fault::Unavailable("x".into())) })
        });
        assert_eq!(ended.await, Err(Fault::Full));
        assert_eq!(again, [false, true]);
    }
}
