//! Scalar values that Istio's and Kubernetes' APIs share: durations, percentages, string matches,
//! ports by number or name, and the markers for fields that Mizzen reads but does not use.

pub(crate) mod duration;
mod int_or_string;
mod marker;
mod percent;
mod string_match;

pub use duration::parse_duration;
pub use int_or_string::IntOrString;
pub(crate) use marker::{ACCEPTED, UNSUPPORTED};
pub use marker::{Accepted, Unsupported};
pub use percent::{Percent, Percentage};
pub use string_match::StringMatch;

#[cfg(test)]
mod tests;
