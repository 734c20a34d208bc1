//! Being built.
use crate::{Proxy, PushContext};
pub(crate) fn load_assignment(_: &PushContext, _: &Proxy, _: &str) -> Option<xds::LoadAssignment> { None }
