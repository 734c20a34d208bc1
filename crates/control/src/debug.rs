//! Pages for people and tools: `/ready`, `/debug/*` and `/version`, in Istio's JSON shapes.
//!
//! A proxy's configuration tells much about the mesh, so `/debug` is served only on the debug
//! socket, to this machine, and to callers with a token of the root namespace.

mod config_dump;
mod syncz;
mod world;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ads::registry::{Entry, Registry};
use crate::authn::Authenticator;
use crate::configuration::Loaded;

/// Where tokens of operators come from (Istio's root namespace).
const ROOT_NAMESPACE: &str = "istio-system";

/// What the pages show.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) registry: Registry,
    pub(crate) loaded: Arc<ArcSwap<Loaded>>,
    pub(crate) authenticator: Authenticator,
    pub(crate) trust_domain: String,
    /// Callers from this address are of this machine too.
    pub(crate) own_address: Option<IpAddr>,
}

#[derive(Deserialize)]
struct Which {
    #[serde(rename = "proxyID")]
    proxy: Option<String>,
}

/// All pages under `/debug`, for a socket that only this user can connect to.
pub(crate) fn private(pages: Pages) -> Router {
    Router::new()
        .route("/debug/syncz", get(async |State(p): State<Pages>| Json(syncz::syncz(&p.registry))))
        .route("/debug/adsz", get(async |State(p): State<Pages>| Json(syncz::adsz(&p.registry))))
        .route(
            "/debug/connections",
            get(async |State(p): State<Pages>| Json(syncz::adsz(&p.registry))),
        )
        .route("/debug/config_dump", get(config_dump))
        .route("/debug/edsz", get(edsz))
        .route("/debug/ndsz", get(ndsz))
        .route("/debug/endpointz", get(async |State(p): State<Pages>| Json(world::endpoints(&p))))
        .route("/debug/registryz", get(async |State(p): State<Pages>| Json(world::services(&p))))
        .route("/debug/configz", get(async |State(p): State<Pages>| Json(world::objects(&p))))
        .route(
            "/debug/push_status",
            get(async |State(p): State<Pages>| Json(world::push_status(&p))),
        )
        .route(
            "/debug/diagnostics",
            get(async |State(p): State<Pages>| Json(world::diagnostics(&p))),
        )
        .route("/debug/mesh", get(async |State(p): State<Pages>| Json(world::mesh(&p))))
        .route("/debug/list", get(async || PATHS.join("\n") + "\n"))
        .with_state(pages)
}

const PATHS: [&str; 13] = [
    "/debug/adsz",
    "/debug/config_dump?proxyID=",
    "/debug/configz",
    "/debug/connections",
    "/debug/diagnostics",
    "/debug/edsz?proxyID=",
    "/debug/endpointz",
    "/debug/list",
    "/debug/mesh",
    "/debug/ndsz?proxyID=",
    "/debug/push_status",
    "/debug/registryz",
    "/debug/syncz",
];

/// The same pages for a TCP port: only for callers that may see them.
pub(crate) fn guarded(pages: Pages) -> Router {
    private(pages.clone()).layer(from_fn_with_state(pages, guard))
}

async fn guard(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let local = peer.is_some_and(|ip| ip.is_loopback() || Some(ip) == pages.own_address);
    if local {
        return next.run(request).await;
    }
    let header = request.headers().get(http::header::AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok());
    match pages.authenticator.token(header, SystemTime::now()) {
        Ok(identity) if identity.namespace() == ROOT_NAMESPACE => next.run(request).await,
        Ok(_) => refusal(StatusCode::FORBIDDEN, "debug pages need a token of the root namespace"),
        Err(reason) => refusal(StatusCode::UNAUTHORIZED, &reason),
    }
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    (status, format!("{reason}\n")).into_response()
}

/// `/version` for the monitoring port.
pub(crate) fn version() -> Router {
    let answer = async || {
        let version = env!("CARGO_PKG_VERSION");
        Json(json!({ "version": version, "revision": "", "status": "mizzen" }))
    };
    Router::new().route("/version", get(answer))
}

fn find(pages: &Pages, which: &Which) -> Result<Arc<Entry>, (StatusCode, String)> {
    let Some(wanted) = &which.proxy else {
        let text = "say which proxy: ?proxyID=<pod>.<namespace>\n";
        return Err((StatusCode::BAD_REQUEST, text.into()));
    };
    pages.registry.find(wanted).ok_or_else(|| {
        let text = format!("proxy {wanted:?} is not connected (or its name is not unique)\n");
        (StatusCode::NOT_FOUND, text)
    })
}

async fn config_dump(
    State(pages): State<Pages>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, (StatusCode, String)> {
    find(&pages, &which).map(|entry| Json(config_dump::config_dump(&entry)))
}

async fn edsz(
    State(pages): State<Pages>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let kind = xds::ResourceType::LoadAssignment;
    find(&pages, &which).map(|entry| Json(config_dump::resources(&entry, kind)))
}

async fn ndsz(
    State(pages): State<Pages>,
    Query(which): Query<Which>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let kind = xds::ResourceType::NameTable;
    find(&pages, &which).map(|entry| Json(config_dump::resources(&entry, kind)))
}

#[cfg(test)]
mod tests;
