//! serde over positioned trees, as strict as kubectl: every unknown field is noted (and passed
//! over, so that one reading finds all of them); the first value of a wrong type ends the object.
//! `null` means absent.

mod access;
mod error;

use std::cell::RefCell;

use serde::{
    de::{self, DeserializeOwned, IntoDeserializer, Visitor},
    forward_to_deserialize_any,
};

use self::access::{ListAccess, MapAccess};
pub(crate) use self::error::Error;
use super::{Entry, Node, Path, Value, excerpt, nearest};
use crate::{
    report::{MAX_PROBLEMS, Problem},
    value::{ACCEPTED, UNSUPPORTED},
};

/// Where problems are noted that do not end the reading.
pub(crate) type Sink = RefCell<Vec<Problem>>;

/// Reads `T` from `node`, which stands at `path`. `None` when a problem in `sink` made it
/// impossible. At the root the keys in `passed_over` belong to someone else.
pub(crate) fn deserialize<T: DeserializeOwned>(
    node: &Node,
    path: &Path<'_>,
    passed_over: &[&str],
    sink: &Sink,
) -> Option<T> {
    match T::deserialize(De { node, path, sink, passed_over }) {
        Ok(value) => Some(value),
        Err(error) => {
            let problem = error.into_problem(node, path);
            sink.borrow_mut().push(problem);
            None
        }
    }
}

#[derive(Clone, Copy)]
struct De<'a> {
    node: &'a Node,
    path: &'a Path<'a>,
    sink: &'a Sink,
    passed_over: &'a [&'a str],
}

impl<'a> De<'a> {
    fn child<'b>(&'b self, node: &'b Node, path: &'b Path<'b>) -> De<'b> {
        De { node, path, sink: self.sink, passed_over: &[] }
    }

    fn expected(&self, what: &str) -> Error {
        let help = match (&self.node.value, what) {
            (Value::Number { text, .. }, "text") => Some(format!("quote it: \"{text}\"")),
            (Value::Bool(value), "text") => Some(format!("quote it: \"{value}\"")),
            (Value::Null, "text") => Some("write \"\" for an empty text".to_owned()),
            (Value::String(text), "true or false")
                if matches!(text.to_lowercase().as_str(), "yes" | "no" | "on" | "off") =>
            {
                Some("YAML 1.2 knows only true and false".to_owned())
            }
            (Value::String(text), "a number" | "a whole number" | "true or false")
                if !matches!(super::scalar::resolve(text), Value::String(_)) =>
            {
                Some("remove the quotes".to_owned())
            }
            (Value::List(_), "a mapping") => Some("remove the dash".to_owned()),
            (Value::Map(_) | Value::String(_), "a list") => {
                Some("begin each item with a dash".to_owned())
            }
            _ => None,
        };
        Error::new(format!("expected {what}, found {}", self.node.describe()), help).at(self)
    }

    /// A number with a leading zero is refused where it is used: readers of YAML disagree on it.
    fn unambiguous(&self) -> Result<(), Error> {
        match &self.node.value {
            Value::Number { text, .. } if super::scalar::is_ambiguous(text) => {
                let message = format!(
                    "{} is ambiguous: YAML 1.1 (kubectl) may read it as octal, YAML 1.2 as decimal",
                    excerpt(text)
                );
                let help = "write the number without zeros, or quote it if it is text";
                Err(Error::new(message, Some(help.to_owned())).at(self))
            }
            _ => Ok(()),
        }
    }

    fn integer<T: TryFrom<i128>>(&self, least: i128, most: i128) -> Result<T, Error> {
        self.unambiguous()?;
        let Value::Number { int: Some(int), .. } = &self.node.value else {
            return Err(self.expected("a whole number"));
        };
        T::try_from(*int).map_err(|_| {
            let message = format!("{int} is out of range: it must be from {least} to {most}");
            Error::new(message, None).at(self)
        })
    }

    fn is_full(&self) -> bool {
        self.sink.borrow().len() >= MAX_PROBLEMS
    }

    fn note_unknown(&self, entry: &Entry, fields: &'static [&'static str]) {
        if self.is_full() {
            return;
        }
        let field = self.path.field(&entry.key).to_string();
        let help = nearest(&entry.key, fields.iter().copied())
            .map(|name| format!("did you mean \"{name}\"?"));
        let problem = Problem::error(
            entry.key_position,
            "unknown-field",
            Some(field),
            "unknown field".to_owned(),
        );
        self.sink.borrow_mut().push(problem.with_help(help));
    }

    /// Empty collections are what tools write for fields that nobody set.
    fn note_unsupported(&self) {
        let is_empty = match &self.node.value {
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            _ => false,
        };
        if is_empty || self.is_full() {
            return;
        }
        let problem = Problem::warning(
            self.node.position,
            "unsupported-field",
            Some(self.path.to_string()),
            "not supported yet: the field has no effect".to_owned(),
        );
        self.sink.borrow_mut().push(problem);
    }

    fn variant(&self, variants: &'static [&'static str]) -> Result<&'a str, Error> {
        let Value::String(text) = &self.node.value else {
            return Err(self.expected(&one_of(variants)));
        };
        if variants.contains(&text.as_str()) {
            return Ok(text);
        }
        let help =
            nearest(text, variants.iter().copied()).map(|name| format!("did you mean \"{name}\"?"));
        let message = format!("\"{}\" is not {}", excerpt(text), one_of(variants));
        Err(Error::new(message, help).at(self))
    }
}

fn one_of(variants: &[&str]) -> String {
    match variants {
        [only] => (*only).to_owned(),
        _ => format!("one of {}", variants.join(", ")),
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                let value = self.integer::<$type>(<$type>::MIN.into(), <$type>::MAX.into())?;
                visitor.$visit(value).map_err(|error: Error| error.at(&self))
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for De<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unambiguous()?;
        let value = match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number { int: Some(int), float, .. } => match i64::try_from(*int) {
                Ok(int) => visitor.visit_i64(int),
                Err(_) => visitor.visit_f64(*float),
            },
            Value::Number { float, .. } => visitor.visit_f64(*float),
            Value::String(text) => visitor.visit_str(text),
            Value::List(_) => return self.deserialize_seq(visitor),
            Value::Map(_) => return self.deserialize_map(visitor),
        };
        value.map_err(|error: Error| error.at(&self))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            _ => Err(self.expected("true or false")),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unambiguous()?;
        match &self.node.value {
            Value::Number { float, .. } => {
                visitor.visit_f64(*float).map_err(|error: Error| error.at(&self))
            }
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::String(text) => visitor.visit_str(text).map_err(|e: Error| e.at(&self)),
            _ => Err(self.expected("text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self).map_err(|error: Error| error.at(&self))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == UNSUPPORTED {
            self.note_unsupported();
        }
        if name == UNSUPPORTED || name == ACCEPTED {
            let nothing = ().into_deserializer();
            return visitor.visit_newtype_struct::<de::value::UnitDeserializer<Error>>(nothing);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(items) => {
                let items = ListAccess { de: self, items: items.iter().enumerate() };
                visitor.visit_seq(items).map_err(|error: Error| error.at(&self))
            }
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(entries) => {
                let access = MapAccess::new(self, entries, None);
                visitor.visit_map(access).map_err(|error: Error| error.at(&self))
            }
            _ => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(entries) => {
                let access = MapAccess::new(self, entries, Some(fields));
                visitor.visit_map(access).map_err(|error: Error| error.at(&self))
            }
            _ => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = self.variant(variants)?;
        visitor.visit_enum(variant.into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
