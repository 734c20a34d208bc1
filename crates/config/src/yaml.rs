//! Being built.
#[derive(Clone, Debug)]
pub(crate) struct Node;
