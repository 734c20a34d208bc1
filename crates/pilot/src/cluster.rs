//! Being built.
use crate::{Proxy, PushContext};
pub(crate) fn clusters(_: &PushContext, _: &Proxy) -> Vec<xds::Cluster> { Vec::new() }
