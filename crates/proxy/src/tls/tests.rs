use super::*;

fn context(certificates: Vec<xds::SecretSource>) -> xds::TlsContext {
    xds::TlsContext {
        certificates,
        validation: Some(xds::CertificateValidation {
            trusted_ca: xds::TrustedCa::Secret(xds::SecretSource::agent("ROOTCA")),
            match_subject_alt_names: vec![xds::SubjectAltNameMatcher {
                san_type: xds::SanType::Uri,
                matcher: xds::StringMatcher::prefix("spiffe://cluster.local/"),
            }],
        }),
        alpn: vec!["istio-peer-exchange".into(), "h2".into()],
        ..Default::default()
    }
}

#[test]
fn a_context_without_its_secrets_is_closed() {
    let secrets = SecretStore::default();
    let tls = xds::DownstreamTls {
        common: context(vec![xds::SecretSource::agent("default")]),
        require_client_certificate: true,
    };
    let downstream = DownstreamTls::new(&tls, &secrets, false).unwrap();
    assert!(matches!(downstream.config(&[]), Err(TlsError::Missing(name)) if name == "default"));
    let tls = xds::UpstreamTls { common: tls.common, sni: String::new() };
    let upstream = UpstreamTls::new(&tls, &xds::UpstreamHttp::default(), &secrets).unwrap();
    assert!(matches!(upstream.config(None, false), Err(TlsError::Missing(_))));
    assert_eq!(secrets.all().len(), 2);
}

#[test]
fn required_client_certificates_need_a_ca() {
    let mut common = context(vec![xds::SecretSource::agent("default")]);
    common.validation = None;
    let tls = xds::DownstreamTls { common, require_client_certificate: true };
    assert!(DownstreamTls::new(&tls, &SecretStore::default(), false).is_err());
}

#[test]
fn a_secret_of_the_wrong_kind_is_refused_by_name() {
    let secret = xds::Secret {
        name: "default".into(),
        kind: xds::SecretKind::ValidationContext { trusted_ca: b"no pem".to_vec() },
    };
    let problem = SecretValue::new(&secret).unwrap_err();
    assert!(problem.starts_with("validation_context.trusted_ca"), "{problem}");
}

#[test]
fn exchange_of_metadata_is_promised_only_where_it_is_done() {
    let names = ["istio-peer-exchange".to_owned(), "istio".to_owned()];
    assert_eq!(alpn(&names, false), vec![b"istio".to_vec()]);
    assert_eq!(alpn(&names, true).len(), 2);
}

#[test]
fn a_host_loses_its_port() {
    assert_eq!(upstream::host_only("a.b:80"), "a.b");
    assert_eq!(upstream::host_only("[::1]:80"), "::1");
    assert_eq!(upstream::host_only("a.b"), "a.b");
}
