//! Who and what the events are about. Names are made from numbers, so none are kept.
//!
//! Except for [`product`], a name needs no escape in JSON.

use std::io::Write;

/// Products of a brand.
pub const PRODUCTS: u32 = 100;

/// Predicates of the network's price list. All have version [`VERSION`].
pub const PREDICATES: [&str; 12] = [
    "RECYCLED_CONTENT_GTE",
    "CARBON_FOOTPRINT_LTE",
    "BATTERY_CAPACITY_GTE",
    "BATTERY_CHEMISTRY_IN_SET",
    "ENERGY_DENSITY_RANGE",
    "STATE_OF_HEALTH_GTE",
    "RECYCLING_EFFICIENCY_GTE",
    "CERT_VALID",
    "DUE_DILIGENCE_VALID",
    "SUBSTANCE_NOT_IN_LIST",
    "COBALT_ORIGIN_NOT_IN",
    "CARBON_FOOTPRINT_LIFECYCLE",
];
/// The version of every predicate.
pub const VERSION: &str = "V1";

/// Why a proof failed, as gateways say it.
pub const ERROR_CODES: [&str; 5] = [
    "PROOF_INVALID",
    "PROOF_EXPIRED",
    "COMMITMENT_MISMATCH",
    "ISSUER_UNTRUSTED",
    "PREDICATE_UNSUPPORTED",
];

const FIRST_BRANDS: [&str; 20] = [
    "acme-textiles",
    "borealis-cells",
    "cobalt-and-sons",
    "delta-outdoor",
    "ember-mobility",
    "fjord-knitwear",
    "granite-tools",
    "harbour-shoes",
    "indigo-denim",
    "juniper-home",
    "kestrel-bikes",
    "lumen-lighting",
    "meridian-motors",
    "nordwind-energy",
    "opal-cosmetics",
    "pine-furniture",
    "quartz-electronics",
    "rivet-workwear",
    "solstice-batteries",
    "tundra-tyres",
];

/// Product references, as JSON strings, that a reader must escape or must not take for more than
/// a text.
const ODD_PRODUCTS: [&str; 6] = [
    r#""Gilet \"Été\" 12\\42""#,
    r#""caf\u00e9\t\u2615\n""#,
    r#""<script>alert('dpp')</script>""#,
    r#""=HYPERLINK(\"https:\/\/example.org\",\"x\")""#,
    r#""'; DROP TABLE ledger; --""#,
    r#""電池 \ud83d\udd0b""#,
];

/// Appends the brand's id.
pub fn brand(number: u32, out: &mut Vec<u8>) {
    match FIRST_BRANDS.get(number as usize) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => numbered(b"brand-", number + 1, out),
    }
}

/// Appends the supplier's id.
pub fn supplier(number: u32, out: &mut Vec<u8>) {
    numbered(b"supplier-", number + 1, out);
}

/// Appends a product reference as a JSON string. The first product of a brand has an odd one.
pub fn product(brand: u32, number: u32, out: &mut Vec<u8>) {
    if number == 0 {
        let odd = ODD_PRODUCTS[brand as usize % ODD_PRODUCTS.len()];
        out.extend_from_slice(odd.as_bytes());
        return;
    }
    numbered(b"\"urn:dpp:", brand + 1, out);
    numbered(b":", number, out);
    out.push(b'"');
}

/// Appends `NAME@VERSION`.
pub fn predicate(number: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(PREDICATES[usize::from(number)].as_bytes());
    out.push(b'@');
    out.extend_from_slice(VERSION.as_bytes());
}

/// A name as a text of its own.
pub fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut name = Vec::new();
    write(&mut name);
    String::from_utf8(name).expect("names are made of texts and digits")
}

fn numbered(lead: &[u8], number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(lead);
    if number < 10_000 {
        let digit = |unit: u32| b'0' + (number / unit % 10) as u8;
        out.extend_from_slice(&[digit(1000), digit(100), digit(10), digit(1)]);
    } else {
        write!(out, "{number}").expect("writing to a vector does not fail");
    }
}
