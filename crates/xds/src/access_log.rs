//! Access logs (`envoy.config.accesslog.v3`).

use crate::Struct;

/// A log of requests or connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// Where lines go: a path, such as `/dev/stdout`.
    pub path: String,
    /// What a line looks like.
    pub format: AccessLogFormat,
    /// Which requests are logged.
    pub filter: Option<AccessLogFilter>,
}

/// The form of a line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccessLogFormat {
    /// Envoy's default text format.
    Default,
    /// Text with command operators such as `%START_TIME%`; a final newline is part of it.
    Text(String),
    /// One JSON object a line, whose strings hold command operators.
    Json(Struct),
}

/// Which requests are logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccessLogFilter {
    /// Those with one of these response flags, such as `NR`; empty: any flag.
    ResponseFlags(Vec<String>),
    /// Those with a status code of at least this.
    StatusCodeAtLeast(u32),
    /// Those with a status code of at most this.
    StatusCodeAtMost(u32),
    /// All must hold.
    And(Vec<AccessLogFilter>),
    /// One must hold.
    Or(Vec<AccessLogFilter>),
}
