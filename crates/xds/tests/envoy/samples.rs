//! Resources that between them use every value, with sensible content.

mod clusters;
mod listeners;
mod routes;

use std::time::Duration;

use xds::{
    CertificateValidation, DownstreamTls, Metadata, Resource, SanType, Secret, SecretKind,
    SecretSource, StringMatcher, SubjectAltNameMatcher, TlsContext, TlsParams, TlsVersion,
    TrustedCa, UpstreamTls, Value,
};

pub(crate) fn all() -> Vec<Resource> {
    let clusters = clusters::all().into_iter().map(|cluster| Resource::Cluster(Box::new(cluster)));
    let listeners =
        listeners::all().into_iter().map(|listener| Resource::Listener(Box::new(listener)));
    clusters.chain(listeners).chain([trust_bundle()]).collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn istio_metadata() -> Metadata {
    let config = Value::from("/apis/networking.istio.io/v1/namespaces/ns/virtual-service/x");
    let fields = [("config".to_owned(), config), ("weight".to_owned(), Value::number(1.5))];
    Metadata([("istio".to_owned(), fields.into())].into())
}

fn tls_context(alpn: &[&str]) -> TlsContext {
    TlsContext {
        params: TlsParams {
            min_version: Some(TlsVersion::V1_2),
            max_version: Some(TlsVersion::V1_3),
            cipher_suites: vec!["ECDHE-ECDSA-AES256-GCM-SHA384".to_owned()],
        },
        certificates: vec![SecretSource::agent("default")],
        validation: Some(CertificateValidation {
            trusted_ca: TrustedCa::Secret(SecretSource::agent("ROOTCA")),
            match_subject_alt_names: vec![
                SubjectAltNameMatcher {
                    san_type: SanType::Uri,
                    matcher: StringMatcher::exact("spiffe://cluster.local/ns/ns/sa/sa"),
                },
                SubjectAltNameMatcher {
                    san_type: SanType::Dns,
                    matcher: StringMatcher::suffix(".example.com"),
                },
            ],
        }),
        alpn: alpn.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn upstream_tls() -> UpstreamTls {
    UpstreamTls {
        common: tls_context(&["istio-peer-exchange", "istio", "h2"]),
        sni: "outbound_.80_._.reviews.ns.svc.cluster.local".to_owned(),
    }
}

fn downstream_tls() -> DownstreamTls {
    DownstreamTls { common: tls_context(&["h2", "http/1.1"]), require_client_certificate: true }
}

fn trust_bundle() -> Resource {
    let kind =
        SecretKind::ValidationContext { trusted_ca: b"-----BEGIN CERTIFICATE-----\n".into() };
    Resource::Secret(Secret { name: "bundle".to_owned(), kind })
}
