//! Numbers about what the proxy did: Envoy's counters by cluster and connection manager, Istio's
//! standard metrics, and their text forms.

mod counters;
mod histogram;
mod istio;
mod peer;
mod render;

pub(crate) use counters::{ClusterStats, HttpStats, ListenerStats, Registry, Value};
pub(crate) use histogram::Histogram;
pub(crate) use istio::{
    Destination, HttpObservation, IstioStats, Outline, Protocol, Reporter, Security, Series,
    TcpObservation, merge,
};
pub(crate) use peer::{LocalPeer, Peer};
pub(crate) use render::{plain_text, prometheus_text};
