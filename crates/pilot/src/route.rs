//! Being built.
use crate::{Proxy, PushContext};
pub(crate) fn route_configuration(_: &PushContext, _: &Proxy, _: &str) -> Option<xds::RouteConfiguration> { None }
