//! Values of every kind, made from bytes: for property tests and fuzzing.
//!
//! Bytes decide each choice; when they run out, the simplest choice is taken, so that shrinking
//! the bytes shrinks the value. What is made survives the codec: values that the protocol cannot
//! express are not made.

mod basics;
mod clusters;
mod connections;
mod http;
mod routes;
mod security;

use proptest::{prelude::*, strategy::BoxedStrategy};

use crate::{Node, Resource};

/// How deep recursive values nest.
const MAX_DEPTH: u32 = 3;

/// Bytes that decide.
#[derive(Debug)]
pub struct Entropy<'a> {
    bytes: std::slice::Iter<'a, u8>,
    depth: u32,
}

/// A value that bytes can decide.
pub trait Arbitrary: Sized {
    /// Makes a value.
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self;
}

impl<'a> Entropy<'a> {
    /// Choices made by these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), depth: 0 }
    }

    /// A value.
    pub fn any<T: Arbitrary>(&mut self) -> T {
        T::arbitrary(self)
    }

    fn byte(&mut self) -> u8 {
        self.bytes.next().copied().unwrap_or(0)
    }

    /// A number below `count`.
    fn index(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// One of several ways to make a value; the first one is the simplest.
    fn choose<T>(&mut self, ways: &[fn(&mut Self) -> T]) -> T {
        let way = self.index(ways.len());
        ways[way](self)
    }

    /// As [`Self::choose`], for values that hold values of the same kind: only the first `leaves`
    /// ways are open when it gets too deep.
    fn recurse<T>(&mut self, leaves: usize, ways: &[fn(&mut Self) -> T]) -> T {
        if self.depth >= MAX_DEPTH {
            return self.choose(&ways[..leaves]);
        }
        self.depth += 1;
        let value = self.choose(ways);
        self.depth -= 1;
        value
    }

    /// One of these values.
    fn pick<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.index(values.len())].clone()
    }

    /// A list of at least one element.
    fn some<T: Arbitrary>(&mut self) -> Vec<T> {
        let count = 1 + self.index(3);
        (0..count).map(|_| self.any()).collect()
    }

    /// Text that is not empty.
    fn text(&mut self) -> String {
        let text: String = self.any();
        if text.is_empty() { "x".to_owned() } else { text }
    }
}

/// Implements [`Arbitrary`] for a struct, field by field; a field may say how it is made.
macro_rules! arbitrary_struct {
    ($type:ident { $($field:ident $(= $make:expr)?),* $(,)? }) => {
        impl $crate::testing::Arbitrary for $type {
            fn arbitrary(entropy: &mut $crate::testing::Entropy<'_>) -> Self {
                $(let $field = $crate::testing::made!(entropy $(, $make)?);)*
                Self { $($field),* }
            }
        }
    };
}
use arbitrary_struct;

/// A field of [`arbitrary_struct`].
macro_rules! made {
    ($entropy:ident) => {
        $entropy.any()
    };
    ($entropy:ident, $make:expr) => {{
        let make: fn(&mut $crate::testing::Entropy<'_>) -> _ = $make;
        make($entropy)
    }};
}
use made;

/// Implements [`Arbitrary`] for an enum, by a list of closures.
macro_rules! arbitrary_enum {
    ($type:ident: $($way:expr),* $(,)?) => {
        impl $crate::testing::Arbitrary for $type {
            fn arbitrary(entropy: &mut $crate::testing::Entropy<'_>) -> Self {
                entropy.choose(&[$($way),*])
            }
        }
    };
}
use arbitrary_enum;

/// A strategy for values of one kind.
pub fn values<T: Arbitrary + std::fmt::Debug + 'static>() -> BoxedStrategy<T> {
    prop::collection::vec(any::<u8>(), 0..3000).prop_map(|bytes| Entropy::new(&bytes).any()).boxed()
}

/// A strategy for resources of every kind.
pub fn resources() -> BoxedStrategy<Resource> {
    values()
}

/// A strategy for nodes.
pub fn nodes() -> BoxedStrategy<Node> {
    values()
}

arbitrary_enum! { Resource:
    |e| Resource::Cluster(e.any()),
    |e| Resource::Listener(e.any()),
    |e| Resource::RouteConfiguration(e.any()),
    |e| Resource::LoadAssignment(e.any()),
    |e| Resource::Secret(e.any()),
    |e| Resource::NameTable(e.any()),
}
