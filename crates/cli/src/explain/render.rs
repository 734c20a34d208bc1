//! A journey for people: one line a decision, indented by where it is made.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::hop::LESS;
use super::journey::{Answer, Destination, Endpoint, Journey, Origin, Step};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().bold().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

/// The text, with colours; `anstream` takes them out where they do not belong.
pub(super) fn text(journey: &Journey) -> String {
    let mut out = String::new();
    let Journey { from, method, url, .. } = journey;
    let _ = writeln!(out, "{BOLD}{method} {url}{BOLD:#} from {from}");
    let at = journey.gateway.as_deref().map_or_else(
        || format!("outbound, at {from}"),
        |gateway| format!("at the gateway {gateway}"),
    );
    let _ = writeln!(out, "\n{BOLD}{at}{BOLD:#}");
    steps(&mut out, &journey.steps, 1);
    for destination in &journey.destinations {
        self::destination(&mut out, destination, journey.destinations.len() > 1);
    }
    let _ = writeln!(out);
    answer(&mut out, &journey.answer, 0);
    out
}

fn destination(out: &mut String, destination: &Destination, shared: bool) {
    if shared {
        let subset = destination.subset.as_deref().unwrap_or("-");
        let percent = destination.percent;
        let _ = writeln!(out, "  {BOLD}{percent:.0} % to subset {subset}{BOLD:#}");
    }
    steps(out, &destination.steps, 1 + usize::from(shared));
    let mut last: Option<&Endpoint> = None;
    for endpoint in &destination.endpoints {
        let like = last.filter(|last| alike(last, endpoint)).map(|last| &*last.address);
        self::endpoint(out, endpoint, like, 1 + usize::from(shared));
        if like.is_none() {
            last = Some(endpoint);
        }
    }
    if destination.endpoints.is_empty() {
        answer(out, &destination.answer, 1 + usize::from(shared));
    }
}

/// Whether two endpoints are reached by the same decisions.
fn alike(one: &Endpoint, other: &Endpoint) -> bool {
    let names = |endpoint: &Endpoint| {
        endpoint.steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>()
    };
    let end = |endpoint: &Endpoint| (endpoint.answer.status, endpoint.answer.served);
    one.health == other.health
        && one.inbound == other.inbound
        && end(one) == end(other)
        && names(one) == names(other)
}

/// An endpoint in full, or by the address of one that is reached alike.
fn endpoint(out: &mut String, endpoint: &Endpoint, like: Option<&str>, depth: usize) {
    let Endpoint { address, workload, health, .. } = endpoint;
    let who = workload.as_deref().unwrap_or("outside of the mesh");
    let indent = "  ".repeat(depth);
    if let Some(like) = like {
        let _ = writeln!(out, "{indent}{:<14} {address} {who}, {health}: as {like}", "endpoint");
        return;
    }
    let _ = writeln!(out, "{indent}{:<14} {address} {who}, {health}", "endpoint");
    steps(out, &endpoint.steps, depth + 1);
    answer(out, &endpoint.answer, depth + 1);
}

fn steps(out: &mut String, steps: &[Step], depth: usize) {
    let indent = "  ".repeat(depth);
    for step in steps {
        let Step { stage, name, details, .. } = step;
        let _ = write!(out, "{indent}{stage:<14} {BOLD}{name}{BOLD:#}");
        if !details.is_empty() {
            let _ = write!(out, "; {}", details.join("; "));
        }
        let _ = writeln!(out, "{}", place(step.origin.as_ref()));
        for miss in step.passed_over.iter().filter(|miss| !miss.why.iter().any(|why| why == LESS)) {
            let why = miss.why.join("; ");
            let place = place(miss.origin.as_ref());
            let _ = writeln!(out, "{indent}{:<14} {DIM}not {}: {why}{DIM:#}{place}", "", miss.name);
        }
    }
}

fn place(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |Origin { object, file, line }| {
        format!("  {DIM}[{object}, {file}:{line}]{DIM:#}")
    })
}

fn answer(out: &mut String, answer: &Answer, depth: usize) {
    let style = if answer.served { GOOD } else { BAD };
    let status = answer.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let flags = match answer.response_flags.as_str() {
        "-" => String::new(),
        flags => format!(" {flags}"),
    };
    let word = match answer.status {
        _ if answer.served => "served",
        Some(..400) => "answered by the proxy",
        _ => "not served",
    };
    let indent = "  ".repeat(depth);
    let _ = writeln!(out, "{indent}{style}=> {status}{flags}{style:#} {word}: {}", answer.reason);
}
