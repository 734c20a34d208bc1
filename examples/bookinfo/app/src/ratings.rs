//! `ratings`: stars by reviewer.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

/// The routes of `ratings`.
pub(crate) fn router() -> Router {
    Router::new().route("/ratings/{id}", get(ratings))
}

async fn ratings(Path(id): Path<String>) -> (StatusCode, Json<Value>) {
    let Ok(id) = id.parse::<u32>() else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "the product id is a number" })));
    };
    (StatusCode::OK, Json(json!({ "id": id, "ratings": { "Reviewer1": 5, "Reviewer2": 4 } })))
}
