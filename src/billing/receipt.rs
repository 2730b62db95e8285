//! A receipt: one verified proof, named by its id within its brand; the unit that is counted.
//!
//! [`UsageReceipt::new`] is the only way to one, so a receipt that exists is valid. What cannot be a
//! receipt is a [`Refusal`] with a reason from a closed list.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ids::{self, Predicate};

/// Why an event cannot be counted. The list is closed: it is the vocabulary of the rejections table,
/// of the metric `prooftally_rejected_events` and of `events rejected list --reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    Empty,
    TooLarge,
    Encoding,
    Utf8,
    JsonSyntax,
    TrailingData,
    NotObject,
    TooDeep,
    DuplicateKey,
    MissingField,
    FieldType,
    Nul,
    ReceiptIdLength,
    Charset,
    ReferenceLength,
    BrandMissing,
    Timestamp,
    Future,
    ExpiryOrder,
    UnknownBrand,
    UnknownPredicate,
    Subject,
    Poison,
    StoreRefused,
}

impl Reason {
    pub const ALL: [Reason; 24] = [
        Reason::Empty,
        Reason::TooLarge,
        Reason::Encoding,
        Reason::Utf8,
        Reason::JsonSyntax,
        Reason::TrailingData,
        Reason::NotObject,
        Reason::TooDeep,
        Reason::DuplicateKey,
        Reason::MissingField,
        Reason::FieldType,
        Reason::Nul,
        Reason::ReceiptIdLength,
        Reason::Charset,
        Reason::ReferenceLength,
        Reason::BrandMissing,
        Reason::Timestamp,
        Reason::Future,
        Reason::ExpiryOrder,
        Reason::UnknownBrand,
        Reason::UnknownPredicate,
        Reason::Subject,
        Reason::Poison,
        Reason::StoreRefused,
    ];

    /// The reason's name in tables, metrics and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::TooLarge => "too_large",
            Reason::Encoding => "encoding",
            Reason::Utf8 => "utf8",
            Reason::JsonSyntax => "json_syntax",
            Reason::TrailingData => "trailing_data",
            Reason::NotObject => "not_object",
            Reason::TooDeep => "too_deep",
            Reason::DuplicateKey => "duplicate_key",
            Reason::MissingField => "missing_field",
            Reason::FieldType => "field_type",
            Reason::Nul => "nul",
            Reason::ReceiptIdLength => "receipt_id_length",
            Reason::Charset => "charset",
            Reason::ReferenceLength => "reference_length",
            Reason::BrandMissing => "brand_missing",
            Reason::Timestamp => "timestamp",
            Reason::Future => "future",
            Reason::ExpiryOrder => "expiry_order",
            Reason::UnknownBrand => "unknown_brand",
            Reason::UnknownPredicate => "unknown_predicate",
            Reason::Subject => "subject",
            Reason::Poison => "poison",
            Reason::StoreRefused => "store_refused",
        }
    }

    /// The names of all of them.
    pub fn names() -> [&'static str; Self::ALL.len()] {
        Self::ALL.map(Self::as_str)
    }
}

/// A reason, and what in the event it is about: a field's name or a short sentence, never its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// What an event says, before it is checked. Texts borrow from the event's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim<'a> {
    pub receipt_id: Option<&'a str>,
    pub predicate: Option<PredicateText<'a>>,
    pub brand: Option<&'a str>,
    pub supplier: Option<&'a str>,
    pub product: Option<&'a str>,
    pub result: Option<bool>,
    pub verified_at: Option<&'a str>,
    pub expires_at: Option<&'a str>,
}

/// The two ways in which gateways write a predicate.
#[derive(Clone, Copy, Debug)]
pub enum PredicateText<'a> {
    /// `NAME@VERSION` in one string, as the flat shape has it.
    Joined(&'a str),
    /// `{name, version}`, as the envelope has it.
    Split { name: Option<&'a str>, version: Option<&'a str> },
}

/// One verified proof, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageReceipt<'a> {
    /// 1 to 128 bytes, compared byte for byte.
    pub receipt_id: &'a str,
    pub predicate: Predicate<'a>,
    /// A valid brand id; see [`crate::ids::BrandId`].
    pub brand: &'a str,
    pub supplier: Option<&'a str>,
    pub product: Option<&'a str>,
    /// `None` if the event does not say; it is billed as `true`.
    pub result: Option<bool>,
    pub verified_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl<'a> UsageReceipt<'a> {
    /// Checks `claim`. `received_at` is the event's store time on the bus, never the wall clock, so
    /// that reading the event again decides the same; an event dated more than `future_max` after it
    /// is refused.
    ///
    /// # Errors
    /// The first reason, in the order of the fields, for which it cannot be counted.
    pub fn new(
        claim: Claim<'a>,
        received_at: DateTime<Utc>,
        future_max: TimeDelta,
    ) -> Result<Self, Refusal> {
        let receipt_id = receipt_id(claim.receipt_id)?;
        let predicate = predicate(claim.predicate)?;
        let brand = brand(claim.brand)?;
        let supplier = reference(claim.supplier, "supplierId")?;
        let product = reference(claim.product, "product")?;
        let verified_at = required(claim.verified_at, "verifiedAt")?;
        let verified_at = instant(verified_at, "verifiedAt")?;
        if verified_at.signed_duration_since(received_at) > future_max {
            return Err(Refusal::new(Reason::Future, "verifiedAt is after the event was received"));
        }
        let expires_at = claim.expires_at.map(|text| instant(text, "expiresAt")).transpose()?;
        if expires_at.is_some_and(|expires_at| expires_at < verified_at) {
            return Err(Refusal::new(Reason::ExpiryOrder, "expiresAt is before verifiedAt"));
        }
        Ok(Self {
            receipt_id,
            predicate,
            brand,
            supplier,
            product,
            result: claim.result,
            verified_at,
            expires_at,
        })
    }

    /// The receipt's name in the ledger's indexes; see [`ReceiptKey`].
    pub fn key(&self) -> ReceiptKey {
        ReceiptKey::of(self.receipt_id)
    }

    /// 64 bits over predicate, supplier, product and result. Equal digests mean a duplicate; where
    /// they differ [`Content::agrees`] decides.
    pub fn digest(&self) -> u64 {
        self.content().digest()
    }

    pub fn content(&self) -> Content<'a> {
        Content {
            predicate: self.predicate,
            supplier: self.supplier,
            product: self.product,
            result: self.result,
        }
    }

    /// The result that is billed: an event that does not say stands for a proof that held.
    pub fn billed_result(&self) -> bool {
        self.result.unwrap_or(true)
    }
}

/// The first 128 bits of BLAKE3 of a receipt's id. Two ids of one brand share a key with a
/// probability of 1.5e-21 at a billion receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReceiptKey(pub u128);

impl ReceiptKey {
    pub fn of(receipt_id: &str) -> Self {
        let hash = blake3::hash(receipt_id.as_bytes());
        let (head, _) = hash.as_bytes().split_at(16);
        Self(u128::from_be_bytes(head.try_into().expect("the head has 16 bytes")))
    }
}

/// What must agree for two events of one receipt id to be the same receipt. Time does not count: a
/// receipt that is emitted again may carry a slightly other time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    pub predicate: Predicate<'a>,
    pub supplier: Option<&'a str>,
    pub product: Option<&'a str>,
    pub result: Option<bool>,
}

impl Content<'_> {
    /// True if no field says one thing here and another there. A field that one side leaves out
    /// equals anything.
    pub fn agrees(&self, other: &Content<'_>) -> bool {
        self.differences(other).is_empty()
    }

    /// The names that [`Content::differences`] gives.
    pub const FIELDS: [&'static str; 4] = ["predicate", "supplier", "product", "result"];

    /// The fields that contradict each other, of [`Content::FIELDS`].
    pub fn differences(&self, other: &Content<'_>) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if self.predicate != other.predicate {
            fields.push("predicate");
        }
        if differ(self.supplier, other.supplier) {
            fields.push("supplier");
        }
        if differ(self.product, other.product) {
            fields.push("product");
        }
        if differ(self.result, other.result) {
            fields.push("result");
        }
        fields
    }

    /// See [`UsageReceipt::digest`].
    pub fn digest(&self) -> u64 {
        // Each text is led by its length, and an absent one by a length that no text can have, so
        // that no two contents write the same bytes.
        const ABSENT: u32 = u32::MAX;
        // Written out first, so that the hasher is called once and not for each of nine small parts.
        let mut bytes = Vec::with_capacity(256);
        let texts =
            [Some(self.predicate.name), Some(self.predicate.version), self.supplier, self.product];
        for text in texts {
            let length =
                text.map_or(ABSENT, |text| u32::try_from(text.len()).unwrap_or(ABSENT - 1));
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        }
        bytes.push(self.result.map_or(2, u8::from));
        let hash = blake3::hash(&bytes);
        let (head, _) = hash.as_bytes().split_at(8);
        u64::from_be_bytes(head.try_into().expect("the head has 8 bytes"))
    }
}

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

fn required<'a>(text: Option<&'a str>, field: &str) -> Result<&'a str, Refusal> {
    text.ok_or_else(|| Refusal::new(Reason::MissingField, field))
}

fn receipt_id(text: Option<&str>) -> Result<&str, Refusal> {
    let id = required(text, "receiptId")?;
    if !(1..=ids::RECEIPT_ID_BYTES_MAX).contains(&id.len()) {
        return Err(Refusal::new(
            Reason::ReceiptIdLength,
            format!("receiptId has {} bytes, not 1 to {}", id.len(), ids::RECEIPT_ID_BYTES_MAX),
        ));
    }
    no_nul(id, "receiptId")
}

fn predicate(text: Option<PredicateText<'_>>) -> Result<Predicate<'_>, Refusal> {
    let missing = || Refusal::new(Reason::MissingField, "predicateId");
    let charset = || Refusal::new(Reason::Charset, "predicateId");
    match text.ok_or_else(missing)? {
        PredicateText::Joined(text) => {
            no_nul(text, "predicateId")?;
            Predicate::parse(text).ok_or_else(charset)
        }
        PredicateText::Split { name, version } => {
            let name = no_nul(name.ok_or_else(missing)?, "predicateId")?;
            let version =
                version.ok_or_else(|| Refusal::new(Reason::MissingField, "predicateId.version"))?;
            Predicate::new(name, no_nul(version, "predicateId")?).ok_or_else(charset)
        }
    }
}

fn brand(text: Option<&str>) -> Result<&str, Refusal> {
    let brand = no_nul(required(text, "brand")?, "brand")?;
    if brand.is_empty() || brand == "unknown" {
        // A gateway writes "unknown" where it does not know who asked.
        return Err(Refusal::new(Reason::BrandMissing, "the gateway did not know the brand"));
    }
    if !ids::is_name(brand, ids::NAME_BYTES_MAX) {
        return Err(Refusal::new(Reason::Charset, "brand"));
    }
    Ok(brand)
}

fn reference<'a>(text: Option<&'a str>, field: &str) -> Result<Option<&'a str>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    no_nul(text, field)?;
    if text.len() > ids::REFERENCE_BYTES_MAX {
        return Err(Refusal::new(
            Reason::ReferenceLength,
            format!("{field} has {} bytes, more than {}", text.len(), ids::REFERENCE_BYTES_MAX),
        ));
    }
    Ok(Some(text))
}

/// PostgreSQL's text cannot hold a NUL, so no text of a receipt may.
fn no_nul<'a>(text: &'a str, field: &str) -> Result<&'a str, Refusal> {
    if text.as_bytes().contains(&0) {
        return Err(Refusal::new(Reason::Nul, field));
    }
    Ok(text)
}

/// An RFC 3339 date and time with an offset. Years outside 1970 to 9999 are refused; a leap second
/// is taken as the last instant of its minute.
fn instant(text: &str, field: &str) -> Result<DateTime<Utc>, Refusal> {
    const YEAR_10000: i64 = 253_402_300_800;
    let refuse = || Refusal::new(Reason::Timestamp, format!("{field} is not an RFC 3339 time"));
    no_nul(text, field)?;
    let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| refuse())?.to_utc();
    let seconds = parsed.timestamp();
    if !(0..YEAR_10000).contains(&seconds) {
        return Err(refuse());
    }
    let nanos = parsed.timestamp_subsec_nanos().min(999_999_999);
    // PostgreSQL keeps microseconds; cutting here makes what is decided equal to what is stored.
    DateTime::from_timestamp(seconds, nanos / 1_000 * 1_000).ok_or_else(refuse)
}

#[cfg(test)]
mod tests;
