//! What a user can say on the command line or in the environment of one service.

use std::net::IpAddr;

/// Which of the four services this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// The page that people see; calls `details` and `reviews`.
    Productpage,
    /// Facts about the book.
    Details,
    /// Stars by reviewer.
    Ratings,
    /// What readers wrote; v2 and v3 call `ratings`.
    Reviews,
}

impl Service {
    /// The name of the service, as in its Kubernetes Service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::Ratings => "ratings",
            Self::Reviews => "reviews",
        }
    }
}

/// The version of a service. Only `reviews` behaves differently by version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Version {
    /// Reviews without stars; does not call `ratings`.
    V1,
    /// Black stars.
    V2,
    /// Red stars.
    V3,
}

impl Version {
    /// The value of the pod's `version` label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    /// The colour of the stars, `None` where no ratings are shown.
    pub(crate) fn star_color(self) -> Option<&'static str> {
        match self {
            Self::V1 => None,
            Self::V2 => Some("black"),
            Self::V3 => Some("red"),
        }
    }
}

/// The arguments of one service.
#[derive(Debug, Clone, clap::Args)]
#[command(disable_version_flag = true)]
pub struct Options {
    /// The service to run
    #[arg(value_enum)]
    pub service: Service,

    /// The version to be
    #[arg(long, value_enum, env = "SERVICE_VERSION", default_value = "v1")]
    pub version: Version,

    /// The address to listen on
    #[arg(long, default_value = "0.0.0.0")]
    pub address: IpAddr,

    /// The port to listen on; 0 lets the system choose
    #[arg(long, default_value_t = 9080)]
    pub port: u16,

    /// The name of this replica, shown in answers
    #[arg(long, env = "HOSTNAME", default_value = "")]
    pub pod_name: String,

    /// Where the other services are
    #[command(flatten)]
    pub upstreams: Upstreams,
}

/// Where the other services are. The defaults are their Kubernetes names.
#[derive(Debug, Clone, clap::Args)]
pub struct Upstreams {
    /// Host of the details service
    #[arg(long, env = "DETAILS_HOST", default_value = "details")]
    pub details_host: String,
    /// Port of the details service
    #[arg(long, env = "DETAILS_PORT", default_value_t = 9080)]
    pub details_port: u16,
    /// Host of the reviews service
    #[arg(long, env = "REVIEWS_HOST", default_value = "reviews")]
    pub reviews_host: String,
    /// Port of the reviews service
    #[arg(long, env = "REVIEWS_PORT", default_value_t = 9080)]
    pub reviews_port: u16,
    /// Host of the ratings service
    #[arg(long, env = "RATINGS_HOST", default_value = "ratings")]
    pub ratings_host: String,
    /// Port of the ratings service
    #[arg(long, env = "RATINGS_PORT", default_value_t = 9080)]
    pub ratings_port: u16,
}

impl Upstreams {
    /// The `host:port` of the details service.
    pub(crate) fn details(&self) -> String {
        format!("{}:{}", self.details_host, self.details_port)
    }

    /// The `host:port` of the reviews service.
    pub(crate) fn reviews(&self) -> String {
        format!("{}:{}", self.reviews_host, self.reviews_port)
    }

    /// The `host:port` of the ratings service.
    pub(crate) fn ratings(&self) -> String {
        format!("{}:{}", self.ratings_host, self.ratings_port)
    }
}
