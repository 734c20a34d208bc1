//! From files to snapshots: reads, builds, publishes; again at each change.
//!
//! A broken file is logged and shown, and its last good version stays.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use config::{Catalog, Diagnostic, Object, Spec};
use pilot::{PushContext, World};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ads::generate::Snapshot;
use crate::ads::patched::PatchStatus;
use crate::debounce::Debounce;
use crate::metrics::Metrics;
use crate::source::FileSource;

/// What debug pages show of the configuration.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) objects: Vec<Arc<Object>>,
    /// Of the files and of the objects together.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Files whose present text is refused.
    pub(crate) refused: Vec<String>,
    /// What could not be read.
    pub(crate) problems: Vec<String>,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// Reads the files and makes snapshots of them.
pub(crate) struct Configuration {
    source: FileSource,
    catalog: Catalog,
    metrics: Metrics,
    /// Tells versions of this process from those of another.
    started: u64,
    number: u64,
    reported: Vec<String>,
}

impl Configuration {
    pub(crate) fn new(source: FileSource, metrics: Metrics) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (catalog, started) = (Catalog::default(), since.as_secs());
        Self { source, catalog, metrics, started, number: 0, reported: Vec::new() }
    }

    /// Reads everything for the first time.
    pub(crate) fn load(&mut self) -> Loaded {
        let (_, refused, problems) = self.read();
        let snapshot = self.build(Instant::now());
        self.loaded(refused, problems, snapshot)
    }

    /// Reads and builds at each change until told to stop.
    pub(crate) async fn run(
        mut self,
        debounce: Debounce,
        loaded: Arc<ArcSwap<Loaded>>,
        snapshots: watch::Sender<Arc<Snapshot>>,
        stop: CancellationToken,
    ) {
        let (mut watch, mut changes) = self.source.watch();
        // What changed between the first reading and the watch.
        let mut noticed = Some(Instant::now());
        while let Some(first) = noticed {
            self.metrics.debounce.observe(first.elapsed().as_secs_f64());
            let before = loaded.load_full();
            let anew = self.anew();
            let reloading = tokio::task::spawn_blocking(move || self.reload(first, &before));
            let (this, next) = match reloading.await {
                Ok(reloaded) => reloaded,
                Err(panic) => {
                    anew.metrics.internal_errors.inc();
                    tracing::error!(%panic, "a bug: the configuration could not be read; what is \
                        served stays, and the next change is tried again");
                    (anew, None)
                }
            };
            self = this;
            if let Some(next) = next {
                self.publish(next, &loaded, &snapshots);
            }
            if let Some((better, receive)) = self.source.watch_again(&watch) {
                (watch, changes) = (better, receive);
                if watch.is_kernel() {
                    // What changed before it.
                    noticed = Some(Instant::now());
                    continue;
                }
            }
            noticed = tokio::select! {
                () = stop.cancelled() => None,
                first = debounce.wait(&mut changes) => first,
            };
        }
    }

    /// The same, as if nothing had been read yet. Versions go on.
    fn anew(&self) -> Self {
        Self {
            source: self.source.anew(),
            catalog: Catalog::default(),
            metrics: self.metrics.clone(),
            started: self.started,
            // The one that fails may have taken a number.
            number: self.number + 1,
            reported: Vec::new(),
        }
    }

    fn publish(
        &self,
        next: Loaded,
        loaded: &ArcSwap<Loaded>,
        snapshots: &watch::Sender<Arc<Snapshot>>,
    ) {
        let snapshot = Arc::clone(&next.snapshot);
        let changed = !Arc::ptr_eq(&snapshot, &loaded.load().snapshot);
        loaded.store(Arc::new(next));
        if changed {
            self.metrics.push_triggers.with_label_values(&["config"]).inc();
            snapshots.send_replace(snapshot);
        }
    }

    fn reload(mut self, first: Instant, before: &Loaded) -> (Self, Option<Loaded>) {
        let (changed, refused, problems) = self.read();
        let snapshot = if changed { self.build(first) } else { Arc::clone(&before.snapshot) };
        let loaded = self.loaded(refused, problems, snapshot);
        (self, Some(loaded))
    }

    fn read(&mut self) -> (bool, Vec<String>, Vec<String>) {
        let reading = self.source.read();
        let update = self.catalog.update(reading.changes);
        for diagnostic in &update.diagnostics {
            if diagnostic.is_error() {
                tracing::error!("{diagnostic}");
            } else {
                tracing::warn!("{diagnostic}");
            }
        }
        for problem in reading.problems.iter().filter(|p| !self.reported.contains(p)) {
            tracing::error!("{problem}");
        }
        self.reported.clone_from(&reading.problems);
        self.metrics.rejected_configs.set(count(update.refused.len()));
        (update.changed, update.refused, reading.problems)
    }

    fn build(&mut self, noticed: Instant) -> Arc<Snapshot> {
        let start = Instant::now();
        self.number += 1;
        let world = World::new(self.catalog.objects().cloned());
        let context = Arc::new(PushContext::new(Arc::new(world)));
        for diagnostic in context.diagnostics() {
            tracing::warn!("{diagnostic}");
        }
        let of = |kind| self.catalog.objects().filter(|object| object.spec.kind() == kind).count();
        self.metrics.services.set(count(of(config::Kind::Service)));
        self.metrics.virtual_services.set(count(of(config::Kind::VirtualService)));
        self.metrics.context_init.observe(start.elapsed().as_secs_f64());
        let version = format!("{}/{}", self.started, self.number);
        tracing::info!(version, took = ?start.elapsed(), "built the configuration");
        let patched = PatchStatus::new(self.metrics.envoy_filter_status.clone());
        Arc::new(Snapshot { context, number: self.number, version, noticed, patched })
    }

    fn loaded(
        &self,
        refused: Vec<String>,
        problems: Vec<String>,
        snapshot: Arc<Snapshot>,
    ) -> Loaded {
        let mut diagnostics = self.catalog.diagnostics().to_vec();
        diagnostics.extend(snapshot.context.diagnostics().iter().cloned());
        let objects = self.catalog.objects().cloned().collect();
        Loaded { objects, diagnostics, refused, problems, snapshot }
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The Services among objects, with their names.
pub(crate) fn services(
    objects: &[Arc<Object>],
) -> impl Iterator<Item = (&str, &str, &config::Service)> {
    objects.iter().filter_map(|object| match &object.spec {
        Spec::Service(service) => {
            Some((object.meta.namespace.as_str(), object.meta.name.as_str(), service))
        }
        _ => None,
    })
}
