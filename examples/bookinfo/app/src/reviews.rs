//! `reviews`: what readers wrote, with stars from `ratings` in v2 (black) and v3 (red).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::client::{CallError, Client};
use crate::forward::forwarded;
use crate::options::Options;

/// How long `ratings` may take. Shorter than the time that `productpage` gives to `reviews`.
const RATINGS_TIMEOUT: Duration = Duration::from_millis(2500);

/// Reviewer and text.
const REVIEWS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "A whole ocean in one book. I came for the whale and stayed for the chapter on rope.",
    ),
    ("Reviewer2", "Long, odd and unforgettable. Skip nothing, not even the list of whales."),
];

struct Reviews {
    options: Options,
    client: Client,
}

/// The routes of `reviews`.
pub(crate) fn router(options: Options) -> Router {
    let state = Arc::new(Reviews { options, client: Client::new(RATINGS_TIMEOUT) });
    Router::new().route("/reviews/{id}", get(reviews)).with_state(state)
}

async fn reviews(
    State(state): State<Arc<Reviews>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    let Ok(id) = id.parse::<u32>() else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "the product id is a number" })));
    };
    let version = state.options.version;
    let ratings = match version.star_color() {
        None => None,
        Some(color) => {
            let authority = state.options.upstreams.ratings();
            let path = format!("/ratings/{id}");
            let answer = state.client.get_json(&authority, &path, forwarded(&headers)).await;
            if let Err(error) = &answer {
                tracing::warn!(status = error.status.as_u16(), reason = %error.reason, "ratings");
            }
            Some((color, answer))
        }
    };
    let body = json!({
        "id": id.to_string(),
        "version": version.name(),
        "podname": state.options.pod_name,
        "reviews": REVIEWS.map(|(reviewer, text)| review(reviewer, text, ratings.as_ref())),
    });
    (StatusCode::OK, Json(body))
}

/// One review; a failed call to `ratings` is said in it, and is no reason to hide the text.
fn review(
    reviewer: &str,
    text: &str,
    ratings: Option<&(&'static str, Result<Value, CallError>)>,
) -> Value {
    let mut review = json!({ "reviewer": reviewer, "text": text });
    let rating = match ratings {
        None => return review,
        Some((color, Ok(answer))) => match answer["ratings"][reviewer].as_u64() {
            Some(stars) => json!({ "stars": stars, "color": color }),
            None => json!({ "error": "not rated" }),
        },
        Some((_, Err(error))) => json!({
            "error": format!("ratings are not available (status {})", error.status.as_u16()),
            "status": error.status.as_u16(),
        }),
    };
    review["rating"] = rating;
    review
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_ratings_a_review_has_no_rating() {
        assert_eq!(review("a", "b", None), json!({ "reviewer": "a", "text": "b" }));
    }

    #[test]
    fn a_failed_call_is_said_in_the_review() {
        let error = CallError { status: StatusCode::FORBIDDEN, reason: "no".to_owned() };
        let review = review("a", "b", Some(&("red", Err(error))));
        assert_eq!(review["rating"]["status"], 403);
        assert_eq!(review["text"], "b");
    }

    #[test]
    fn stars_have_the_color_of_the_version() {
        let answer = json!({ "ratings": { "a": 3 } });
        let review = review("a", "b", Some(&("red", Ok(answer))));
        assert_eq!(review["rating"], json!({ "stars": 3, "color": "red" }));
    }
}
