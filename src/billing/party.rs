//! Parties: issuer and buyer, with what an invoice by EN 16931 and Peppol says of them.
//!
//! A [`Party`] that exists has only fields of its role, each of a good form. It need not be complete:
//! [`Party::missing`] says what an invoice still needs.
#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::fmt;

use crate::plain;
use crate::tax::Category;

mod form;

/// Longest value, in characters.
pub const CHARS_MAX: usize = 200;
/// Longest time to pay, in days.
pub const TERMS_DAYS_MAX: u16 = 365;

/// Who a party is on a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The brand, which pays.
    Buyer,
    /// Who runs the installation and is paid.
    Issuer,
}

/// What can be said of a party, in the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    LegalName,
    Street,
    /// A second line of the street.
    StreetMore,
    City,
    Postcode,
    /// ISO 3166-1 alpha-2.
    Country,
    /// With its country prefix.
    VatId,
    /// In a register of companies.
    RegistrationId,
    /// Of the electronic address, in the EAS list: 4 digits, or EM for an e-mail address.
    ElectronicScheme,
    ElectronicAddress,
    ContactName,
    ContactEmail,
    ContactPhone,
    /// What the buyer wants to read on its invoices.
    BuyerReference,
    PurchaseOrder,
    /// Days from the issue date to the due date.
    TermsDays,
    /// Where the issuer is paid.
    Iban,
    Bic,
}

impl Field {
    pub const ALL: [Field; 18] = [
        Field::LegalName,
        Field::Street,
        Field::StreetMore,
        Field::City,
        Field::Postcode,
        Field::Country,
        Field::VatId,
        Field::RegistrationId,
        Field::ElectronicScheme,
        Field::ElectronicAddress,
        Field::ContactName,
        Field::ContactEmail,
        Field::ContactPhone,
        Field::BuyerReference,
        Field::PurchaseOrder,
        Field::TermsDays,
        Field::Iban,
        Field::Bic,
    ];

    /// The name in files, tables and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::LegalName => "legal_name",
            Field::Street => "street",
            Field::StreetMore => "street_more",
            Field::City => "city",
            Field::Postcode => "postcode",
            Field::Country => "country",
            Field::VatId => "vat_id",
            Field::RegistrationId => "registration_id",
            Field::ElectronicScheme => "electronic_scheme",
            Field::ElectronicAddress => "electronic_address",
            Field::ContactName => "contact_name",
            Field::ContactEmail => "contact_email",
            Field::ContactPhone => "contact_phone",
            Field::BuyerReference => "buyer_reference",
            Field::PurchaseOrder => "purchase_order",
            Field::TermsDays => "terms_days",
            Field::Iban => "iban",
            Field::Bic => "bic",
        }
    }

    /// Finds a field by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// True if a party of this role may have it.
    pub fn belongs_to(self, role: Role) -> bool {
        match self {
            Field::BuyerReference | Field::PurchaseOrder | Field::TermsDays => role == Role::Buyer,
            Field::Iban | Field::Bic => role == Role::Issuer,
            _ => true,
        }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub field: Field,
    pub why: Why,
}

/// Why a value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("belongs to the other party")]
    OtherRole,
    #[error("must have 1 to {CHARS_MAX} characters and no line breaks")]
    TextForm,
    #[error(transparent)]
    NotPlain(plain::Fault),
    #[error("is no country code of ISO 3166-1 (two capital letters, such as DE)")]
    CountryUnknown,
    #[error("must begin with a country code (EL for Greece, XI for Northern Ireland)")]
    VatPrefix,
    #[error("must have 2 to 13 letters and digits after the country code")]
    VatForm,
    #[error("must be a scheme of the EAS list: 4 digits such as 0088, or EM for an e-mail address")]
    SchemeForm,
    #[error("needs electronic_scheme and electronic_address, both or neither")]
    SchemeAlone,
    #[error("is no e-mail address")]
    EmailForm,
    #[error("must be a number of days from 0 to {TERMS_DAYS_MAX}")]
    TermsRange,
    #[error("must be an IBAN: country code, two check digits, 11 to 30 letters and digits")]
    IbanForm,
    #[error("has check digits that do not fit: look for a typing error")]
    IbanChecksum,
    #[error("must have 8 or 11 letters and digits")]
    BicForm,
}

impl Why {
    /// The refusal's name for machines; it never changes.
    pub fn name(self) -> &'static str {
        match self {
            Why::OtherRole => "other_role",
            Why::TextForm => "text_form",
            Why::NotPlain(_) => "text_not_plain",
            Why::CountryUnknown => "country_unknown",
            Why::VatPrefix => "vat_prefix",
            Why::VatForm => "vat_form",
            Why::SchemeForm => "scheme_form",
            Why::SchemeAlone => "scheme_alone",
            Why::EmailForm => "email_form",
            Why::TermsRange => "terms_range",
            Why::IbanForm => "iban_form",
            Why::IbanChecksum => "iban_checksum",
            Why::BicForm => "bic_form",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field.as_str(), self.why)
    }
}

/// What is known of a party; every value is of a good form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    role: Role,
    values: BTreeMap<Field, String>,
}

impl Party {
    /// Checks `values`. Spaces around them do not count, nor within an IBAN, a BIC and a VAT id, whose
    /// letters become capital.
    ///
    /// # Errors
    /// All that is wrong, in the order of the fields.
    pub fn new(
        role: Role,
        values: impl IntoIterator<Item = (Field, String)>,
    ) -> Result<Self, Vec<Fault>> {
        let party = Self::stored(role, values)?;
        let unseen = party.values().filter_map(|(field, text)| {
            Some(Fault { field, why: Why::NotPlain(plain::fault(text)?) })
        });
        let faults: Vec<Fault> = unseen.collect();
        if faults.is_empty() { Ok(party) } else { Err(faults) }
    }

    /// As [`Party::new`], of values that were checked when they were written. Texts of before it was asked
    /// whether they are what they look like are taken as they are.
    ///
    /// # Errors
    /// As [`Party::new`].
    pub fn stored(
        role: Role,
        values: impl IntoIterator<Item = (Field, String)>,
    ) -> Result<Self, Vec<Fault>> {
        let values: BTreeMap<Field, String> =
            values.into_iter().map(|(field, text)| (field, form::tidy(field, &text))).collect();
        let mut faults: Vec<Fault> = values
            .iter()
            .filter_map(|(field, text)| {
                let why = if field.belongs_to(role) {
                    form::fault(*field, text)?
                } else {
                    Why::OtherRole
                };
                Some(Fault { field: *field, why })
            })
            .collect();
        let has = |field| values.contains_key(&field);
        if has(Field::ElectronicScheme) != has(Field::ElectronicAddress) {
            faults.push(Fault { field: Field::ElectronicAddress, why: Why::SchemeAlone });
        }
        if faults.is_empty() { Ok(Self { role, values }) } else { Err(faults) }
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn get(&self, field: Field) -> Option<&str> {
        self.values.get(&field).map(String::as_str)
    }

    /// The fields that are known, in order.
    pub fn values(&self) -> impl Iterator<Item = (Field, &str)> {
        self.values.iter().map(|(field, text)| (*field, text.as_str()))
    }

    /// Days from the issue date to the due date.
    pub fn terms_days(&self) -> Option<u16> {
        self.get(Field::TermsDays)?.parse().ok()
    }

    /// What an invoice needs and this party lacks, each with the fields of which one must be given.
    /// `category` is how the buyer is taxed, if that is known: for reverse charge both parties need a
    /// VAT id.
    pub fn missing(&self, category: Option<Category>) -> Vec<&'static [Field]> {
        const EACH: [&[Field]; 6] = [
            &[Field::LegalName],
            &[Field::Street],
            &[Field::City],
            &[Field::Postcode],
            &[Field::Country],
            &[Field::ElectronicAddress],
        ];
        const ANY_ID: &[Field] = &[Field::VatId, Field::RegistrationId];
        const VAT_ID: &[Field] = &[Field::VatId];
        const BUYER: [&[Field]; 2] =
            [&[Field::BuyerReference, Field::PurchaseOrder], &[Field::TermsDays]];
        const ISSUER: [&[Field]; 4] =
            [&[Field::ContactName], &[Field::ContactEmail], &[Field::ContactPhone], &[Field::Iban]];
        let needs_vat_id = match self.role {
            Role::Buyer => category == Some(Category::ReverseCharge),
            // Only outside the scope of VAT may the seller be without one.
            Role::Issuer => category.is_some_and(|category| category != Category::OutOfScope),
        };
        let of_role = match self.role {
            Role::Buyer => BUYER.as_slice(),
            Role::Issuer => ISSUER.as_slice(),
        };
        EACH.into_iter()
            .chain([if needs_vat_id { VAT_ID } else { ANY_ID }])
            .chain(of_role.iter().copied())
            .filter(|any| any.iter().all(|field| self.get(*field).is_none()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
