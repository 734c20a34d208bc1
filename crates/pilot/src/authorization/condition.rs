//! The attributes that rules name, and what is known of each.

/// An attribute of a `when` condition, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute<'a> {
    /// A request's header.
    RequestHeader(&'a str),
    /// The direct peer's address.
    SourceIp,
    /// The client's address as headers tell it.
    RemoteIp,
    /// The peer's namespace.
    SourceNamespace,
    /// The peer's identity.
    SourcePrincipal,
    /// The peer's service account.
    SourceServiceAccount,
    /// The peer's trust domain.
    SourceTrustDomain,
    /// The destination's address.
    DestinationIp,
    /// The destination's port.
    DestinationPort,
    /// The TLS server name.
    ConnectionSni,
    /// Not supported: claims of tokens, filters' metadata, or not known at all.
    Unsupported,
}

impl<'a> Attribute<'a> {
    /// From a condition's key.
    pub(crate) fn parse(key: &'a str) -> Self {
        let header = key.strip_prefix("request.headers[").and_then(|rest| rest.strip_suffix(']'));
        match (header, key) {
            (Some(name), _) if !name.is_empty() => Self::RequestHeader(name),
            (_, "source.ip") => Self::SourceIp,
            (_, "remote.ip") => Self::RemoteIp,
            (_, "source.namespace") => Self::SourceNamespace,
            (_, "source.principal") => Self::SourcePrincipal,
            (_, "source.serviceAccount") => Self::SourceServiceAccount,
            (_, "source.trustDomain") => Self::SourceTrustDomain,
            (_, "destination.ip") => Self::DestinationIp,
            (_, "destination.port") => Self::DestinationPort,
            (_, "connection.sni") => Self::ConnectionSni,
            _ => Self::Unsupported,
        }
    }
}
