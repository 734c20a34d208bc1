//! TCP: network filters, and carrying bytes between a client and an upstream.

mod copy;
mod exchange;
mod filters;
mod proxy;

pub(crate) use copy::{Progress, Timers, copy_both};
pub(crate) use exchange::frame as exchange_frame;
pub(crate) use filters::pass_network_filters;
pub(crate) use proxy::serve;
