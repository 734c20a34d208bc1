//! Names of credentials: what a Gateway or DestinationRule calls a Secret, and the resource of that
//! name that proxies ask the control plane for.

use xds::SecretSource;

/// What a CA's resource name ends with.
pub(crate) const CA_SUFFIX: &str = "-cacert";
/// Before the name of a Secret.
pub(crate) const SECRET: &str = "kubernetes://";
/// The same, with the namespace always written.
pub(crate) const GATEWAY_SECRET: &str = "kubernetes-gateway://";
/// The mesh's own certificates.
const BUILTIN: &str = "builtin://";

/// The source of a certificate with its key; none where the name is of a kind that is not served.
pub(crate) fn source(name: &str) -> Option<SecretSource> {
    if name.starts_with(BUILTIN) {
        return Some(SecretSource::agent("default"));
    }
    resource(name).map(SecretSource::ads)
}

/// The source of the CA that goes with a credential.
pub(crate) fn ca_source(name: &str) -> Option<SecretSource> {
    if name.starts_with(BUILTIN) {
        return Some(SecretSource::agent("ROOTCA"));
    }
    let name = resource(name)?;
    let suffix = if name.ends_with(CA_SUFFIX) { "" } else { CA_SUFFIX };
    Some(SecretSource::ads(format!("{name}{suffix}")))
}

fn resource(name: &str) -> Option<String> {
    if name.starts_with(SECRET) || name.starts_with(GATEWAY_SECRET) {
        return Some(name.to_owned());
    }
    let plain = !name.is_empty() && !name.contains("://");
    plain.then(|| format!("{SECRET}{name}"))
}
