//! What `mizzen up` shows while it runs: a spinner and lines on a terminal, lines alone elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use local::event::Event;
use local::status::Phase;

use crate::status;

/// The terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    spinner: Option<ProgressBar>,
    phases: BTreeMap<String, Phase>,
    said: BTreeMap<String, String>,
    settled: bool,
}

impl Progress {
    /// A spinner if standard error is a terminal.
    pub(crate) fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            // A message that does not fit is cut rather than wrapped.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        Self { spinner, phases: BTreeMap::new(), said: BTreeMap::new(), settled: false }
    }

    /// Says what is going on now.
    pub(crate) fn doing(&self, what: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(what.to_owned());
        }
    }

    /// Prints lines that stay.
    pub(crate) fn line(&self, text: &str) {
        match &self.spinner {
            Some(spinner) => spinner.suspend(|| anstream::eprintln!("{text}")),
            None => anstream::eprintln!("{text}"),
        }
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: &Event) {
        match event {
            Event::Unshared | Event::Settled => {}
            Event::Failed { message, .. } => self.line(&format!("error: {message}")),
            Event::Note { message } => self.line(message),
            Event::ControlReady => {
                self.line("control plane: ready");
                self.doing("starting workloads");
            }
            Event::Workload { name, phase, message } => {
                self.workload(name, *phase, message.as_deref());
            }
            Event::Draining => self.doing("draining"),
        }
    }

    fn workload(&mut self, name: &str, phase: Phase, message: Option<&str>) {
        let before = self.phases.insert(name.to_owned(), phase);
        let waiting = self.phases.iter().filter(|(_, phase)| !phase.is_settled());
        let waiting: Vec<&str> = waiting.map(|(name, _)| name.as_str()).collect();
        if !waiting.is_empty() {
            self.doing(&format!("waiting for {}", waiting.join(", ")));
        }
        let line = match (phase, message) {
            (Phase::Running, _) if before != Some(phase) => format!("{name}: ready"),
            (Phase::Failed | Phase::CrashLoopBackOff, Some(message)) => {
                format!("{name}: {phase}: {message}")
            }
            (Phase::NotReady, Some(message)) if self.settled => {
                format!("{name}: {phase}: {message}")
            }
            _ => return,
        };
        // What fails again and again in the same way is said once.
        if self.said.get(name) != Some(&line) {
            self.line(&line);
            self.said.insert(name.to_owned(), line);
        }
    }

    /// Shows the table, once everything has settled.
    pub(crate) fn table(&mut self, table: &str) {
        self.finish();
        self.settled = true;
        let text = format!("\n{table}\n\npress Ctrl-C to stop");
        if status::print(&text).is_err() {
            tracing::debug!("nobody reads the table");
        }
    }

    /// Takes the spinner away.
    pub(crate) fn finish(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }
}
