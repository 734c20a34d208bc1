//! Copies of requests, sent elsewhere; their answers are thrown away, and nothing of what becomes
//! of them shows in the request itself.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, Version, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::{body::RequestBody, exchange::Exchange, request::Head};
use crate::{
    cluster::Cluster,
    snapshot::Snapshot,
    upstream::{Destination, Wire},
    worker::Worker,
};

/// A mirror that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Copies of larger bodies are not made, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Starts copies; what is returned takes the frames of the body for them.
pub(super) fn start(
    mirrors: &[&xds::MirrorPolicy],
    snapshot: &Snapshot,
    head: &Head,
    exchange: &Exchange,
    body: &Incoming,
) -> Vec<mpsc::UnboundedSender<Frame<Bytes>>> {
    let mut copies = Vec::new();
    // A body of unknown length could grow without bound in front of a slow mirror.
    let too_large = !body.is_end_stream() && body.size_hint().upper().is_none_or(|n| n > LARGEST);
    if mirrors.is_empty() || too_large || head.upgrade.is_some() {
        return copies;
    }
    for mirror in mirrors {
        let Some(cluster) = snapshot.clusters.get(&mirror.cluster) else {
            tracing::debug!(cluster = %mirror.cluster, "a mirror's cluster does not exist");
            continue;
        };
        let body = if body.is_end_stream() {
            RequestBody::Empty
        } else {
            let (sender, frames) = mpsc::unbounded_channel();
            copies.push(sender);
            RequestBody::Copy(frames)
        };
        let copy = Copy {
            worker: Rc::clone(&exchange.http.connection.worker),
            cluster: Arc::clone(cluster),
            original: exchange.http.connection.destination,
            request: request(head, mirror, body),
            http2: exchange.http.is_http2(),
        };
        tokio::task::spawn_local(async move {
            if tokio::time::timeout(TIMEOUT, copy.send()).await.is_err() {
                tracing::debug!("a mirror took too long");
            }
        });
    }
    copies
}

struct Copy {
    worker: Rc<Worker>,
    cluster: Arc<Cluster>,
    original: std::net::SocketAddr,
    request: Option<(Request<RequestBody>, String)>,
    http2: bool,
}

fn request(
    head: &Head,
    mirror: &xds::MirrorPolicy,
    body: RequestBody,
) -> Option<(Request<RequestBody>, String)> {
    let authority = if mirror.disable_shadow_host_suffix {
        head.authority.clone()
    } else {
        match head.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("{host}-shadow:{port}")
            }
            _ => format!("{}-shadow", head.authority),
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    request.headers_mut().clone_from(&head.headers);
    *request.uri_mut() = Uri::builder().path_and_query(head.path.as_str()).build().ok()?;
    Some((request, authority))
}

impl Copy {
    async fn send(self) {
        let Some((mut request, authority)) = self.request else { return };
        let local = self.worker.cluster(&self.cluster);
        let wanted = Destination { original: self.original, hash: None, avoid: &[], attempts: 0 };
        let Some(target) = local.pick(&self.worker, &self.cluster, &wanted) else { return };
        let wire = match self.cluster.shared.config.http.protocol {
            xds::UpstreamHttpProtocol::Http2 => Wire::Http2,
            xds::UpstreamHttpProtocol::UseDownstream if self.http2 => Wire::Http2,
            xds::UpstreamHttpProtocol::Auto => Wire::Auto,
            _ => Wire::Http1,
        };
        let stats = &self.cluster.shared.stats;
        stats.rq_total.inc();
        let Ok(mut lease) = local.checkout(&self.worker, &target, (wire, None), &authority).await
        else {
            stats.rq_5xx.inc();
            return;
        };
        if lease.is_http2() {
            *request.version_mut() = Version::HTTP_2;
            let mut parts = std::mem::take(request.uri_mut()).into_parts();
            parts.scheme = Some(http::uri::Scheme::HTTP);
            parts.authority = authority.parse().ok();
            let Ok(uri) = Uri::from_parts(parts) else { return };
            *request.uri_mut() = uri;
        } else if let Ok(host) = HeaderValue::try_from(authority) {
            request.headers_mut().insert(header::HOST, host);
        }
        let Ok(response) = lease.send(request).await else {
            stats.rq_5xx.inc();
            return;
        };
        stats.completed(response.status().as_u16());
        let mut body = response.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        lease.finish();
    }
}
