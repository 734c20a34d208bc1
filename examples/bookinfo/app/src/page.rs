//! The HTML of `productpage`: data in, text out. Everything that came over the network is escaped.
//!
//! Programs read the `data-` attributes: `data-details-status`, `data-reviews-status`,
//! `data-reviews-version` and `data-stars`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::client::CallError;

/// A book for sale.
pub(crate) struct Product {
    pub(crate) id: u32,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
}

/// The page at `/`.
pub(crate) const INDEX: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<title>Bookinfo</title></head>\n<body><h1>Bookinfo</h1>\
<p><a href=\"/productpage\">To the book</a></p></body></html>\n";

/// The style sheet.
pub(crate) const STYLE: &str = "\
body { font: 16px/1.5 sans-serif; margin: 2rem auto; max-width: 50rem; color: #222; }
header { display: flex; justify-content: space-between; border-bottom: 1px solid #ccc; }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 2rem; }
dt { font-weight: bold; } blockquote { margin: 1rem 0; }
.stars.black { color: #000; } .stars.red { color: #c00; }
.error { background: #fee; border-left: 4px solid #c00; padding: .5rem 1rem; }
";

/// The facts shown, in order: the key in the answer of `details` and the label.
const FACTS: [(&str, &str); 8] = [
    ("author", "Author"),
    ("year", "Year"),
    ("type", "Type"),
    ("pages", "Pages"),
    ("publisher", "Publisher"),
    ("language", "Language"),
    ("ISBN-10", "ISBN-10"),
    ("ISBN-13", "ISBN-13"),
];

/// The whole page. A failed call becomes a section that says so.
pub(crate) fn render(
    product: &Product,
    user: Option<&str>,
    details: &Result<Value, CallError>,
    reviews: &Result<Value, CallError>,
) -> String {
    let title = escape(product.title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<link rel=\"stylesheet\" href=\"/static/style.css\">\n</head>\n\
         <body>\n<header><strong>Bookinfo</strong>{user}</header>\n\
         <h1>{title}</h1>\n<p>{description}</p>\n<main>\n{details}{reviews}</main>\n\
         </body>\n</html>\n",
        user = user_section(user),
        description = escape(product.description),
        details = details_section(details),
        reviews = reviews_section(reviews),
    )
}

fn user_section(user: Option<&str>) -> String {
    match user {
        Some(user) => format!("<span>{} <a href=\"/logout\">sign out</a></span>", escape(user)),
        None => "<form method=\"post\" action=\"/login\"><input name=\"username\" \
                 placeholder=\"user name\"> <button>Sign in</button></form>"
            .to_owned(),
    }
}

fn details_section(details: &Result<Value, CallError>) -> String {
    let details = match details {
        Ok(details) => details,
        Err(error) => return error_section("details", "Book details", error),
    };
    let mut html =
        "<section id=\"details\" data-details-status=\"200\">\n<h2>Book details</h2>\n<dl>\n"
            .to_owned();
    for (key, label) in FACTS {
        let Some(value) = details.get(key) else { continue };
        let _ = writeln!(html, "<dt>{label}</dt><dd>{}</dd>", escape(&text(value)));
    }
    html + "</dl>\n</section>\n"
}

fn reviews_section(reviews: &Result<Value, CallError>) -> String {
    let reviews = match reviews {
        Ok(reviews) => reviews,
        Err(error) => return error_section("reviews", "Reviews", error),
    };
    let mut html = format!(
        "<section id=\"reviews\" data-reviews-status=\"200\" data-reviews-version=\"{}\" \
         data-reviews-pod=\"{}\">\n<h2>Reviews</h2>\n",
        escape(&text(&reviews["version"])),
        escape(&text(&reviews["podname"])),
    );
    for review in reviews["reviews"].as_array().into_iter().flatten() {
        let _ = writeln!(
            html,
            "<blockquote><p>{}</p><footer>{}</footer>{}</blockquote>",
            escape(&text(&review["text"])),
            escape(&text(&review["reviewer"])),
            review.get("rating").map(rating).unwrap_or_default(),
        );
    }
    let _ = writeln!(
        html,
        "<p>Served by reviews {} on {}.</p>\n</section>",
        escape(&text(&reviews["version"])),
        escape(&text(&reviews["podname"])),
    );
    html
}

fn rating(rating: &Value) -> String {
    if let Some(error) = rating.get("error") {
        return format!("<p class=\"error\">{}</p>", escape(&text(error)));
    }
    let stars = usize::try_from(rating["stars"].as_u64().unwrap_or(0).min(5)).unwrap_or(0);
    format!(
        "<p class=\"stars {color}\" data-stars=\"{stars}\" data-color=\"{color}\">{full}{empty}</p>",
        color = escape(&text(&rating["color"])),
        full = "\u{2605}".repeat(stars),
        empty = "\u{2606}".repeat(5 - stars),
    )
}

fn error_section(id: &str, heading: &str, error: &CallError) -> String {
    let status = error.status.as_u16();
    format!(
        "<section id=\"{id}\" class=\"error\" data-{id}-status=\"{status}\">\n<h2>{heading}</h2>\n\
         <p>Not available right now: {id} failed with status {status}.</p>\n<p>{}</p>\n</section>\n",
        escape(&error.reason)
    )
}

/// A JSON value as a reader expects to see it: strings without their quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use serde_json::json;

    const PRODUCT: Product = Product { id: 0, title: "T & <U>", description: "d" };

    #[test]
    fn what_comes_from_the_network_is_escaped() {
        let reviews = json!({ "version": "v2\"><script>", "podname": "p", "reviews": [
            { "reviewer": "<r>", "text": "<t>", "rating": { "stars": 99, "color": "\"x" } } ] });
        let html = render(&PRODUCT, Some("<u>"), &Ok(json!({ "author": "<a>" })), &Ok(reviews));
        for bad in ["<script>", "<r>", "<t>", "<u>", "<a>", "<U>", "\"x"] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
        assert!(html.contains("data-stars=\"5\""));
    }

    #[test]
    fn failures_are_sections_with_their_status() {
        let fail = |status| Err(CallError { status, reason: "RBAC: access denied".to_owned() });
        let html = render(
            &PRODUCT,
            None,
            &fail(StatusCode::FORBIDDEN),
            &fail(StatusCode::SERVICE_UNAVAILABLE),
        );
        assert!(html.contains("data-details-status=\"403\""));
        assert!(html.contains("data-reviews-status=\"503\""));
        assert!(!html.contains("data-reviews-version"));
    }
}
