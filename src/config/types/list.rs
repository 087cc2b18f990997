//! A list that is mostly empty.

use std::{borrow::Cow, fmt, ops::Deref, slice};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list that takes a word while it is empty: of 100,000 routes, with six lists of which
/// each has one or two, a `Vec` each would be 10 MB of nothing. Reads, prints and is
/// described as a `Vec`.
#[derive(Clone, PartialEq)]
pub struct List<T>(Option<Box<Items<T>>>);

#[derive(Clone, PartialEq)]
struct Items<T>(Box<[T]>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_ref().map_or(&[], |items| &items.0)
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self((!items.is_empty()).then(|| Box::new(Items(items.into()))))
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(out)
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        Vec::<T>::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        Vec::<T>::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_and_prints_as_a_vec_and_takes_a_word() {
        let read = |text: &str| serde_json::from_str::<List<u8>>(text);

        assert_eq!(*read("[1, 2]").unwrap(), [1, 2]);
        assert_eq!(read("[]").unwrap(), List::default());
        assert_eq!(serde_json::to_string(&read("[1, 2]").unwrap()).unwrap(), "[1,2]");
        assert_eq!(serde_json::to_string(&List::<u8>::default()).unwrap(), "[]");
        assert_eq!(
            read("1").unwrap_err().to_string(),
            serde_json::from_str::<Vec<u8>>("1").unwrap_err().to_string()
        );
        assert_eq!(size_of::<List<u64>>(), size_of::<usize>());
    }
}
