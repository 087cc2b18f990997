//! Reads a tree into the types of the configuration, through serde.
//!
//! Owns how a [`Node`] offers itself: enums as text or as a mapping with one
//! key, nothing as nothing. Does not decide what happens after a [`Fault`].

use std::slice;

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
        value::BorrowedStrDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    document::Node,
    fault::{Fault, Given, MAPPING, Step, What},
};

/// Reads a value; the first fault ends it.
pub(super) fn read<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Fault> {
    T::deserialize(Place(node))
}

struct Place<'de>(&'de Node);

impl<'de> Deserializer<'de> for Place<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            // A route is not read again.
            Node::Null | Node::Refused(_) | Node::Told | Node::Route(_) => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Unsigned(value) => visitor.visit_u64(*value),
            Node::Signed(value) => visitor.visit_i64(*value),
            Node::Float(value) => visitor.visit_f64(*value),
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => visitor.visit_seq(Items { rest: items.iter().enumerate() }),
            Node::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        }
    }

    // A key without a value is never "none": it may as well be half a change.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Node::Map(_) => self.deserialize_any(visitor),
            // A structure from a list of its values in order would be a riddle.
            other => {
                let wanted = format!("{MAPPING}{}", fields.join(", "));
                Err(Fault::new(What::Wrong(given(other), wanted)))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let wanted = || format!("one of: {}", known.join(", "));
        match self.0 {
            Node::Text(name) => visitor.visit_enum(Choice { name, value: None }),
            Node::Map(entries) => visitor.visit_enum(only_choice(entries, known)?),
            other => match given(other) {
                Given::Scalar(value) if known.contains(&value.as_str()) => {
                    Err(Fault::new(What::Wrong(Given::Scalar(value), "a string".to_owned())))
                }
                given => Err(Fault::new(What::Wrong(given, wanted()))),
            },
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

fn only_choice<'de>(
    entries: &'de [(String, Node)],
    known: &'static [&'static str],
) -> Result<Choice<'de>, Fault> {
    let mut left = entries.iter().filter(|(_, value)| *value != Node::Told);
    if let Some((key, _)) = left.clone().find(|(key, _)| !known.contains(&key.as_str())) {
        return Err(Fault::unknown_variant(key, known).under(Step::Key(key.clone())));
    }
    match (left.next(), left.next()) {
        (Some((name, value)), None) => Ok(Choice { name, value: Some(value) }),
        _ => Err(Fault::new(What::Told(format!("write exactly one of: {}", known.join(", "))))),
    }
}

/// What stands there, for a sentence about it.
pub(super) fn given(node: &Node) -> Given {
    match node {
        Node::Null | Node::Refused(_) | Node::Told => Given::Nothing,
        Node::Bool(value) => Given::Scalar(value.to_string()),
        Node::Unsigned(value) => Given::Scalar(value.to_string()),
        Node::Signed(value) => Given::Scalar(value.to_string()),
        Node::Float(value) => Given::Scalar(value.to_string()),
        Node::Text(text) => Given::Text(text.clone()),
        Node::List(_) => Given::List,
        Node::Map(_) | Node::Route(_) => Given::Map,
    }
}

struct Items<'de> {
    rest: std::iter::Enumerate<slice::Iter<'de, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, item)) = self.rest.find(|(_, item)| **item != Node::Told) else {
            return Ok(None);
        };
        seed.deserialize(Place(item)).map(Some).map_err(|fault| fault.under(Step::Entry(index)))
    }
}

struct Entries<'de> {
    rest: slice::Iter<'de, (String, Node)>,
    value: Option<(&'de str, &'de Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.rest.find(|(_, value)| *value != Node::Told) else {
            return Ok(None);
        };
        self.value = Some((key, value));
        let read = seed.deserialize(BorrowedStrDeserializer::new(key));
        read.map(Some).map_err(|fault: Fault| fault.under(Step::Key(key.clone())))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (key, value) = self.value.take().unwrap_or(("", &Node::Null));
        seed.deserialize(Place(value)).map_err(|fault| fault.under(Step::Key(key.to_owned())))
    }
}

/// One of an enum: a name, with a value where it was written as a mapping.
struct Choice<'de> {
    name: &'de str,
    value: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Fault> {
        let name = seed.deserialize(BorrowedStrDeserializer::new(self.name));
        let name = name.map_err(|fault: Fault| self.placed(fault))?;
        Ok((name, self))
    }
}

impl Choice<'_> {
    /// Written as a mapping, the fault is below its key.
    fn placed(&self, fault: Fault) -> Fault {
        match self.value {
            Some(_) => fault.under(Step::Key(self.name.to_owned())),
            None => fault,
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        let name = self.name;
        let why = || Fault::new(What::Told(format!("`{name}` takes no value; write it alone")));
        self.value.map_or(Ok(()), |_| Err(why()))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let name = self.name;
        let why = || Fault::new(What::Told(format!("`{name}` needs a value; write `{{ {name}: … }}`")));
        let value = self.value.ok_or_else(why)?;
        seed.deserialize(Place(value)).map_err(|fault| self.placed(fault))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        Place(self.value.unwrap_or(&Node::Null)).deserialize_any(visitor).map_err(|fault| self.placed(fault))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let value = Place(self.value.unwrap_or(&Node::Null));
        value.deserialize_struct("", fields, visitor).map_err(|fault| self.placed(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        document,
        route::{PathSpec, StickySpec},
    };

    fn told<T: for<'de> Deserialize<'de>>(text: &str) -> String {
        let node = document::parse(text).unwrap();
        read::<T>(&node).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn an_enum_is_a_word_or_a_mapping_with_one_key() {
        let read = |text| read::<StickySpec>(&document::parse(text).unwrap()).unwrap();

        assert_eq!(read("client_address"), StickySpec::ClientAddress);
        assert_eq!(read("cookie: sid"), StickySpec::Cookie("sid".into()));
    }

    #[test]
    fn an_enum_written_otherwise_says_how() {
        assert_eq!(told::<StickySpec>("cookie"), "`cookie` needs a value; write `{ cookie: … }`");
        assert_eq!(
            told::<StickySpec>("client_address: 1"),
            "`client_address` takes no value; write it alone"
        );
        assert_eq!(
            told::<StickySpec>("{ cookie: a, header: b }"),
            "write exactly one of: header, cookie, client_address"
        );
    }

    #[test]
    fn a_path_is_text_or_says_its_kind() {
        let read = |text| read::<PathSpec>(&document::parse(text).unwrap()).unwrap();

        assert_eq!(read("/orders"), PathSpec::Prefix("/orders".into()));
        assert!(matches!(read("exact: /orders"), PathSpec::Kind(_)));
    }
}
