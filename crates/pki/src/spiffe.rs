//! SPIFFE identities as Istio writes them: `spiffe://<trust domain>/ns/<namespace>/sa/<account>`.
//!
//! The parser is strict: what it accepts is printed again byte for byte, so a name can be compared
//! as text everywhere (SPIFFE ID specification, sections 2.1 to 2.3).

use std::fmt;
use std::str::FromStr;

const SCHEME: &str = "spiffe://";
const MAX_BYTES: usize = 2048;
const MAX_TRUST_DOMAIN: usize = 255;
const MAX_SEGMENT: usize = 253;

/// The identity of a workload: which mesh, namespace and service account it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    trust_domain: String,
    namespace: String,
    service_account: String,
}

/// Why a text is no SPIFFE identity of a workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Longer than the 2048 bytes that the SPIFFE specification allows.
    #[error("identity is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// The text does not start with `spiffe://`.
    #[error("identity does not start with spiffe://")]
    Scheme,
    /// Not of the form `/ns/<namespace>/sa/<service account>` after the trust domain.
    #[error("identity is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<account>")]
    Shape,
    /// The trust domain has a byte outside `[a-z0-9._-]`, or is empty or too long.
    #[error("trust domain {0:?} must be 1 to 255 of a-z, 0-9, '.', '-' and '_'")]
    TrustDomain(String),
    /// A path segment has a byte outside `[A-Za-z0-9._-]`, or is empty, too long, `.` or `..`.
    #[error("{what} {value:?} must be 1 to 253 of letters, digits, '.', '-' and '_'")]
    Segment {
        /// `namespace` or `service account`.
        what: &'static str,
        /// The text found there.
        value: String,
    },
}

impl SpiffeId {
    /// Makes an identity of its three parts.
    ///
    /// # Errors
    /// When a part has a byte that SPIFFE does not allow.
    pub fn new(
        trust_domain: &str,
        namespace: &str,
        service_account: &str,
    ) -> Result<Self, SpiffeIdError> {
        validate_trust_domain(trust_domain)?;
        validate_segment("namespace", namespace)?;
        validate_segment("service account", service_account)?;
        let id = Self {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
        };
        let length = SCHEME.len() + "/ns//sa/".len() + trust_domain.len() + namespace.len();
        if length + service_account.len() > MAX_BYTES {
            Err(SpiffeIdError::TooLong)
        } else {
            Ok(id)
        }
    }

    /// The trust domain, such as `cluster.local`.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The Kubernetes namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Kubernetes service account.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "{SCHEME}{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let mut parts = rest.split('/');
        let mut next = || parts.next().ok_or(SpiffeIdError::Shape);
        let (trust_domain, ns, namespace, sa, account) =
            (next()?, next()?, next()?, next()?, next()?);
        if ns != "ns" || sa != "sa" || parts.next().is_some() {
            return Err(SpiffeIdError::Shape);
        }
        Self::new(trust_domain, namespace, account)
    }
}

/// Checks the bytes of a trust domain.
///
/// # Errors
/// When it is empty, longer than 255 bytes, or has a byte outside `[a-z0-9._-]`.
pub fn validate_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > MAX_TRUST_DOMAIN || !name.bytes().all(allowed) {
        return Err(SpiffeIdError::TrustDomain(name.to_owned()));
    }
    Ok(())
}

fn validate_segment(what: &'static str, value: &str) -> Result<(), SpiffeIdError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let dots = value == "." || value == "..";
    if value.is_empty() || value.len() > MAX_SEGMENT || dots || !value.bytes().all(allowed) {
        return Err(SpiffeIdError::Segment { what, value: value.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parsed() {
        let text = "spiffe://cluster.local/ns/bookinfo/sa/reviews";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!((id.namespace(), id.service_account()), ("bookinfo", "reviews"));
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        for text in [
            "",
            "spiffe://",
            "spiffe://cluster.local",
            "spiffe://cluster.local/ns/a/sa/",
            "spiffe://cluster.local/ns//sa/b",
            "spiffe:///ns/a/sa/b",
            "SPIFFE://cluster.local/ns/a/sa/b",
            "spiffe://Cluster.local/ns/a/sa/b",
            "spiffe://cluster.local/ns/a/sa/b/",
            "spiffe://cluster.local/ns/a/sa/b/c",
            "spiffe://cluster.local//ns/a/sa/b",
            "spiffe://cluster.local/ns/../sa/b",
            "spiffe://cluster.local/ns/a/sa/.",
            "spiffe://cluster.local/ns/a%2f/sa/b",
            "spiffe://cluster.local/ns/a/sa/b?x",
            "spiffe://cluster.local/ns/a/sa/b#x",
            "spiffe://u@cluster.local/ns/a/sa/b",
            "spiffe://cluster.local:80/ns/a/sa/b",
            "spiffe://cluster.local/ns/a/sa/b\0",
            "spiffe://cluster.local\0.evil/ns/a/sa/b",
            "spiffe://cluster.local/ns/ä/sa/b",
            " spiffe://cluster.local/ns/a/sa/b",
            "spiffe://cluster.local/sa/a/ns/b",
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn bounds_its_length() {
        let long = "a".repeat(254);
        assert!(SpiffeId::new("td", &long, "sa").is_err());
        assert!(format!("spiffe://td/ns/a/sa/{}", "b".repeat(3000)).parse::<SpiffeId>().is_err());
    }
}
