//! Log lines of Istio's shape: time, level, target, message and fields, separated by tabs; or JSON.
//!
//! Values come from the network too, so control characters in a line are escaped: nobody can
//! forge a line by a name with a newline in it.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-11-24T06:00:00.000000Z info target message field=value`, separated by tabs.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how. Log lines go to standard error.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A level (`info`), or a list of `target=level` as `tracing_subscriber`'s `EnvFilter` reads.
    pub filter: String,
    /// The form of a line.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// Installs the process's logger. Call it once, first thing in `main`.
///
/// # Errors
/// A message for the user: a bad filter, or a logger that is there already.
pub fn init_logging(options: &LogOptions) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.filter)
        .map_err(|error| format!("log level {:?}: {error}", options.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let installed = match options.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.event_format(TextLine { colour }).try_init()
        }
    };
    installed.map_err(|error| format!("cannot set up logging: {error}"))
}

struct TextLine {
    colour: bool,
}

impl TextLine {
    fn level(&self, level: Level) -> &'static str {
        match (self.colour, level) {
            (false, Level::ERROR) => "error",
            (false, Level::WARN) => "warn",
            (false, Level::INFO) => "info",
            (false, Level::DEBUG) => "debug",
            (false, Level::TRACE) => "trace",
            (true, Level::ERROR) => "\x1b[31merror\x1b[0m",
            (true, Level::WARN) => "\x1b[33mwarn\x1b[0m",
            (true, Level::INFO) => "\x1b[32minfo\x1b[0m",
            (true, Level::DEBUG) => "\x1b[34mdebug\x1b[0m",
            (true, Level::TRACE) => "\x1b[35mtrace\x1b[0m",
        }
    }
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        write!(writer, "\t{}\t{}\t", self.level(*metadata.level()), metadata.target())?;
        let mut escaped = Escaping { inner: &mut writer };
        context.format_fields(Writer::new(&mut escaped), event)?;
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                let extensions = span.extensions();
                let fields = extensions.get::<FormattedFields<N>>().filter(|f| !f.is_empty());
                if let Some(fields) = fields {
                    write!(escaped, " {}{{{fields}}}", span.name())?;
                }
            }
        }
        writeln!(writer)
    }
}

/// Writes control characters as `\u{..}`.
struct Escaping<'a, 'w> {
    inner: &'a mut Writer<'w>,
}

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let mut characters = piece.chars();
            match characters.next_back() {
                Some(last) if last.is_control() => {
                    self.inner.write_str(characters.as_str())?;
                    write!(self.inner, "{}", last.escape_default())?;
                }
                _ => self.inner.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(TextLine { colour: false })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let name = "a\n2026-11-24T06:00:00.000000Z\tinfo\tforged\x1b[31m";
            tracing::info!(%name, "connected");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("\tinfo\tdaemon::log::tests\tconnected name=a\\n2026"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
