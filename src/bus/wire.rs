//! The two shapes in which a proof's result is written on the bus. The only serde of the bus.
//!
//! ADR-004's flat object and the verify gateway's envelope are read by one permissive struct: an event
//! with a `payload` is an envelope. Texts borrow from the event's bytes unless they hold an escape.
//! Unknown fields are skipped.

use std::borrow::Cow;
use std::fmt;

use billing::receipt::{Claim, PredicateText};
use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

/// An event of either shape.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub struct Event<'a> {
    #[serde(borrow, default)]
    receipt_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    predicate_id: Option<PredicateId<'a>>,
    #[serde(borrow, default)]
    brand_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    supplier_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    product_ref: Option<Text<'a>>,
    #[serde(default)]
    result: Option<bool>,
    #[serde(borrow, default)]
    verified_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    expires_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    failed_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    error_code: Option<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow, default)]
    payload: Option<Payload<'a>>,
}

/// The envelope's inner object.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
struct Payload<'a> {
    #[serde(borrow, default)]
    receipt_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    predicate_id: Option<PredicateId<'a>>,
    #[serde(borrow, default)]
    supplier_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    requester_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    product_binding: Option<Text<'a>>,
    #[serde(default)]
    result: Option<bool>,
    #[serde(borrow, default)]
    error_code: Option<Text<'a>>,
}

impl<'a> Event<'a> {
    /// What the event says of a receipt, unchecked.
    pub fn claim(&'a self) -> Claim<'a> {
        match &self.payload {
            None => Claim {
                receipt_id: text(self.receipt_id.as_ref()),
                predicate: self.predicate_id.as_ref().map(PredicateId::text),
                brand: text(self.brand_id.as_ref()),
                supplier: text(self.supplier_id.as_ref()),
                product: text(self.product_ref.as_ref()),
                result: self.result,
                verified_at: text(self.verified_at.as_ref()),
                expires_at: text(self.expires_at.as_ref()),
            },
            Some(payload) => Claim {
                receipt_id: text(payload.receipt_id.as_ref()),
                predicate: payload.predicate_id.as_ref().map(PredicateId::text),
                brand: text(payload.requester_id.as_ref()),
                supplier: text(payload.supplier_id.as_ref()),
                product: text(payload.product_binding.as_ref()),
                result: payload.result,
                verified_at: text(self.timestamp.as_ref()),
                expires_at: None,
            },
        }
    }

    /// What a failed proof says: predicate, error code and time, as far as it does.
    pub fn failure(&'a self) -> (Option<PredicateText<'a>>, Option<&'a str>, Option<&'a str>) {
        match &self.payload {
            None => (
                self.predicate_id.as_ref().map(PredicateId::text),
                text(self.error_code.as_ref()),
                text(self.failed_at.as_ref().or(self.timestamp.as_ref())),
            ),
            Some(payload) => (
                payload.predicate_id.as_ref().map(PredicateId::text),
                text(payload.error_code.as_ref()),
                text(self.timestamp.as_ref()),
            ),
        }
    }
}

fn text<'a>(text: Option<&'a Text<'a>>) -> Option<&'a str> {
    text.map(|text| &*text.0)
}

/// A string that borrows where it can, also inside an `Option`, where serde's own `Cow` never does.
#[derive(Debug)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// `"NAME@VERSION"` or `{"name": …, "version": …}`.
#[derive(Debug)]
enum PredicateId<'a> {
    Joined(Text<'a>),
    Split(SplitPredicate<'a>),
}

#[derive(Debug, Deserialize)]
struct SplitPredicate<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    version: Option<Text<'a>>,
}

impl<'a> PredicateId<'a> {
    fn text(&'a self) -> PredicateText<'a> {
        match self {
            PredicateId::Joined(joined) => PredicateText::Joined(&joined.0),
            PredicateId::Split(split) => PredicateText::Split {
                name: text(split.name.as_ref()),
                version: text(split.version.as_ref()),
            },
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for PredicateId<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PredicateVisitor)
    }
}

struct PredicateVisitor;

impl<'de> Visitor<'de> for PredicateVisitor {
    type Value = PredicateId<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an object with name and version")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(PredicateId::Joined(Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PredicateId::Joined(Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        SplitPredicate::deserialize(MapAccessDeserializer::new(map)).map(PredicateId::Split)
    }
}
