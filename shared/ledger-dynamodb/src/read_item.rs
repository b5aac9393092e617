//! Items as `serde_dynamo` reads them, without its copy of the whole item in between: reading is a
//! part of every update.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::ledger::Item;

/// Reads an item of texts, whole numbers, booleans, nulls, lists and maps.
pub(crate) fn read_item<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    T::deserialize(Attribute(AttributeValue::M(item)))
}

fn map(item: Item) -> MapDeserializer<'static, impl Iterator<Item = (String, Attribute)>, Error> {
    MapDeserializer::new(item.into_iter().map(|(name, value)| (name, Attribute(value))))
}

/// The values of a struct's fields in the order in which it has them: nothing is compared by name, as
/// it would have to be in the order in which a map comes.
struct Fields {
    names: std::slice::Iter<'static, &'static str>,
    item: Item,
}

impl<'de> SeqAccess<'de> for Fields {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(name) = self.names.next() else { return Ok(None) };
        seed.deserialize(Field(name, self.item.remove(*name))).map(Some)
    }
}

/// A field that there may not be.
struct Field(&'static str, Option<AttributeValue>);

impl<'de> Deserializer<'de> for Field {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.attribute()?.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.1 {
            None => visitor.visit_none(),
            Some(value) => Attribute(value).deserialize_option(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.attribute()?.deserialize_struct(name, fields, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl Field {
    fn attribute(self) -> Result<Attribute, Error> {
        self.1.map(Attribute).ok_or_else(|| Error::missing_field(self.0))
    }
}

struct Attribute(AttributeValue);

impl<'de> IntoDeserializer<'de, Error> for Attribute {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Attribute {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            AttributeValue::S(text) => visitor.visit_string(text),
            AttributeValue::Bool(flag) => visitor.visit_bool(flag),
            AttributeValue::Null(_) => visitor.visit_unit(),
            AttributeValue::N(number) => match (number.parse(), number.parse()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => Err(Error::custom("a number that is not whole")),
            },
            AttributeValue::L(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Attribute))),
            AttributeValue::M(fields) => visitor.visit_map(map(fields)),
            _ => Err(Error::custom("an attribute of a type that is not written here")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            AttributeValue::Null(_) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            AttributeValue::M(item) => visitor.visit_seq(Fields { names: fields.iter(), item }),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use ledgerline_kernel::VersionItem;
    use ledgerline_testkit::{note_key, version_items};
    use serde_json::json;

    use super::*;
    use crate::records::version_item;

    #[test]
    fn a_version_reads_back_as_it_was_written() {
        for mut version in version_items(&note_key("a@b"), 2) {
            version.ttl = Some(-1);
            version.state = json!({"": null, "a": [true, -7, u64::MAX, "", {}, []], "b": {"c": "é"}});
            assert_eq!(read_item::<VersionItem>(version_item(&version)), Ok(version));
        }
    }

    #[test]
    fn a_field_that_is_missing_is_named_and_one_too_many_is_nothing() {
        let [version] = version_items(&note_key("a"), 1).try_into().unwrap();
        for name in ["state", "events", "hash", "version", "isDeleted"] {
            let mut item = version_item(&version);
            item.remove(name);
            let error = read_item::<VersionItem>(item).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let mut item = version_item(&version);
        item.insert("since".to_owned(), AttributeValue::Ss(vec!["a".to_owned()]));
        assert_eq!(read_item::<VersionItem>(item), Ok(version));
    }

    #[test]
    fn a_fraction_and_a_set_are_refused() {
        for odd in [AttributeValue::N("1.5".to_owned()), AttributeValue::Ss(vec!["a".to_owned()])] {
            let [version] = version_items(&note_key("a"), 1).try_into().unwrap();
            let mut item = version_item(&version);
            item.insert("state".to_owned(), odd);
            assert!(read_item::<VersionItem>(item).is_err());
        }
    }
}
