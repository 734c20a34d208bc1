//! One stream of secrets: what the proxy subscribed to, what it was sent, what it said to it.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Duration};

use pb::{
    envoy::{
        extensions::transport_sockets::tls::v3::Secret,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
            Resource,
        },
    },
    google::rpc::Status as ErrorDetail,
};
use prost::Name as _;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tonic::{Status, Streaming};

use super::secrets::{ROOTS, Ready, Secrets, WORKLOAD};
use crate::{identity::MaterialReceiver, metrics::Metrics};

/// How often files are looked at for changes.
const FILE_CHECK: Duration = Duration::from_secs(2);

/// What the proxy wants after a request, compared with before.
pub(crate) enum Interest {
    /// Exactly these names.
    Exactly(Vec<String>),
    /// These in addition, with the versions that it has, and without those.
    Change { add: Vec<String>, remove: Vec<String>, known: BTreeMap<String, String> },
}

/// What differs between the two forms of the protocol.
pub(crate) trait Form: Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// The request's interest and error.
    fn read(request: Self::Request) -> (Interest, Option<ErrorDetail>);
    /// A response with one secret.
    fn response(name: &str, ready: Ready, nonce: String) -> Self::Response;
}

/// State of the world.
pub(crate) struct StateOfTheWorld;

impl Form for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn read(request: DiscoveryRequest) -> (Interest, Option<ErrorDetail>) {
        (Interest::Exactly(request.resource_names), request.error_detail)
    }

    fn response(_: &str, ready: Ready, nonce: String) -> DiscoveryResponse {
        DiscoveryResponse {
            version_info: ready.version,
            resources: vec![ready.resource],
            type_url: Secret::type_url(),
            nonce,
            ..DiscoveryResponse::default()
        }
    }
}

/// Incremental.
pub(crate) struct Delta;

impl Form for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn read(request: DeltaDiscoveryRequest) -> (Interest, Option<ErrorDetail>) {
        let interest = Interest::Change {
            add: request.resource_names_subscribe,
            remove: request.resource_names_unsubscribe,
            known: request.initial_resource_versions,
        };
        (interest, request.error_detail)
    }

    fn response(name: &str, ready: Ready, nonce: String) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse {
            system_version_info: ready.version.clone(),
            resources: vec![Resource {
                name: name.to_owned(),
                version: ready.version,
                resource: Some(ready.resource),
                ..Resource::default()
            }],
            type_url: Secret::type_url(),
            nonce,
            ..DeltaDiscoveryResponse::default()
        }
    }
}

/// The agent's end of one stream.
pub(crate) struct Session<F: Form> {
    secrets: Arc<Secrets>,
    metrics: Metrics,
    answers: mpsc::Sender<Result<F::Response, Status>>,
    /// The version that each subscribed secret was sent in.
    sent: BTreeMap<String, Option<String>>,
    /// The last problem with each secret, so that it is logged once.
    problems: BTreeMap<String, String>,
    nonce: u64,
    form: PhantomData<F>,
}

impl<F: Form> Session<F> {
    pub(crate) fn new(
        secrets: &Arc<Secrets>,
        metrics: &Metrics,
        answers: mpsc::Sender<Result<F::Response, Status>>,
    ) -> Self {
        Self {
            secrets: Arc::clone(secrets),
            metrics: metrics.clone(),
            answers,
            sent: BTreeMap::new(),
            problems: BTreeMap::new(),
            nonce: 0,
            form: PhantomData,
        }
    }

    /// Serves the stream until the proxy ends it.
    pub(crate) async fn run(mut self, mut requests: Streaming<F::Request>) {
        let mut changes: MaterialReceiver = self.secrets.changes();
        let mut files = tokio::time::interval(FILE_CHECK);
        // Nobody looks at the clock while no file is asked for: the time that passed meanwhile must
        // not come back as a burst.
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let watches_files = self.sent.keys().any(|name| Secrets::is_file(name));
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => self.read(request),
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(%status, "secret stream ended");
                        return;
                    }
                },
                Ok(()) = changes.changed() => {}
                _ = files.tick(), if watches_files => {}
            }
            if !self.send_changed().await {
                return;
            }
        }
    }

    fn read(&mut self, request: F::Request) {
        let (interest, error) = F::read(request);
        if let Some(error) = error {
            let names: Vec<_> = self.sent.keys().map(String::as_str).collect();
            tracing::warn!(secrets = ?names, error = error.message, "the proxy rejected a secret");
            for name in names {
                self.metrics.secret_rejections.with_label_values(&[label(name)]).inc();
            }
        }
        match interest {
            Interest::Exactly(names) => {
                self.sent.retain(|name, _| names.contains(name));
                for name in names {
                    self.sent.entry(name).or_default();
                }
            }
            Interest::Change { add, remove, mut known } => {
                for name in remove {
                    self.sent.remove(&name);
                }
                for name in add {
                    // Subscribing again asks for the secret again.
                    let version = known.remove(&name);
                    self.sent.insert(name, version);
                }
            }
        }
    }

    /// Sends what is new; false when the proxy is gone.
    async fn send_changed(&mut self) -> bool {
        let names: Vec<String> = self.sent.keys().cloned().collect();
        for name in names {
            let ready = match self.secrets.get(&name) {
                Ok(Some(ready)) => ready,
                Ok(None) => continue,
                Err(error) => {
                    self.report(&name, error.to_string());
                    continue;
                }
            };
            self.problems.remove(&name);
            let last = self.sent.entry(name.clone()).or_default();
            if last.as_ref() == Some(&ready.version) {
                continue;
            }
            *last = Some(ready.version.clone());
            self.nonce += 1;
            let response = F::response(&name, ready, self.nonce.to_string());
            if self.answers.send(Ok(response)).await.is_err() {
                return false;
            }
            self.metrics.secret_pushes.with_label_values(&[label(&name)]).inc();
            tracing::debug!(secret = name, "secret sent");
        }
        true
    }

    fn report(&mut self, name: &str, problem: String) {
        if self.problems.get(name) != Some(&problem) {
            tracing::warn!(secret = name, %problem, "the proxy asks for a secret that is not there");
            self.problems.insert(name.to_owned(), problem);
        }
    }
}

/// Names come from configuration; as a metric's label only the two that every proxy has are kept.
fn label(name: &str) -> &str {
    match name {
        WORKLOAD | ROOTS => name,
        _ if Secrets::is_file(name) => "file",
        _ => "other",
    }
}
