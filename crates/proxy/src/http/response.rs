//! What every answer gets on its way to the client.

use http::{HeaderValue, Response, header};

use super::{exchange::Exchange, headers};

/// Gives an answer its `server` header, asks the client to go when the connection drains, and keeps
/// what the log shows.
pub(super) fn finish<B>(exchange: &mut Exchange, response: &mut Response<B>) {
    let http = std::rc::Rc::clone(&exchange.http);
    let manager = &http.manager;
    let map = response.headers_mut();
    match manager.engine.config.server_header {
        xds::ServerHeader::Overwrite => {
            map.insert(header::SERVER, manager.server.clone());
        }
        xds::ServerHeader::AppendIfAbsent => {
            map.entry(header::SERVER).or_insert_with(|| manager.server.clone());
        }
        xds::ServerHeader::PassThrough => {}
    }
    if http.should_close() {
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status().as_u16();
    exchange.on_response(status, response.headers());
}

/// Takes out of an upstream's answer what concerned only the upstream connection.
pub(super) fn sanitize<B>(response: &mut Response<B>, upgraded: bool) {
    *response.version_mut() = http::Version::HTTP_11;
    headers::remove_hop_by_hop(response.headers_mut(), upgraded);
}
