//! Laws and examples of the session.

mod delta;
mod laws;
mod sotw;

use super::*;
use crate::ResourceType;

const CLUSTERS: &str = ResourceType::Cluster.type_url();
const ENDPOINTS: &str = ResourceType::LoadAssignment.type_url();

/// Resources by name and version, as in `"a=1 b=2"`.
fn resources(text: &str) -> Resources {
    text.split_whitespace()
        .map(|entry| {
            let (name, version) = entry.split_once('=').unwrap();
            (name.to_owned(), encoded(name, version))
        })
        .collect()
}

/// A resource whose bytes tell its name and version.
fn encoded(name: &str, version: &str) -> Encoded {
    let value = format!("{name}={version}").into_bytes();
    Encoded { version: version.to_owned(), any: pb::Any { type_url: String::new(), value } }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
