//! TLS, secrets and RBAC.

use super::{Arbitrary, Entropy, arbitrary_enum, arbitrary_struct};
use crate::{
    CertificateValidation, DownstreamTls, Permission, Policy, Principal, Rbac, RbacAction,
    RbacFilter, SanType, Secret, SecretKind, SecretServer, SecretSource, SubjectAltNameMatcher,
    TlsContext, TlsParams, TlsVersion, TrustedCa, UpstreamTls,
};

arbitrary_struct! { DownstreamTls { common, require_client_certificate } }
arbitrary_struct! { UpstreamTls { common, sni } }
arbitrary_struct! { TlsContext { params, certificates, validation, alpn } }
arbitrary_struct! { TlsParams { min_version, max_version, cipher_suites } }
arbitrary_enum! { TlsVersion:
    |_| TlsVersion::V1_2, |_| TlsVersion::V1_3, |_| TlsVersion::V1_0, |_| TlsVersion::V1_1,
}
arbitrary_struct! { SecretSource { name, server } }
arbitrary_enum! { SecretServer:
    |_| SecretServer::Ads,
    |e| SecretServer::Cluster(e.any()),
}
arbitrary_enum! { CertificateValidation:
    |e| CertificateValidation {
        trusted_ca: TrustedCa::Secret(e.any()),
        match_subject_alt_names: e.any(),
    },
    |e| CertificateValidation {
        trusted_ca: TrustedCa::System,
        match_subject_alt_names: e.any(),
    },
    |_| CertificateValidation {
        trusted_ca: TrustedCa::Unverified,
        match_subject_alt_names: Vec::new(),
    },
}
arbitrary_struct! { SubjectAltNameMatcher { san_type, matcher } }
arbitrary_enum! { SanType: |_| SanType::Dns, |_| SanType::Uri, |_| SanType::IpAddress }

arbitrary_struct! { Secret { name, kind } }
arbitrary_enum! { SecretKind:
    |e| SecretKind::TlsCertificate { certificate_chain: e.any(), private_key: e.any() },
    |e| SecretKind::ValidationContext { trusted_ca: e.any() },
}

arbitrary_struct! { RbacFilter { rules, shadow_rules, shadow_rules_stat_prefix, stat_prefix } }
arbitrary_struct! { Rbac { action, policies } }
arbitrary_enum! { RbacAction:
    |_| RbacAction::Allow, |_| RbacAction::Deny, |_| RbacAction::Log,
}
arbitrary_struct! { Policy { permissions = |e| e.some(), principals = |e| e.some() } }

impl Arbitrary for Permission {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.recurse(
            6,
            &[
                |_| Permission::Any,
                |e| Permission::Header(e.any()),
                |e| Permission::UrlPath(e.any()),
                |e| Permission::DestinationIp(e.any()),
                |e| Permission::DestinationPort(e.any()),
                |e| Permission::RequestedServerName(e.any()),
                |e| Permission::And(e.some()),
                |e| Permission::Or(e.some()),
                |e| Permission::Not(e.any()),
            ],
        )
    }
}

impl Arbitrary for Principal {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.recurse(
            6,
            &[
                |_| Principal::Any,
                |e| Principal::Authenticated(e.any()),
                |e| Principal::DirectRemoteIp(e.any()),
                |e| Principal::RemoteIp(e.any()),
                |e| Principal::Header(e.any()),
                |e| Principal::UrlPath(e.any()),
                |e| Principal::And(e.some()),
                |e| Principal::Or(e.some()),
                |e| Principal::Not(e.any()),
            ],
        )
    }
}
