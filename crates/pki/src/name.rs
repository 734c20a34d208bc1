//! Names in certificates: matching subject alternative names, and subjects as RFC 2253 text.

use x509_parser::x509::X509Name;

use crate::PeerIdentity;

/// Which kind of subject alternative name a matcher looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SanKind {
    /// Any kind (Envoy's older `match_subject_alt_names`).
    Any,
    /// URI names, such as SPIFFE identities.
    Uri,
    /// DNS names; a leading `*.` in the certificate stands for exactly one label.
    Dns,
    /// E-mail names.
    Email,
    /// IP addresses in text form.
    Ip,
}

/// How the text of a name is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NameMatch {
    /// The whole name. For DNS names without regard to case, with the certificate's wildcards.
    Exact(String),
    /// The name starts with this.
    Prefix(String),
    /// The name ends with this.
    Suffix(String),
    /// The name has this inside.
    Contains(String),
}

/// One accepted form of a peer's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SanMatcher {
    /// Which names are looked at.
    pub kind: SanKind,
    /// What they must be.
    pub name: NameMatch,
}

impl SanMatcher {
    /// Accepts one exact name of any kind.
    pub fn exact(name: impl Into<String>) -> Self {
        Self { kind: SanKind::Any, name: NameMatch::Exact(name.into()) }
    }

    /// Accepts every SPIFFE identity of a trust domain: the prefix `spiffe://<trust domain>/`.
    pub fn trust_domain(trust_domain: &str) -> Self {
        Self { kind: SanKind::Uri, name: NameMatch::Prefix(format!("spiffe://{trust_domain}/")) }
    }

    /// Whether one of the certificate's names is accepted.
    pub fn matches(&self, peer: &PeerIdentity) -> bool {
        let wants = |kind| self.kind == kind || self.kind == SanKind::Any;
        (wants(SanKind::Uri) && peer.uri_sans.iter().any(|name| self.name.matches(name)))
            || (wants(SanKind::Dns) && peer.dns_sans.iter().any(|name| self.name.matches_dns(name)))
            || (wants(SanKind::Email) && peer.email_sans.iter().any(|name| self.name.matches(name)))
            || (wants(SanKind::Ip)
                && peer.ip_sans.iter().any(|name| self.name.matches(&name.to_string())))
    }
}

impl NameMatch {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(wanted) => name == wanted,
            Self::Prefix(wanted) => name.starts_with(wanted.as_str()),
            Self::Suffix(wanted) => name.ends_with(wanted.as_str()),
            Self::Contains(wanted) => name.contains(wanted.as_str()),
        }
    }

    fn matches_dns(&self, name: &str) -> bool {
        match self {
            Self::Exact(wanted) => dns_matches(name, wanted),
            _ => self.matches(name),
        }
    }
}

/// RFC 6125, 6.4.3: a wildcard is the whole leftmost label and stands for one label.
fn dns_matches(certificate: &str, wanted: &str) -> bool {
    if certificate.eq_ignore_ascii_case(wanted) {
        return true;
    }
    let Some(parent) = certificate.strip_prefix("*.") else { return false };
    let Some((label, rest)) = wanted.split_once('.') else { return false };
    // `*.com` would speak for everyone, and a wildcard in the wanted name is no host.
    let usable = parent.contains('.') && !parent.contains('*') && !label.is_empty();
    usable && !label.contains('*') && rest.eq_ignore_ascii_case(parent)
}

/// RFC 2253: last relative name first, values escaped.
pub(crate) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for rdn in name.iter() {
        let attributes: Vec<String> = rdn
            .iter()
            .map(|attribute| {
                let key = short_name(&attribute.attr_type().to_id_string());
                let value = match attribute.as_str() {
                    Ok(text) => escape(text),
                    Err(_) => format!("#{}", crate::certificate::hex(attribute.as_slice())),
                };
                format!("{key}={value}")
            })
            .collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn short_name(oid: &str) -> String {
    let known = match oid {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    };
    known.to_owned()
}

fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        let edge = (index == 0 && (c == ' ' || c == '#')) || (index == last && c == ' ');
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
            text.push(c);
        } else if c.is_control() {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                text.push_str(&format!("\\{byte:02X}"));
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (certificate, wanted, matches) in [
            ("*.example.com", "a.example.com", true),
            ("*.EXAMPLE.com", "A.example.COM", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.com", "example.com", false),
            ("*", "example", false),
            ("a*.example.com", "ab.example.com", false),
            ("*.*.com", "a.b.com", false),
            ("*.example.com", "*.example.com", true),
            ("a.example.com", "*.example.com", false),
            ("reviews.bookinfo.svc", "reviews.bookinfo.svc", true),
        ] {
            assert_eq!(dns_matches(certificate, wanted), matches, "{certificate} {wanted}");
        }
    }

    #[test]
    fn escapes_what_would_break_out_of_a_header() {
        assert_eq!(escape(" a,b\"c\\;<>+ "), "\\ a\\,b\\\"c\\\\\\;\\<\\>\\+\\ ");
        assert_eq!(escape("#x\r\n"), "\\#x\\0D\\0A");
    }
}
