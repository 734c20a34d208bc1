//! Development only: what tests of several crates share.
//!
//! A test that needs something this machine may lack asks for it here and, when it is missing,
//! returns with [`skip`], so that `cargo xtask test` can say by name what did not run and why.

pub mod load;
pub mod mesh;
mod namespaces;
pub mod peers;
mod skip;

pub use namespaces::can_unshare;
pub use skip::skip;
