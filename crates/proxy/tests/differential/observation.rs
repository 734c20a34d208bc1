//! What a call has led to, as fields that can be compared.

use std::collections::BTreeMap;

use crate::{
    backend::{Seen, latin1},
    call::{Outcome, Reply},
};

/// Fields of the log's lines; the first is the client's address.
const LOGGED: [&str; 8] =
    ["code", "flags", "details", "cluster", "route", "received", "sent", "attempts"];
/// Headers whose values are never the same.
const VARYING: [&str; 2] = ["x-request-id", "x-envoy-upstream-service-time"];

/// The format of both access logs.
pub(crate) const LOG: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_CLUSTER_RAW% %ROUTE_NAME% %BYTES_RECEIVED% \
%BYTES_SENT% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n";

/// What a call has led to.
#[derive(Debug)]
pub(crate) struct Observation {
    from: String,
    fields: BTreeMap<String, String>,
}

/// A field that is not the same.
pub(crate) struct Difference {
    pub(crate) key: String,
    pub(crate) mine: String,
    pub(crate) theirs: String,
}

impl Observation {
    pub(crate) fn new(outcome: &Outcome, seen: &[Seen]) -> Self {
        let mut this = Self {
            from: outcome.from.map(|from| from.to_string()).unwrap_or_default(),
            fields: BTreeMap::new(),
        };
        let replies = &outcome.replies;
        this.join("answer.status", replies.iter().map(|reply| reply.status.to_string()));
        this.join("answer.body", replies.iter().map(body));
        this.put("answer.rest", latin1(&outcome.rest));
        this.put("answer.end", outcome.end.clone());
        this.headers("answer", replies.iter().map(|reply| &reply.headers));
        this.put("seen.count", seen.len().to_string());
        this.join("seen.line", seen.iter().map(|seen| seen.line.clone()));
        let cut = |seen: &Seen| if seen.whole { "" } else { " (cut)" };
        this.join("seen.body", seen.iter().map(|seen| latin1(&seen.body) + cut(seen)));
        this.headers("seen", seen.iter().map(|seen| &seen.headers));
        this
    }

    /// Adds the lines that the log has of this client.
    pub(crate) fn add_log(&mut self, log: &str) {
        let own = format!("{} ", self.from);
        let lines: Vec<Vec<&str>> = log
            .lines()
            .filter_map(|line| line.strip_prefix(&own))
            .map(|line| line.split(' ').collect())
            .collect();
        self.put("log.count", lines.len().to_string());
        for (index, name) in LOGGED.iter().enumerate() {
            let values = lines.iter().map(|line| line.get(index).map_or("", |value| value));
            self.join(&format!("log.{name}"), values.map(str::to_owned));
        }
    }

    /// The fields that differ. Where the number of answers, requests or lines differs, what is in
    /// them is not compared.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut keys: Vec<&String> = self.fields.keys().chain(other.fields.keys()).collect();
        keys.sort();
        keys.dedup();
        let value = |of: &Self, key: &str| of.fields.get(key).cloned().unwrap_or("-".to_owned());
        let differs = |key: &str| value(self, key) != value(other, key);
        let hidden = |key: &str| {
            [("answer.", "answer.status"), ("seen.", "seen.count"), ("log.", "log.count")]
                .iter()
                .any(|(part, number)| key.starts_with(part) && key != *number && differs(number))
        };
        keys.into_iter()
            .filter(|key| differs(key) && !hidden(key))
            .map(|key| Difference {
                key: key.clone(),
                mine: value(self, key),
                theirs: value(other, key),
            })
            .collect()
    }

    fn headers<'a>(
        &mut self,
        part: &str,
        all: impl Iterator<Item = &'a Vec<(String, String)>> + Clone,
    ) {
        let mut names: Vec<&str> = all.clone().flatten().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names.into_iter().filter(|name| *name != "date") {
            let values = all.clone().map(|headers| {
                let values = headers.iter().filter(|(other, _)| other == name);
                let values = values.map(
                    |(_, value)| {
                        if VARYING.contains(&name) { "*" } else { value.as_str() }
                    },
                );
                values.collect::<Vec<_>>().join(" & ")
            });
            self.join(&format!("{part}.{name}"), values);
        }
    }

    fn join(&mut self, key: &str, values: impl Iterator<Item = String>) {
        self.put(key, values.collect::<Vec<_>>().join(" / "));
    }

    fn put(&mut self, key: &str, value: String) {
        self.fields.insert(key.to_owned(), value);
    }
}

fn body(reply: &Reply) -> String {
    latin1(&reply.body) + if reply.whole { "" } else { " (cut)" }
}

/// Forwarded addresses without the peer's own: Envoy shows its machine's for one on loopback.
fn without_peer(value: &str) -> String {
    let given = |address: &&str| address.starts_with("1.2.3.") || address.starts_with("5.6.7.");
    let all = value.split(',').map(|address| if given(&address) { address } else { "*" });
    all.collect::<Vec<_>>().join(",")
}
