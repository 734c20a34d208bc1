//! Upgrades of HTTP/1.1 connections, such as WebSocket: once both sides agree, bytes go both ways.

use http::{HeaderValue, Method, Request, Response, Version, header, response};
use hyper::{
    body::Incoming,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;

use super::{body::ResponseBody, exchange::Exchange};
use crate::{
    flags::Flags,
    tcp::{Timers, copy_both},
    upstream::Lease,
};

/// The upgrade that a request asks for.
pub(super) fn wanted(request: &mut Request<Incoming>) -> Option<(OnUpgrade, HeaderValue)> {
    if request.version() != Version::HTTP_11 || request.method() == Method::CONNECT {
        return None;
    }
    let protocol = request.headers().get(header::UPGRADE)?.clone();
    let agreed = request.headers().get_all(header::CONNECTION).iter().any(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    });
    agreed.then(|| (hyper::upgrade::on(request), protocol))
}

/// Whether the configuration lets it pass.
pub(super) fn is_allowed(config: &xds::HttpConnectionManager, protocol: &HeaderValue) -> bool {
    let Ok(protocol) = protocol.to_str() else { return false };
    config.upgrade_types.iter().any(|kind| kind.eq_ignore_ascii_case(protocol))
}

/// Whether it is an offer that a server may leave unanswered: HTTP/2 by upgrade is not spoken.
pub(super) fn is_ignored(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().to_ascii_lowercase().starts_with(b"h2c")
        || protocol.as_bytes().to_ascii_uppercase().starts_with(b"TLS/")
}

/// The upstream has agreed: tells the client, and carries bytes once the client has been told.
pub(super) fn tunnel(
    parts: response::Parts,
    client: OnUpgrade,
    incoming: Incoming,
    lease: Lease,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let mut agreed = Response::from_parts(parts.clone(), incoming);
    let server = hyper::upgrade::on(&mut agreed);
    let mut response = Response::from_parts(parts, ResponseBody::empty());
    let protocol = response.headers().get(header::UPGRADE).cloned();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        response.headers_mut().insert(header::UPGRADE, protocol);
    }
    tokio::task::spawn_local(async move {
        let both = tokio::try_join!(client, server);
        match both {
            Ok((client, server)) => carry(client, server, &mut exchange).await,
            Err(error) => {
                tracing::debug!(%error, "an upgrade was not completed");
                exchange.facts.flags.insert(Flags::DOWNSTREAM_TERMINATION);
            }
        }
        exchange.complete();
        drop(lease);
    });
    response
}

async fn carry(client: Upgraded, server: Upgraded, exchange: &mut Exchange) {
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    let copied = copy_both(&mut client, &mut server, Timers::default(), |sent| match sent {
        crate::tcp::Progress::Up(count) => {
            exchange.received.set(exchange.received.get() + count);
        }
        crate::tcp::Progress::Down(count) => exchange.facts.bytes_sent += count,
        crate::tcp::Progress::Tick => {}
    });
    if let Err(error) = copied.await {
        tracing::debug!(%error, "an upgraded connection ended");
    }
}
