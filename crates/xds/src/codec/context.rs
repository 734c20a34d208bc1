//! Where a decoder is, and what it says of the fields that it meets.

use std::time::Duration;

use prost::{Message, Name};

use super::DecodeError;

/// The result of a decoder.
pub(super) type Result<T> = std::result::Result<T, DecodeError>;

/// One step of a path.
#[derive(Debug)]
enum Segment {
    Field(&'static str),
    Index(usize),
    Key(String),
}

/// The path that a decoder followed, and the fields that it ignored.
#[derive(Debug)]
pub(super) struct Context {
    resource: String,
    path: Vec<Segment>,
    pub(super) ignored: Vec<String>,
}

/// Takes a message apart, so that no field is forgotten: the compiler complains of those that are
/// missing here and of used ones that are not used. Ignored ones are reported when they are set,
/// rejected ones refused; `false_only` ones
/// refused when true; `silent` ones are right whatever they say.
macro_rules! fields {
    (
        $cx:ident, $message:expr => $type:path { $($used:ident),* $(,)? }
        $(ignored { $($ignored:ident),* $(,)? })?
        $(rejected { $($rejected:ident),* $(,)? })?
        $(false_only { $($false_only:ident),* $(,)? })?
        $(silent { $($silent:ident),* $(,)? })?
    ) => {
        let $type {
            $($used,)* $($($ignored,)*)? $($($rejected,)*)? $($($false_only,)*)?
            $($($silent: _,)*)?
        } = $message;
        $($($cx.ignored(stringify!($ignored), &$ignored);)*)?
        $($($cx.unsupported(stringify!($rejected), &$rejected)?;)*)?
        $($($cx.unsupported(
            stringify!($false_only),
            &$crate::codec::context::Flag::is_on(&$false_only),
        )?;)*)?
    };
}
pub(super) use fields;

/// A boolean that may be wrapped.
pub(super) trait Flag {
    /// Whether it is true; unset is false.
    fn is_on(&self) -> bool;
}

impl Flag for bool {
    fn is_on(&self) -> bool {
        *self
    }
}

impl Flag for Option<bool> {
    fn is_on(&self) -> bool {
        self.unwrap_or(false)
    }
}

impl Context {
    /// Starts at the root of a resource of this kind.
    pub(super) fn new(kind: &str) -> Self {
        Self { resource: kind.to_owned(), path: Vec::new(), ignored: Vec::new() }
    }

    /// Tells the resource's name.
    pub(super) fn named(&mut self, name: &str) {
        self.resource.push(' ');
        self.resource.push_str(name);
    }

    /// A failure here.
    pub(super) fn fail<T>(&self, problem: impl Into<String>) -> Result<T> {
        Err(DecodeError {
            resource: self.resource.clone(),
            field: self.path(),
            problem: problem.into(),
        })
    }

    /// A failure at a field.
    pub(super) fn fail_at<T>(
        &mut self,
        field: &'static str,
        problem: impl Into<String>,
    ) -> Result<T> {
        self.at(field, |cx| cx.fail(problem))
    }

    /// Decodes what is at a field.
    pub(super) fn at<T>(
        &mut self,
        field: &'static str,
        decode: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.step(Segment::Field(field), decode)
    }

    /// Decodes what is at a key of a map.
    pub(super) fn key<T>(
        &mut self,
        key: &str,
        decode: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.step(Segment::Key(key.to_owned()), decode)
    }

    /// Decodes a field that may be unset.
    pub(super) fn optional<M, T>(
        &mut self,
        field: &'static str,
        value: Option<M>,
        decode: impl FnOnce(M, &mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        value.map(|value| self.at(field, |cx| decode(value, cx))).transpose()
    }

    /// Decodes a field that must be set.
    pub(super) fn required<M, T>(
        &mut self,
        field: &'static str,
        value: Option<M>,
        decode: impl FnOnce(M, &mut Self) -> Result<T>,
    ) -> Result<T> {
        match value {
            Some(value) => self.at(field, |cx| decode(value, cx)),
            None => self.fail_at(field, "must be set"),
        }
    }

    /// Decodes the elements of a list.
    pub(super) fn each<M, T>(
        &mut self,
        field: &'static str,
        values: Vec<M>,
        mut decode: impl FnMut(M, &mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.at(field, |cx| {
            let values = values.into_iter().enumerate();
            values
                .map(|(index, value)| cx.step(Segment::Index(index), |cx| decode(value, cx)))
                .collect()
        })
    }

    /// Decodes the elements of a list, of which there must be one.
    pub(super) fn some<M, T>(
        &mut self,
        field: &'static str,
        values: Vec<M>,
        decode: impl FnMut(M, &mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        if values.is_empty() {
            return self.fail_at(field, "must have at least one element");
        }
        self.each(field, values, decode)
    }

    /// Reports a field that has no effect here, if it is set.
    pub(super) fn ignored<T: Default + PartialEq>(&mut self, field: &'static str, value: &T) {
        if *value != T::default() {
            self.ignore(field);
        }
    }

    /// Reports a field that has no effect here.
    pub(super) fn ignore(&mut self, field: &'static str) {
        self.path.push(Segment::Field(plain(field)));
        self.ignored.push(self.path());
        self.path.pop();
    }

    /// Refuses a field that would change the meaning, if it is set.
    pub(super) fn unsupported<T: Default + PartialEq>(
        &mut self,
        field: &'static str,
        value: &T,
    ) -> Result<()> {
        if *value == T::default() {
            return Ok(());
        }
        self.fail_at(plain(field), "is not supported")
    }

    /// Opens an `Any` whose type is known to be `M`.
    pub(super) fn open<M: Message + Name + Default>(&self, any: &pb::Any) -> Result<M> {
        M::decode(any.value.as_slice())
            .or_else(|error| self.fail(format!("is not a valid {}: {error}", M::full_name())))
    }

    /// An enumeration's value.
    pub(super) fn enumeration<E: TryFrom<i32>>(
        &mut self,
        field: &'static str,
        value: i32,
    ) -> Result<E> {
        E::try_from(value)
            .or_else(|_| self.fail_at(plain(field), format!("{value} is not a known value")))
    }

    /// A duration of zero or more.
    pub(super) fn duration(
        &mut self,
        field: &'static str,
        value: Option<prost_types::Duration>,
    ) -> Result<Option<Duration>> {
        self.optional(field, value, |value, cx| {
            let parts = (u64::try_from(value.seconds), u32::try_from(value.nanos));
            match parts {
                (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
                    Ok(Duration::new(seconds, nanos))
                }
                _ => cx.fail(format!(
                    "{} s and {} ns is not a duration of zero or more",
                    value.seconds, value.nanos
                )),
            }
        })
    }

    /// A number of 16 bits, such as a port or a status code.
    pub(super) fn short(&mut self, field: &'static str, value: u32) -> Result<u16> {
        u16::try_from(value)
            .or_else(|_| self.fail_at(field, format!("{value} is greater than 65535")))
    }

    fn step<T>(
        &mut self,
        segment: Segment,
        decode: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.path.push(segment);
        let result = decode(self);
        self.path.pop();
        result
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for segment in &self.path {
            match segment {
                Segment::Field(field) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(field);
                }
                Segment::Index(index) => path.push_str(&format!("[{index}]")),
                Segment::Key(key) => path.push_str(&format!("[{key:?}]")),
            }
        }
        path
    }
}

/// A field's name as its definition spells it.
fn plain(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}
