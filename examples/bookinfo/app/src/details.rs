//! `details`: facts about the book.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

/// The routes of `details`.
pub(crate) fn router() -> Router {
    Router::new().route("/details/{id}", get(details))
}

async fn details(Path(id): Path<String>) -> (StatusCode, Json<Value>) {
    let Ok(id) = id.parse::<u32>() else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "the product id is a number" })));
    };
    let book = json!({
        "id": id,
        "author": "Herman Melville",
        "year": 1851,
        "type": "paperback",
        "pages": 720,
        "publisher": "Penguin Classics",
        "language": "English",
        "ISBN-10": "0142437247",
        "ISBN-13": "978-0142437247",
    });
    (StatusCode::OK, Json(book))
}
