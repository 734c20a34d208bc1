//! YAML as trees with positions, and serde on top of them. Reads YAML 1.2's core schema, and
//! refuses what kubectl (YAML 1.1) would read otherwise. Bounded in size, depth and aliases.

mod build;
mod de;
mod node;
mod path;
mod scalar;
mod suggest;

pub(crate) use build::load;
pub(crate) use de::{Sink, deserialize};
pub(crate) use node::{Entry, Node, Position, Value, excerpt};
pub(crate) use path::Path;
pub(crate) use suggest::nearest;
#[cfg(test)]
mod tests;
