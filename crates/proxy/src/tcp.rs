//! TCP: network filters, and carrying bytes between a client and an upstream.

mod copy;
mod filters;
mod proxy;

pub(crate) use copy::{Progress, copy_both};
pub(crate) use filters::pass_network_filters;
pub(crate) use proxy::serve;
