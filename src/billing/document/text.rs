//! How amounts, quantities and names stand in JSON: as text, in one spelling.

use std::fmt::Display;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serializer};

use crate::currency::Currency;
use crate::line::LineKey;
use crate::tax::Category;

/// Something with exactly one text.
pub(crate) trait Text: Sized {
    fn write(&self) -> String;
    /// Reads it; a text that would not be written like this is found by
    /// [`crate::canonical::read`].
    fn read(text: &str) -> Option<Self>;
}

macro_rules! whole_number {
    ($($number:ty),*) => {$(
        impl Text for $number {
            fn write(&self) -> String {
                self.to_string()
            }
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )*};
}
whole_number!(i64, u64);

impl Text for Decimal {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        Decimal::from_str_exact(text).ok()
    }
}

impl Text for Currency {
    fn write(&self) -> String {
        self.code().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Currency::from_code(text)
    }
}

impl Text for Category {
    fn write(&self) -> String {
        self.code().to_owned()
    }
    fn read(text: &str) -> Option<Self> {
        Category::from_code(text)
    }
}

impl Text for LineKey {
    fn write(&self) -> String {
        self.to_string()
    }
    fn read(text: &str) -> Option<Self> {
        LineKey::parse(text)
    }
}

pub(crate) fn serialize<T: Text, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.write())
}

pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::read(&text).ok_or_else(|| wrong(&text))
}

fn wrong<E: serde::de::Error>(text: impl Display) -> E {
    E::custom(format!("`{text}` is not possible here"))
}

/// The same of something that may be missing.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Serializer, Text, wrong};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(crate) fn serialize<T: Text, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_str(&value.write()),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| T::read(&text).ok_or_else(|| wrong(&text))).transpose()
    }
}
