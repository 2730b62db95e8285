//! Issuer and buyer as they were when a document was issued.

use serde::{Deserialize, Serialize};

/// A party to a document. What is not known is `None`, never an empty text; which fields must be
/// known is for [`super::check()`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    pub legal_name: Option<String>,
    pub street: Option<String>,
    pub city: Option<String>,
    pub postcode: Option<String>,
    /// Two capital letters (ISO 3166-1).
    pub country: Option<String>,
    /// With the country's prefix.
    pub vat_id: Option<String>,
    pub registration_id: Option<String>,
    pub electronic_address: Option<ElectronicAddress>,
    pub contact: Option<Contact>,
    /// Of the issuer: where to pay.
    pub iban: Option<String>,
    /// Of the buyer: what it wants to see on the document.
    pub buyer_reference: Option<String>,
    pub purchase_order: Option<String>,
}

/// Where a party receives electronic documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ElectronicAddress {
    /// A code of the EAS list, for example `0088` or `9930`.
    pub scheme: String,
    pub id: String,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    pub name: Option<String>,
    pub telephone: Option<String>,
    pub email: Option<String>,
}
