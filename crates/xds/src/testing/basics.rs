//! Numbers, text, containers, matchers and metadata.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::{Arbitrary, Entropy, arbitrary_enum, arbitrary_struct};
use crate::{
    Address, BindConfig, Denominator, FractionalPercent, HeaderMatchKind, HeaderMatcher, Locality,
    Metadata, NameInfo, NameTable, Node, Opaque, QueryParameterMatcher, RegexMatchAndSubstitute,
    SocketOption, StringMatcher, StringPattern, TcpKeepalive, Value,
};

macro_rules! arbitrary_numbers {
    ($($number:ident),*) => {$(
        impl Arbitrary for $number {
            fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
                match entropy.index(4) {
                    0 => $number::from(0u8),
                    1 => $number::MAX,
                    _ => $number::from_le_bytes(std::array::from_fn(|_| entropy.byte())),
                }
            }
        }
    )*};
}
arbitrary_numbers!(u16, u32, u64, i64);

impl Arbitrary for bool {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.byte() % 2 == 1
    }
}

impl Arbitrary for String {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let alphabet = ["a", "b", "Z", "0", ".", "*", "/", "|", "_", "%", "\u{e9}", "\n", "\u{0}"];
        let length = entropy.index(6);
        (0..length).map(|_| entropy.pick(&alphabet)).collect()
    }
}

impl<T: Arbitrary> Arbitrary for Option<T> {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.any::<bool>().then(|| entropy.any())
    }
}

impl<T: Arbitrary> Arbitrary for Box<T> {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        Self::new(entropy.any())
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let count = entropy.index(3);
        (0..count).map(|_| entropy.any()).collect()
    }
}

impl Arbitrary for u8 {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.byte()
    }
}

impl<K: Arbitrary + Ord, V: Arbitrary> Arbitrary for BTreeMap<K, V> {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let count = entropy.index(3);
        (0..count).map(|_| (entropy.any(), entropy.any())).collect()
    }
}

impl Arbitrary for Duration {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let seconds: u32 = entropy.any();
        let nanos: u32 = entropy.any();
        Self::new(seconds.into(), nanos % 1_000_000_000)
    }
}

impl Arbitrary for IpAddr {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        match entropy.any() {
            false => Self::from(std::array::from_fn::<u8, 4, _>(|_| entropy.byte())),
            true => Self::from(std::array::from_fn::<u8, 16, _>(|_| entropy.byte())),
        }
    }
}

impl Arbitrary for IpNet {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let ip: IpAddr = entropy.any();
        let longest = if ip.is_ipv4() { 33 } else { 129 };
        let length = u8::try_from(entropy.index(longest)).unwrap_or_default();
        Self::new(ip, length).unwrap_or_else(|_| ip.into())
    }
}

arbitrary_enum! { Address:
    |e| Address::Socket { ip: e.any(), port: e.any() },
    |e| Address::Hostname { host: format!("{}.example", e.any::<String>()), port: e.any() },
    |e| Address::Pipe(e.any()),
}
arbitrary_struct! { TcpKeepalive { probes, time, interval } }
arbitrary_struct! { BindConfig { source_address, socket_options } }
arbitrary_struct! { SocketOption { description, level, name, value } }
arbitrary_struct! { Locality { region, zone, sub_zone } }

impl Arbitrary for Value {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.recurse(
            4,
            &[
                |_| Value::Null,
                |e| Value::Bool(e.any()),
                |e| Value::number(f64::from(e.any::<u32>()) / 8.0),
                |e| Value::String(e.any()),
                |e| Value::List(e.any()),
                |e| Value::Struct(e.any()),
            ],
        )
    }
}

impl Arbitrary for Metadata {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        Self(entropy.any())
    }
}

arbitrary_struct! { Opaque {
    type_url = |e| format!("type.googleapis.com/unknown.{}", e.any::<String>()),
    value,
} }

arbitrary_struct! { StringMatcher { pattern, ignore_case } }
arbitrary_enum! { StringPattern:
    |e| StringPattern::Exact(e.any()),
    |e| StringPattern::Prefix(e.any()),
    |e| StringPattern::Suffix(e.any()),
    |e| StringPattern::Contains(e.any()),
    |e| StringPattern::Regex(e.text()),
}
arbitrary_struct! { HeaderMatcher {
    name = |e| e.text(),
    kind, invert, treat_missing_as_empty,
} }
arbitrary_enum! { HeaderMatchKind:
    |e| HeaderMatchKind::Present(e.any()),
    |e| HeaderMatchKind::String(e.any()),
    |e| HeaderMatchKind::Range { start: e.any(), end: e.any() },
}
arbitrary_struct! { QueryParameterMatcher { name, value } }
arbitrary_struct! { RegexMatchAndSubstitute { regex = |e| e.text(), substitution } }
arbitrary_struct! { FractionalPercent { numerator, denominator } }
arbitrary_enum! { Denominator:
    |_| Denominator::Hundred, |_| Denominator::TenThousand, |_| Denominator::Million,
}

arbitrary_struct! { NameTable { table } }
arbitrary_struct! { NameInfo { ips, registry, short_name, namespace } }
arbitrary_struct! { Node {
    id, cluster, metadata, locality, user_agent_name, user_agent_version, extensions,
    client_features,
} }
