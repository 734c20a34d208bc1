//! The file source: directories of YAML, watched.
//!
//! A change anywhere leads to a new reading of all files, and what differs from the last reading
//! is handed on. So a missed event costs time, never truth. A file or directory that cannot be
//! read keeps what was last read of it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Deeper directories are not looked at; this also ends loops of symbolic links.
const MAX_DEPTH: usize = 16;
/// A larger file is refused before it is read.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// How often files are read again where the kernel cannot watch them.
const POLL: Duration = Duration::from_secs(2);

/// A directory with configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path does not exist or is no directory.
    #[error("configuration directory {0} does not exist; name an existing one with --config")]
    Missing(PathBuf),
    /// The directory exists and cannot be read.
    #[error("configuration directory {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
}

/// A file's path as the user would name it, and its new text, or `None` when it is gone.
pub(crate) type Change = (String, Option<String>);

/// What a reading found.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What differs from the reading before.
    pub(crate) changes: Vec<Change>,
    /// What could not be read, for people.
    pub(crate) problems: Vec<String>,
}

/// The directories and what was last read of them.
#[derive(Debug)]
pub(crate) struct FileSource {
    roots: Vec<PathBuf>,
    texts: BTreeMap<PathBuf, String>,
}

impl FileSource {
    /// # Errors
    /// When a directory does not exist or cannot be listed.
    pub(crate) fn new(roots: Vec<PathBuf>) -> Result<Self, SourceError> {
        for root in &roots {
            if !root.is_dir() {
                return Err(SourceError::Missing(root.clone()));
            }
            std::fs::read_dir(root)
                .map_err(|error| SourceError::Unreadable(root.clone(), error))?;
        }
        Ok(Self { roots, texts: BTreeMap::new() })
    }

    /// The same directories, of which nothing was read yet.
    pub(crate) fn anew(&self) -> Self {
        Self { roots: self.roots.clone(), texts: BTreeMap::new() }
    }

    /// Reads everything anew.
    pub(crate) fn read(&mut self) -> Reading {
        let mut reading = Reading::default();
        let mut found = BTreeMap::new();
        for root in &self.roots {
            let mut walk =
                Walk { known: &self.texts, found: &mut found, problems: &mut reading.problems };
            walk.directory(root, 0);
        }
        for (path, text) in &found {
            if self.texts.get(path) != Some(text) {
                reading.changes.push((name(path), Some(text.clone())));
            }
        }
        let gone = self.texts.keys().filter(|path| !found.contains_key(*path));
        reading.changes.extend(gone.map(|path| (name(path), None)));
        self.texts = found;
        reading
    }

    /// Starts watching. Each message says that something may have changed. The watcher must be
    /// kept for as long as messages are wanted.
    pub(crate) fn watch(&self) -> (Watch, Receiver<()>) {
        let (send, receive) = mpsc::channel(1);
        // Before the watch: what replaces a directory in between is seen as a difference.
        let watched = self.identities();
        let notice = match self.start(send.clone()) {
            Ok(watcher) => Notice::Kernel(watcher),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the files; reading them every {POLL:?}");
                Notice::Poll(tokio::spawn(poll(send)))
            }
        };
        (Watch { watched, notice }, receive)
    }

    /// Watches again when the kernel's watch is of no use any more: it follows a directory that was
    /// moved away, not its name. None: the present watch is good, or there can be no better one.
    pub(crate) fn watch_again(&self, watch: &Watch) -> Option<(Watch, Receiver<()>)> {
        let now = self.identities();
        let usable = now.iter().all(Option::is_some);
        match &watch.notice {
            Notice::Kernel(_) if now == watch.watched => None,
            Notice::Kernel(_) => Some(self.watch()),
            Notice::Poll(_) if !usable => None,
            Notice::Poll(_) => {
                let (send, receive) = mpsc::channel(1);
                let watcher = self.start(send).ok()?;
                tracing::info!("the files are watched again");
                Some((Watch { watched: now, notice: Notice::Kernel(watcher) }, receive))
            }
        }
    }

    /// Which directory each root is; none where there is nothing.
    fn identities(&self) -> Vec<Option<(u64, u64)>> {
        let identity = |root: &PathBuf| {
            // That it is missing is told when it is read.
            std::fs::metadata(root).ok().map(|metadata| (metadata.dev(), metadata.ino()))
        };
        self.roots.iter().map(identity).collect()
    }

    fn start(&self, send: Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let matters = match &event {
                    Ok(event) => !event.kind.is_access() || event.need_rescan(),
                    Err(_) => true,
                };
                if matters {
                    // A full channel already says that something changed; a closed one is of a
                    // watch that is being replaced.
                    let _ = send.try_send(());
                }
            })?;
        for root in &self.roots {
            watcher.watch(root, RecursiveMode::Recursive)?;
        }
        Ok(watcher)
    }
}

/// Keeps a watch going until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The directories that were there when it began.
    watched: Vec<Option<(u64, u64)>>,
    notice: Notice,
}

impl Watch {
    /// Whether changes are told by the kernel rather than looked for.
    pub(crate) fn is_kernel(&self) -> bool {
        matches!(self.notice, Notice::Kernel(_))
    }
}

#[derive(Debug)]
enum Notice {
    /// inotify.
    Kernel(#[expect(dead_code, reason = "held for its Drop")] notify::RecommendedWatcher),
    /// A timer.
    Poll(tokio::task::JoinHandle<()>),
}

impl Drop for Notice {
    fn drop(&mut self) {
        if let Self::Poll(task) = self {
            task.abort();
        }
    }
}

async fn poll(send: Sender<()>) {
    loop {
        tokio::time::sleep(POLL).await;
        if send.send(()).await.is_err() {
            return;
        }
    }
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

struct Walk<'a> {
    known: &'a BTreeMap<PathBuf, String>,
    found: &'a mut BTreeMap<PathBuf, String>,
    problems: &'a mut Vec<String>,
}

impl Walk<'_> {
    fn directory(&mut self, dir: &Path, depth: usize) {
        if depth > MAX_DEPTH {
            self.problems.push(format!("{}: deeper than {MAX_DEPTH} directories", dir.display()));
            return;
        }
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) => {
                // A directory that another one was in has simply been removed.
                if depth == 0 || error.kind() != std::io::ErrorKind::NotFound {
                    self.keep(dir, &error.to_string());
                }
                return;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.keep(dir, &error.to_string());
                    return;
                }
            };
            let path = entry.path();
            // Editors' and Kubernetes' own files.
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if path.is_dir() {
                self.directory(&path, depth + 1);
            } else if is_configuration(&path) {
                self.file(&path);
            }
        }
    }

    fn file(&mut self, path: &Path) {
        match read_bounded(path) {
            Ok(text) => {
                self.found.insert(path.to_owned(), text);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => self.keep(path, &error.to_string()),
        }
    }

    /// Carries over what was known under a path.
    fn keep(&mut self, path: &Path, error: &str) {
        self.problems.push(format!("{}: {error}; what was read last stays", path.display()));
        let under = self.known.iter().filter(|(known, _)| known.starts_with(path));
        self.found.extend(under.map(|(known, text)| (known.clone(), text.clone())));
    }
}

fn is_configuration(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    matches!(extension, "yaml" | "yml" | "json")
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("{size} bytes are more than {MAX_FILE_BYTES}")));
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
