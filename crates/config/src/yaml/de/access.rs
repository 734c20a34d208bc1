//! The items of lists and the entries of mappings, handed to serde one by one.

use serde::{
    de::{self, DeserializeSeed, Visitor},
    forward_to_deserialize_any,
};

use super::{De, Error};
use crate::yaml::{Entry, Node, excerpt};

pub(super) struct ListAccess<'a> {
    pub(super) de: De<'a>,
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for ListAccess<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = self.de.path.index(index);
        let de = self.de.child(node, &path);
        seed.deserialize(de).map(Some).map_err(|error| error.at(&de))
    }
}

pub(super) struct MapAccess<'a> {
    de: De<'a>,
    entries: std::slice::Iter<'a, Entry>,
    /// A struct's fields; none for a map with free keys.
    fields: Option<&'static [&'static str]>,
    now: Option<&'a Entry>,
}

impl<'a> MapAccess<'a> {
    pub(super) fn new(
        de: De<'a>,
        entries: &'a [Entry],
        fields: Option<&'static [&'static str]>,
    ) -> Self {
        Self { de, entries: entries.iter(), fields, now: None }
    }

    /// Whether the entry goes to the visitor.
    fn takes(&self, entry: &Entry) -> bool {
        let Some(fields) = self.fields else { return true };
        if self.de.passed_over.contains(&entry.key.as_str()) {
            return false;
        }
        if !fields.contains(&entry.key.as_str()) {
            self.de.note_unknown(entry, fields);
            return false;
        }
        !entry.value.is_null()
    }
}

impl<'de> de::MapAccess<'de> for MapAccess<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some(entry) = self.entries.next() {
            if self.takes(entry) {
                self.now = Some(entry);
                break;
            }
        }
        let Some(entry) = self.now else { return Ok(None) };
        let path = self.de.path.field(&entry.key);
        seed.deserialize(Key(&entry.key))
            .map(Some)
            .map_err(|error| error.placed(entry.key_position, &path))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.now.take() else {
            return Err(Error::new("a value is asked for before its key", None));
        };
        let path = self.de.path.field(&entry.key);
        let de = self.de.child(&entry.value, &path);
        seed.deserialize(de).map_err(|error| error.at(&de))
    }
}

/// A key: text, or a number where the map's keys are numbers.
struct Key<'a>(&'a str);

impl<'de> de::Deserializer<'de> for Key<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0.parse() {
            Ok(number) => visitor.visit_u16(number),
            Err(_) => {
                let message =
                    format!("the key \"{}\" is not a number from 0 to 65535", excerpt(self.0));
                Err(Error::new(message, None))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}
