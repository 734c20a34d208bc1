//! Who is calling, and may it be the proxy that it says it is.
//!
//! Authenticators in Istio's order: the client certificate's SPIFFE identity, then a bearer token.
//! The first that succeeds decides. Headers such as `x-forwarded-client-cert` prove nothing here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use pki::{SpiffeId, TokenVerifier};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

/// What a connection says about its other end. tonic puts it into each request's extensions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// The other end's address, when it has one.
    pub(crate) address: Option<SocketAddr>,
    /// The identity of the client certificate, when one was shown and verified.
    pub(crate) identity: Option<SpiffeId>,
    /// Whether the connection is encrypted. On plaintext, xDS is served without an identity.
    pub(crate) encrypted: bool,
}

/// Tells callers' identities.
#[derive(Clone, Debug)]
pub(crate) struct Authenticator {
    tokens: Option<Arc<TokenVerifier>>,
    trust_domain: String,
}

impl Authenticator {
    pub(crate) fn new(tokens: Option<TokenVerifier>, trust_domain: String) -> Self {
        Self { tokens: tokens.map(Arc::new), trust_domain }
    }

    /// The caller's proved identity.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` with what was tried, when it proved none.
    pub(crate) fn authenticate(
        &self,
        extensions: &Extensions,
        metadata: &MetadataMap,
        now: SystemTime,
    ) -> Result<SpiffeId, Status> {
        if let Some(identity) = extensions.get::<Peer>().and_then(|peer| peer.identity.clone()) {
            return Ok(identity);
        }
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        self.token(header, now).map_err(Status::unauthenticated)
    }

    /// The identity of a bearer token in an `authorization` header.
    pub(crate) fn token(&self, header: Option<&str>, now: SystemTime) -> Result<SpiffeId, String> {
        let header = header.ok_or("no client certificate and no bearer token were presented")?;
        let token = bearer(header).ok_or("the authorization header has no bearer token")?;
        let verifier = self.tokens.as_ref().ok_or("tokens are not accepted here (--token-key)")?;
        let caller = verifier.verify(token, now).map_err(|error| error.to_string())?;
        caller.identity(&self.trust_domain).map_err(|error| error.to_string())
    }

    /// As [`Authenticator::authenticate`], for xDS: on plaintext nobody needs an identity.
    pub(crate) fn authenticate_xds(
        &self,
        extensions: &Extensions,
        metadata: &MetadataMap,
        now: SystemTime,
    ) -> Result<Option<SpiffeId>, Status> {
        let encrypted = extensions.get::<Peer>().is_none_or(|peer| peer.encrypted);
        match self.authenticate(extensions, metadata, now) {
            Ok(identity) => Ok(Some(identity)),
            Err(_) if !encrypted => Ok(None),
            Err(status) => Err(status),
        }
    }
}

/// The scheme is compared without regard to case (RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether an identity may connect as a proxy of this node description: its namespace, and its
/// service account where the node names one, must be the identity's.
///
/// # Errors
/// `PERMISSION_DENIED` with both sides, when they differ.
pub(crate) fn authorize_node(identity: &SpiffeId, node: &xds::Node) -> Result<(), Status> {
    let refuse = |what: &str, theirs: &str, ours: &str| {
        let id = &node.id;
        let text = format!("proxy {id:?} says {what} {theirs:?}, its identity proves {ours:?}");
        Err(Status::permission_denied(text))
    };
    let by_metadata = node.metadata_str("NAMESPACE");
    let by_id = namespace_of_id(&node.id);
    if by_metadata.is_none() && by_id.is_none() {
        return refuse("namespace", "", identity.namespace());
    }
    for namespace in by_metadata.into_iter().chain(by_id) {
        if namespace != identity.namespace() {
            return refuse("namespace", namespace, identity.namespace());
        }
    }
    match node.metadata_str("SERVICE_ACCOUNT") {
        Some(account) if account != identity.service_account() => {
            refuse("service account", account, identity.service_account())
        }
        _ => Ok(()),
    }
}

/// The namespace in `type~ip~pod.namespace~domain`.
fn namespace_of_id(id: &str) -> Option<&str> {
    let name = id.split('~').nth(2)?;
    name.rsplit_once('.').map(|(_, namespace)| namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, namespace: Option<&str>, account: Option<&str>) -> xds::Node {
        let mut node = xds::Node { id: id.into(), ..xds::Node::default() };
        for (key, value) in [("NAMESPACE", namespace), ("SERVICE_ACCOUNT", account)] {
            if let Some(value) = value {
                node.metadata.insert(key.into(), value.to_owned().into());
            }
        }
        node
    }

    #[test]
    fn a_proxy_is_of_its_identitys_namespace() {
        let identity = SpiffeId::new("cluster.local", "a", "sa").unwrap();
        let id = "sidecar~10.0.0.1~pod.x.a~a.svc.cluster.local";
        let other = "sidecar~10.0.0.1~pod.b~b.svc.cluster.local";
        for (node, good) in [
            (node(id, Some("a"), None), true),
            (node(id, Some("a"), Some("sa")), true),
            (node(id, None, None), true),
            (node(id, Some("b"), None), false),
            (node(other, Some("a"), None), false),
            (node(other, None, None), false),
            (node(id, Some("a"), Some("other")), false),
            (node("", None, None), false),
            (node("", Some("a"), None), true),
            (node(id, Some(""), None), false),
        ] {
            assert_eq!(authorize_node(&identity, &node).is_ok(), good, "{node:?}");
        }
    }

    #[test]
    fn reads_bearer_headers() {
        assert_eq!(bearer("Bearer x.y.z"), Some("x.y.z"));
        assert_eq!(bearer("bearer  x"), Some("x"));
        assert_eq!(bearer("Basic x"), None);
        assert_eq!(bearer("Bearer"), None);
    }
}
