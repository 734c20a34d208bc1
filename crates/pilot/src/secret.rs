//! Secrets as SDS resources: certificates and CAs of gateways, from Kubernetes Secrets.
//!
//! A proxy is served what is in its own namespace only; the caller says which namespace it has
//! proved to be of. Keys are those of Kubernetes' TLS type (`tls.crt`, `tls.key`, `ca.crt`), or
//! Istio's for opaque ones (`cert`, `key`, `cacert`).

use config::Secret;
use xds::SecretKind;

use crate::{
    World,
    gateway::credential::{CA_SUFFIX, GATEWAY_SECRET, SECRET},
};

/// The resource of this name, for a proxy of `namespace`; none when there is no such Secret, when
/// it is of another namespace, or when it lacks what the name asks for.
pub(crate) fn secret(world: &World, namespace: &str, resource: &str) -> Option<xds::Secret> {
    let name = local_name(resource, namespace)?;
    let kind = match name.strip_suffix(CA_SUFFIX) {
        // A Secret that holds the CA alone comes before the one with the certificate.
        Some(base) => [name, base]
            .into_iter()
            .find_map(|name| roots(world.secret(namespace, name)?))
            .map(|trusted_ca| SecretKind::ValidationContext { trusted_ca })?,
        None => certificate(world.secret(namespace, name)?)?,
    };
    Some(xds::Secret { name: resource.to_owned(), kind })
}

/// The Secret's name in `namespace`; none when the resource is of another one.
fn local_name<'a>(resource: &'a str, namespace: &str) -> Option<&'a str> {
    let name = resource.strip_prefix(SECRET).or_else(|| resource.strip_prefix(GATEWAY_SECRET))?;
    match name.split_once('/') {
        Some((owner, name)) => (owner == namespace).then_some(name),
        None => Some(name),
    }
}

fn certificate(secret: &Secret) -> Option<SecretKind> {
    let pair = |chain, key| Some((secret.value(chain)?, secret.value(key)?));
    let (certificate_chain, private_key) =
        pair("tls.crt", "tls.key").or_else(|| pair("cert", "key"))?;
    Some(SecretKind::TlsCertificate { certificate_chain, private_key })
}

fn roots(secret: &Secret) -> Option<Vec<u8>> {
    secret.value("ca.crt").or_else(|| secret.value("cacert")).filter(|roots| !roots.is_empty())
}
