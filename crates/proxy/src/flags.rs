//! Envoy's response flags: why a request or connection did not go as it should.

use std::fmt;

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Flags(u32);

macro_rules! flags {
    ($($constant:ident = $bit:literal, $short:literal, $long:literal;)*) => {
        impl Flags {
            $(pub(crate) const $constant: Self = Self(1 << $bit);)*
            const NAMES: &[(Self, &'static str, &'static str)] =
                &[$((Self::$constant, $short, $long),)*];
        }
    };
}

flags! {
    NO_HEALTHY_UPSTREAM = 0, "UH", "NoHealthyUpstream";
    RETRY_LIMIT_EXCEEDED = 1, "URX", "UpstreamRetryLimitExceeded";
    UPSTREAM_CONNECTION_FAILURE = 2, "UF", "UpstreamConnectionFailure";
    UPSTREAM_REQUEST_TIMEOUT = 3, "UT", "UpstreamRequestTimeout";
    UPSTREAM_REMOTE_RESET = 4, "UR", "UpstreamRemoteReset";
    UPSTREAM_CONNECTION_TERMINATION = 5, "UC", "UpstreamConnectionTermination";
    UPSTREAM_OVERFLOW = 6, "UO", "UpstreamOverflow";
    NO_ROUTE = 7, "NR", "NoRouteFound";
    DELAY_INJECTED = 8, "DI", "DelayInjected";
    FAULT_INJECTED = 9, "FI", "FaultInjected";
    DOWNSTREAM_TERMINATION = 10, "DC", "DownstreamConnectionTermination";
    STREAM_IDLE_TIMEOUT = 11, "SI", "StreamIdleTimeout";
    DOWNSTREAM_PROTOCOL_ERROR = 12, "DPE", "DownstreamProtocolError";
    UPSTREAM_PROTOCOL_ERROR = 13, "UPE", "UpstreamProtocolError";
    NO_CLUSTER = 14, "NC", "NoClusterFound";
    DURATION_TIMEOUT = 15, "DT", "DurationTimeout";
    UNAUTHORIZED = 16, "UAEX", "UnauthorizedExternalService";
}

impl Flags {
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The flag of a short name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, short, _)| *short == name).map(|(flag, ..)| *flag)
    }

    /// Long names, joined by commas; `-` when there is none.
    pub(crate) fn long(self) -> String {
        self.join(|(_, _, long)| long)
    }

    fn join(self, name: impl Fn(&(Self, &'static str, &'static str)) -> &'static str) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        let set = Self::NAMES.iter().filter(|(flag, ..)| self.contains(*flag));
        set.map(name).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.join(|(_, short, _)| short))
    }
}
