//! Cipher suites of TLS 1.2 by their OpenSSL names, as Envoy's and Istio's resources write them.
//!
//! Those of TLS 1.3 cannot be chosen, as in OpenSSL and BoringSSL.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs::cipher_suite as suite};
use rustls::{CipherSuite, SupportedCipherSuite};

use super::Versions;

/// The suites that rustls has. It has none without forward secrecy, and none with CBC.
static NAMED: [(&str, SupportedCipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// A choice of cipher suites for TLS 1.2; the default is the mesh's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ciphers {
    chosen: Option<Vec<CipherSuite>>,
}

impl Ciphers {
    /// The suites with these OpenSSL names; no names: the default. Names that are not known are
    /// left out, so that a choice never allows more than it says: when none is left, TLS 1.2 is
    /// not spoken.
    pub fn new(names: &[String]) -> Self {
        let known = |name: &String| {
            // Envoy writes groups of equal preference as `[A|B]`.
            let parts = name.trim_matches(['[', ']']).split('|').map(str::to_owned);
            let found = parts.filter_map(|part| {
                NAMED.iter().find(|(known, _)| *known == part).map(|(_, suite)| suite.suite())
            });
            found.collect::<Vec<_>>()
        };
        let chosen = (!names.is_empty()).then(|| names.iter().flat_map(known).collect());
        Self { chosen }
    }

    /// The provider with no other suites of TLS 1.2 than the chosen ones, in their order.
    pub(super) fn narrow(&self, provider: Arc<CryptoProvider>) -> Arc<CryptoProvider> {
        let Some(chosen) = &self.chosen else { return provider };
        let mut narrowed = CryptoProvider::clone(&provider);
        narrowed.cipher_suites.retain(|suite| suite.tls13().is_some());
        let suites = chosen.iter().filter_map(|wanted| {
            NAMED.iter().find(|(_, suite)| suite.suite() == *wanted).map(|(_, suite)| *suite)
        });
        narrowed.cipher_suites.extend(suites);
        Arc::new(narrowed)
    }

    /// The versions that have a suite.
    pub(super) fn usable(&self, versions: Versions) -> Versions {
        let none = self.chosen.as_ref().is_some_and(Vec::is_empty);
        if none && versions == Versions::Tls12And13 { Versions::Tls13 } else { versions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(names: &[&str]) -> Vec<CipherSuite> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let provider = Ciphers::new(&names).narrow(super::super::provider());
        let tls12 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_none());
        tls12.map(SupportedCipherSuite::suite).collect()
    }

    #[test]
    fn only_what_is_named_is_spoken() {
        assert_eq!(suites(&[]).len(), 4);
        assert_eq!(
            suites(&["ECDHE-RSA-AES128-GCM-SHA256", "AES128-SHA"]),
            [CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
        );
        assert_eq!(
            suites(&["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]"]).len(),
            2
        );
        assert!(suites(&["AES128-SHA"]).is_empty());
        let none = Ciphers::new(&["AES128-SHA".to_owned()]);
        assert_eq!(none.usable(Versions::Tls12And13), Versions::Tls13);
        assert_eq!(none.usable(Versions::Tls12), Versions::Tls12);
    }
}
