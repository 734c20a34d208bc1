//! What explaining finds: the steps of a call and its end, in the form that programs read. The
//! names of the fields are stable.

use serde::Serialize;

/// A whole call.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Journey {
    pub(crate) from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gateway: Option<String>,
    pub(crate) method: String,
    pub(crate) url: String,
    /// The decisions of the first proxy: the client's, or the gateway's.
    #[serde(flatten)]
    pub(crate) path: Path,
    /// The cluster that most calls like this go to.
    pub(crate) cluster: Option<String>,
    pub(crate) subset: Option<String>,
    #[serde(flatten)]
    pub(crate) answer: Answer,
    /// All clusters that calls like this go to, by weight.
    pub(crate) destinations: Vec<Destination>,
    /// The steps at the first proxy.
    pub(crate) steps: Vec<Step>,
}

/// What one proxy chose on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Path {
    pub(crate) listener: Option<String>,
    pub(crate) filter_chain: Option<String>,
    pub(crate) route_config: Option<String>,
    pub(crate) virtual_host: Option<String>,
    pub(crate) route: Option<String>,
}

/// How a call ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// The HTTP status; 200 when the destination gets the request; none where bytes are no HTTP or
    /// nobody answers.
    pub(crate) status: Option<u16>,
    /// Envoy's response flags; `-`: none.
    pub(crate) response_flags: String,
    /// Whether the destination gets it.
    pub(crate) served: bool,
    /// Why, in words.
    pub(crate) reason: String,
}

impl Answer {
    pub(crate) fn served(status: Option<u16>, reason: impl Into<String>) -> Self {
        Self { status, response_flags: "-".to_owned(), served: true, reason: reason.into() }
    }

    pub(crate) fn refused(
        status: impl Into<Option<u16>>,
        flags: &str,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            status: status.into(),
            response_flags: flags.to_owned(),
            served: false,
            reason: reason.into(),
        }
    }
}

/// One of the clusters that a call may go to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Destination {
    pub(crate) cluster: String,
    pub(crate) subset: Option<String>,
    /// Its share of calls, in percent.
    pub(crate) percent: f64,
    pub(crate) endpoints: Vec<Endpoint>,
    #[serde(flatten)]
    pub(crate) answer: Answer,
    pub(crate) steps: Vec<Step>,
}

/// One endpoint of a cluster.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    pub(crate) workload: Option<String>,
    pub(crate) health: String,
    /// `mtls`, `tls` or `plaintext`.
    pub(crate) transport: String,
    /// The decisions of the destination's proxy.
    pub(crate) inbound: Option<Path>,
    #[serde(flatten)]
    pub(crate) answer: Answer,
    pub(crate) steps: Vec<Step>,
}

/// One decision.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// What kind of decision: `name`, `listener`, `filter_chain`, `policy`, `route_config`,
    /// `virtual_host`, `route`, `fault`, `cluster`, `transport`, `rewrite`, `path`, `cors`,
    /// `diagnostic`, `answer`.
    pub(crate) stage: &'static str,
    /// What was chosen.
    pub(crate) name: String,
    /// More about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    /// The object that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
    /// What came before it and did not match, with the condition that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) passed_over: Vec<Miss>,
}

impl Step {
    pub(crate) fn new(stage: &'static str, name: impl Into<String>) -> Self {
        Self {
            stage,
            name: name.into(),
            details: Vec::new(),
            origin: None,
            passed_over: Vec::new(),
        }
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    pub(crate) fn from(mut self, origin: Option<Origin>) -> Self {
        self.origin = origin;
        self
    }

    pub(crate) fn past(mut self, misses: Vec<Miss>) -> Self {
        self.passed_over = misses;
        self
    }
}

/// The object that decided, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Origin {
    pub(crate) object: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// What did not match.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Miss {
    pub(crate) name: String,
    pub(crate) why: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
}
