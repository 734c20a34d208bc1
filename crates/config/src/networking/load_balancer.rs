//! How a DestinationRule chooses among endpoints.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::value::{Percentage, duration};

/// Load balancing: `simple` or `consistent_hash`, and locality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerSettings {
    /// Excludes `consistent_hash`; absent: LEAST_REQUEST.
    pub simple: Option<SimpleLb>,
    /// By a property of the request.
    pub consistent_hash: Option<ConsistentHashLb>,
    /// Replaces the mesh's setting; excludes `zone_aware_lb_setting`.
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    /// Zone-aware routing.
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
    /// Deprecated: the length of `warmup`.
    #[serde(deserialize_with = "duration::option")]
    pub warmup_duration_secs: Option<Duration>,
    /// Give new endpoints less at first.
    pub warmup: Option<WarmupConfiguration>,
}

/// Algorithms without parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// The default: LEAST_REQUEST.
    #[default]
    Unspecified,
    /// Deprecated name of LEAST_REQUEST.
    LeastConn,
    /// At random.
    Random,
    /// The address that the client asked for.
    Passthrough,
    /// In turn.
    RoundRobin,
    /// The one of two that has fewer requests.
    LeastRequest,
}

/// Consistent hashing on exactly one property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHashLb {
    /// A header.
    pub http_header_name: Option<String>,
    /// A cookie, made when absent.
    pub http_cookie: Option<HttpCookie>,
    /// The client's address.
    pub use_source_ip: Option<bool>,
    /// A query parameter.
    pub http_query_parameter_name: Option<String>,
    /// The default algorithm.
    pub ring_hash: Option<RingHash>,
    /// Excludes `ring_hash`.
    pub maglev: Option<MagLev>,
    /// Deprecated: `ring_hash.minimum_ring_size`.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie to hash on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Name.
    pub name: String,
    /// Path.
    pub path: String,
    /// Life; 0: a session cookie.
    #[serde(deserialize_with = "duration::option")]
    pub ttl: Option<Duration>,
    /// More attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CookieAttribute {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Ring hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Absent or 0: 1024.
    pub minimum_ring_size: Option<u64>,
}

/// Maglev.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MagLev {
    /// Prime below 5,000,011; absent or 0: 65537.
    pub table_size: Option<u64>,
}

/// Locality-aware load balancing: one of the three lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLoadBalancerSetting {
    /// Shares by client's locality.
    pub distribute: Vec<Distribute>,
    /// Region to fail over to.
    pub failover: Vec<Failover>,
    /// Labels in order.
    pub failover_priority: Vec<String>,
    /// Absent: true.
    pub enabled: Option<bool>,
}

/// Shares of calls from one locality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Distribute {
    /// The client's locality, `region/zone/subzone`, `*` at the end.
    pub from: String,
    /// Percent by locality; they add up to 100.
    pub to: BTreeMap<String, u32>,
}

/// A region and the one to fail over to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// Region.
    pub from: String,
    /// Region.
    pub to: String,
}

/// Zone-aware routing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLoadBalancerSetting {
    /// Absent: true.
    pub enabled: Option<bool>,
    /// Region to fail over to.
    pub failover: Vec<Failover>,
    /// Labels in order.
    pub failover_priority: Vec<String>,
    /// Absent: 6.
    pub min_cluster_size: Option<u64>,
}

/// Slow start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WarmupConfiguration {
    /// How long.
    #[serde(deserialize_with = "duration::option")]
    pub duration: Option<Duration>,
    /// Absent: 10 %.
    pub minimum_percent: Option<Percentage>,
    /// Absent: 1.0.
    pub aggression: Option<Aggression>,
}

/// A positive factor, kept in thousandths so that it compares exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggression(u32);

impl Aggression {
    /// The factor.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl<'de> Deserialize<'de> for Aggression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let factor = f64::deserialize(deserializer)?;
        if !(0.001..=1_000_000.0).contains(&factor) {
            return Err(serde::de::Error::custom("must be greater than 0 (and at most 1000000)"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be positive and small above"
        )]
        let thousandths = (factor * 1000.0).round() as u32;
        Ok(Self(thousandths))
    }
}
