//! Collects lines in a worker and hands them to the one thread that writes. Never blocks: when the
//! writer is behind, lines are dropped and counted.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
};

use super::LogPath;

/// Hand over once a buffer has this many bytes.
const FULL: usize = 32 * 1024;
/// Buffers that may wait for the writer.
const QUEUE: usize = 256;

type Batch = (LogPath, String);

/// The way to the writer thread.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    batches: SyncSender<Batch>,
    dropped: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread. It ends when all senders are gone.
    pub(crate) fn start() -> io::Result<Self> {
        let (batches, inbox) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(&inbox))?;
        Ok(Self { batches, dropped: Arc::default() })
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// One worker's lines that were not handed over yet.
#[derive(Debug)]
pub(crate) struct LogBuffers {
    writer: LogWriter,
    lines: HashMap<LogPath, String>,
}

impl LogBuffers {
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self { writer, lines: HashMap::new() }
    }

    /// Appends to a log.
    pub(super) fn append(&mut self, path: &LogPath, write: impl FnOnce(&mut String)) {
        if !self.lines.contains_key(path) {
            self.lines.insert(Arc::clone(path), String::new());
        }
        let Some(lines) = self.lines.get_mut(path) else { return };
        write(lines);
        if lines.len() >= FULL {
            let batch = std::mem::replace(lines, String::with_capacity(FULL + FULL / 4));
            hand_over(&self.writer, (Arc::clone(path), batch));
        }
    }

    /// Hands over what there is.
    pub(crate) fn flush(&mut self) {
        for (path, lines) in &mut self.lines {
            if !lines.is_empty() {
                hand_over(&self.writer, (Arc::clone(path), std::mem::take(lines)));
            }
        }
    }
}

fn hand_over(writer: &LogWriter, batch: Batch) {
    if let Err(TrySendError::Full((_, lines)) | TrySendError::Disconnected((_, lines))) =
        writer.batches.try_send(batch)
    {
        let count = lines.bytes().filter(|byte| *byte == b'\n').count();
        writer.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

enum Sink {
    Stdout,
    Stderr,
    File(File),
}

fn write(inbox: &Receiver<Batch>) {
    let mut sinks: HashMap<LogPath, Option<Sink>> = HashMap::new();
    while let Ok((path, lines)) = inbox.recv() {
        let sink = sinks.entry(Arc::clone(&path)).or_insert_with(|| open(&path));
        let written = match sink {
            Some(Sink::Stdout) => write_all(&mut io::stdout().lock(), &lines),
            Some(Sink::Stderr) => write_all(&mut io::stderr().lock(), &lines),
            Some(Sink::File(file)) => write_all(file, &lines),
            None => Ok(()),
        };
        if let Err(error) = written {
            tracing::warn!(%path, %error, "cannot write an access log");
        }
    }
}

fn open(path: &str) -> Option<Sink> {
    match path {
        "/dev/stdout" => Some(Sink::Stdout),
        "/dev/stderr" => Some(Sink::Stderr),
        "/dev/null" | "" => None,
        path => match OpenOptions::new().create(true).append(true).open(path) {
            Ok(file) => Some(Sink::File(file)),
            Err(error) => {
                tracing::error!(%path, %error, "cannot open an access log; its lines are lost");
                None
            }
        },
    }
}

fn write_all(sink: &mut impl Write, lines: &str) -> io::Result<()> {
    sink.write_all(lines.as_bytes())?;
    sink.flush()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn lines_reach_the_file_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path: LogPath = folder.path().join("log").to_str().unwrap().into();
        let mut buffers = LogBuffers::new(LogWriter::start().unwrap());
        for number in 0..10_000 {
            buffers.append(&path, |line| line.push_str(&format!("{number}\n")));
        }
        buffers.flush();
        let wanted: String = (0..10_000).map(|number| format!("{number}\n")).collect();
        let end = Instant::now() + Duration::from_secs(5);
        while std::fs::read_to_string(&*path).unwrap_or_default() != wanted {
            assert!(Instant::now() < end, "lines are missing");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
