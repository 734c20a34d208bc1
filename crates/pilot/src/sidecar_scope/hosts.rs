//! The hosts of an egress listener: `namespace/name` entries, some of which leave out.

use config::host;

/// What a listener's hosts bring in and leave out.
#[derive(Debug)]
pub(super) struct Hosts {
    included: Vec<Entry>,
    excluded: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// None: every namespace.
    namespace: Option<String>,
    name: String,
}

impl Entry {
    fn is_in(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|own| own == namespace)
    }
}

impl Hosts {
    /// Everything.
    pub(super) fn all() -> Self {
        let all = Entry { namespace: None, name: "*".to_owned() };
        Self { included: vec![all], excluded: Vec::new() }
    }

    /// As written for workloads in `own`; `~/*` brings in nothing, as it leaves out everything.
    pub(super) fn new(texts: &[String], own: &str) -> Self {
        let mut hosts = Self { included: Vec::new(), excluded: Vec::new() };
        for text in texts {
            let (namespace, name) = text.split_once('/').unwrap_or(("*", text));
            let (list, namespace) = match namespace.strip_prefix('~') {
                Some(rest) => (&mut hosts.excluded, rest),
                None => (&mut hosts.included, namespace),
            };
            let namespace = match namespace {
                "" | "*" => None,
                "." => Some(own.to_owned()),
                name => Some(name.to_owned()),
            };
            list.push(Entry { namespace, name: name.to_ascii_lowercase() });
        }
        hosts
    }

    /// Whether a service, or a rule's host, in a namespace is brought in.
    pub(super) fn selects(&self, namespace: &str, hostname: &str) -> bool {
        let included = self.included.iter().filter(|entry| entry.is_in(namespace)).any(|entry| {
            if host::is_wildcard(&entry.name) || host::is_wildcard(hostname) {
                host::overlaps(&entry.name, hostname)
            } else {
                entry.name == hostname
            }
        });
        let mut excluded = self.excluded.iter().filter(|entry| entry.is_in(namespace));
        included && !excluded.any(|entry| host::covers(&entry.name, hostname))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(texts: &[&str]) -> Hosts {
        Hosts::new(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), "own")
    }

    #[test]
    fn namespaces_and_names() {
        let hosts = hosts(&["./*", "back/stock.back.svc.cluster.local", "*/*.example.com"]);
        assert!(hosts.selects("own", "a.own.svc.cluster.local"));
        assert!(hosts.selects("back", "stock.back.svc.cluster.local"));
        assert!(!hosts.selects("back", "other.back.svc.cluster.local"));
        assert!(hosts.selects("anywhere", "api.example.com"));
        assert!(hosts.selects("anywhere", "*.api.example.com"));
        assert!(!hosts.selects("anywhere", "example.com"));
    }

    #[test]
    fn what_is_left_out_is_out() {
        let hosts = hosts(&["*/*", "~back/*", "~/secret.example.com"]);
        assert!(hosts.selects("own", "a"));
        assert!(!hosts.selects("back", "a"));
        assert!(!hosts.selects("own", "secret.example.com"));
        assert!(!self::hosts(&["~/*"]).selects("own", "a"));
    }
}
