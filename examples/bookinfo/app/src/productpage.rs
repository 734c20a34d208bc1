//! `productpage`: the page that people see, and the same data as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::client::{CallError, Client};
use crate::forward::forwarded;
use crate::options::Options;
use crate::page::{self, Product};

/// How long each of the two services may take.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(3);
/// The cookie that holds the name given at `/login`.
const USER_COOKIE: &str = "user";

const PRODUCTS: [Product; 1] = [Product {
    id: 0,
    title: "Moby-Dick; or, The Whale",
    description: "A sailor signs on to a whaling ship whose captain has one whale in mind. \
                  First printed in 1851 and out of print when its author died.",
}];

struct Productpage {
    options: Options,
    client: Client,
}

type Shared = State<Arc<Productpage>>;

/// The routes of `productpage`.
pub(crate) fn router(options: Options) -> Router {
    let state = Arc::new(Productpage { options, client: Client::new(UPSTREAM_TIMEOUT) });
    Router::new()
        .route("/", get(|| async { Html(page::INDEX) }))
        .route("/productpage", get(productpage))
        .route("/login", post(login))
        .route("/logout", get(logout))
        .route("/static/style.css", get(style))
        .route("/api/v1/products", get(products))
        .route("/api/v1/products/{id}", get(product))
        .route("/api/v1/products/{id}/reviews", get(product_reviews))
        .route("/api/v1/products/{id}/ratings", get(product_ratings))
        .with_state(state)
}

impl Productpage {
    async fn details(&self, id: u32, headers: HeaderMap) -> Result<Value, CallError> {
        let authority = self.options.upstreams.details();
        logged("details", self.client.get_json(&authority, &format!("/details/{id}"), headers))
            .await
    }

    async fn reviews(&self, id: u32, headers: HeaderMap) -> Result<Value, CallError> {
        let authority = self.options.upstreams.reviews();
        logged("reviews", self.client.get_json(&authority, &format!("/reviews/{id}"), headers))
            .await
    }

    async fn ratings(&self, id: u32, headers: HeaderMap) -> Result<Value, CallError> {
        let authority = self.options.upstreams.ratings();
        logged("ratings", self.client.get_json(&authority, &format!("/ratings/{id}"), headers))
            .await
    }
}

async fn logged(
    name: &str,
    call: impl Future<Output = Result<Value, CallError>>,
) -> Result<Value, CallError> {
    let answer = call.await;
    if let Err(error) = &answer {
        tracing::warn!(upstream = name, status = error.status.as_u16(), reason = %error.reason);
    }
    answer
}

async fn productpage(State(state): Shared, headers: HeaderMap) -> Html<String> {
    let product = &PRODUCTS[0];
    let user = user(&headers);
    let outgoing = on_behalf(&headers, user.as_deref());
    let (details, reviews) = tokio::join!(
        state.details(product.id, outgoing.clone()),
        state.reviews(product.id, outgoing)
    );
    Html(page::render(product, user.as_deref(), &details, &reviews))
}

async fn products() -> Json<Value> {
    Json(PRODUCTS.iter().map(product_json).collect())
}

async fn product(State(state): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let Some(product) = find(&id) else { return no_such_product() };
    let outgoing = on_behalf(&headers, user(&headers).as_deref());
    match state.details(product.id, outgoing).await {
        Ok(details) => {
            let mut body = product_json(product);
            body["details"] = details;
            Json(body).into_response()
        }
        Err(error) => failure(&error),
    }
}

async fn product_reviews(
    State(state): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(product) = find(&id) else { return no_such_product() };
    let outgoing = on_behalf(&headers, user(&headers).as_deref());
    answer(state.reviews(product.id, outgoing).await)
}

async fn product_ratings(
    State(state): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(product) = find(&id) else { return no_such_product() };
    let outgoing = on_behalf(&headers, user(&headers).as_deref());
    answer(state.ratings(product.id, outgoing).await)
}

async fn login(body: String) -> Response {
    let name = body.split('&').find_map(|pair| pair.strip_prefix("username=")).unwrap_or_default();
    let cookie = format!("{USER_COOKIE}={name}; Path=/; HttpOnly; SameSite=Lax");
    match HeaderValue::from_str(&cookie) {
        Ok(cookie) if valid_user(name) => see_other(cookie),
        _ => {
            (StatusCode::BAD_REQUEST, "a user name has 1 to 64 letters, digits, '.', '_' or '-'\n")
                .into_response()
        }
    }
}

async fn logout() -> Response {
    see_other(HeaderValue::from_static("user=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"))
}

async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css"), (CACHE_CONTROL, "max-age=3600")];
    (headers, page::STYLE).into_response()
}

fn see_other(cookie: HeaderValue) -> Response {
    let location = HeaderValue::from_static("/productpage");
    (StatusCode::SEE_OTHER, [(LOCATION, location), (SET_COOKIE, cookie)]).into_response()
}

/// The headers of a call made for the request with `headers`; a signed-in user is named in
/// `end-user`, which routes can match.
fn on_behalf(headers: &HeaderMap, user: Option<&str>) -> HeaderMap {
    let mut outgoing = forwarded(headers);
    if let Some(value) = user.and_then(|user| HeaderValue::from_str(user).ok()) {
        outgoing.insert("end-user", value);
    }
    outgoing
}

/// The user that the request's cookie names.
fn user(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == USER_COOKIE && valid_user(value))
        .map(|(_, value)| value.to_owned())
}

fn valid_user(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

fn find(id: &str) -> Option<&'static Product> {
    static ALL: &[Product] = &PRODUCTS;
    let id: u32 = id.parse().ok()?;
    ALL.iter().find(|product| product.id == id)
}

fn product_json(product: &Product) -> Value {
    json!({ "id": product.id, "title": product.title, "description": product.description })
}

fn no_such_product() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "error": "there is no such product" }))).into_response()
}

fn answer(result: Result<Value, CallError>) -> Response {
    match result {
        Ok(body) => Json(body).into_response(),
        Err(error) => failure(&error),
    }
}

/// The upstream's failure, with its status passed on.
fn failure(error: &CallError) -> Response {
    let body = json!({ "error": error.reason, "status": error.status.as_u16() });
    (error.status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cookie(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookie.parse().unwrap());
        headers
    }

    #[test]
    fn the_cookie_names_the_user() {
        assert_eq!(user(&with_cookie("a=b; user=jason")).as_deref(), Some("jason"));
        assert_eq!(user(&with_cookie("superuser=jason")), None);
        assert_eq!(user(&with_cookie("user=<b>x</b>")), None);
        assert_eq!(user(&with_cookie("user=")), None);
    }

    #[test]
    fn a_signed_in_user_replaces_the_header_of_the_caller() {
        let mut headers = with_cookie("user=jason");
        headers.insert("end-user", "mallory".parse().unwrap());
        let outgoing = on_behalf(&headers, user(&headers).as_deref());
        assert_eq!(outgoing.get_all("end-user").iter().collect::<Vec<_>>(), ["jason"]);
    }
}
