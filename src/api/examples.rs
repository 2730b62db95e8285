//! Examples in the OpenAPI document of fields that give none of their own: what is called alike looks alike,
//! so that it is said once.

use serde_json::{Value, json};
use utoipa::openapi::schema::{KnownFormat, Object, SchemaType, Type};
use utoipa::openapi::{OpenApi, RefOr, Schema, SchemaFormat};

/// Texts by the name of their field.
const TEXTS: &[(&str, &str)] = &[
    ("acceptance", "the gateway was tested that night"),
    ("accepted_by", "oidc u-1 (jane)"),
    ("anchor", "calendar"),
    ("because", "agreed with the brand"),
    ("brand", "brand-acme"),
    ("code", "not_passed"),
    ("detail", "it may be a test run"),
    ("exemption", "VATEX-EU-AE"),
    ("finalized_by", "key 1 (finance team)"),
    ("instance", "req-4f1d6a2b9c3e5078"),
    ("key", "pt_3f9a1c07d2be_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("made_by", "key 1 (finance team)"),
    ("next", "42"),
    ("product", "shirt-17"),
    ("receipt_id", "5f0c2a7e-3b1d-4c8e-9a6f-1d2e3c4b5a69"),
    ("revoked_by", "oidc u-1 (jane)"),
    ("settled_by", "oidc u-1 (jane)"),
    ("settlement", "the gateway had the wrong predicate"),
    ("state", "finalized"),
    ("subject", "proofs.verified"),
    ("supplier", "mill-3"),
    ("title", "There is no such thing"),
    ("type", "/problems/not-found"),
    ("withdrawn_by", "oidc u-1 (jane)"),
];

/// Lists of texts by the name of their field.
const LISTS: &[(&str, &[&str])] = &[("fields", &["predicate"]), ("missing", &["vat_id"])];

/// Adds an example to each field that has none and whose name or kind says one.
pub fn add(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    for schema in components.schemas.values_mut() {
        if let RefOr::T(Schema::Object(object)) = schema {
            for (name, field) in &mut object.properties {
                if let RefOr::T(field) = field {
                    add_to(name, field);
                }
            }
        }
    }
}

fn add_to(name: &str, field: &mut Schema) {
    match field {
        Schema::Object(field) if field.example.is_none() && field.examples.is_empty() => {
            field.example = example(name, field);
        }
        Schema::Array(list) if list.example.is_none() => {
            let known = LISTS.iter().find(|(known, _)| *known == name);
            list.example = known.map(|(_, texts)| json!(texts));
        }
        _ => {}
    }
}

fn example(name: &str, field: &Object) -> Option<Value> {
    let is = |kind: Type| match &field.schema_type {
        SchemaType::Type(only) => *only == kind,
        SchemaType::Array(any) => any.contains(&kind),
        SchemaType::AnyValue => false,
    };
    if is(Type::Integer) {
        return Some(json!(if name == "status" { 404 } else { 42 }));
    }
    if is(Type::Boolean) {
        return Some(json!(true));
    }
    if is(Type::Object) {
        return Some(json!({}));
    }
    if !is(Type::String) {
        return None;
    }
    match &field.format {
        Some(SchemaFormat::KnownFormat(KnownFormat::Date)) => {
            let is_end = name.ends_with("end") || name.starts_with("until");
            Some(json!(if is_end { "2026-10-01" } else { "2026-09-01" }))
        }
        Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)) => {
            Some(json!("2026-10-04T09:30:00Z"))
        }
        _ => TEXTS.iter().find(|(known, _)| *known == name).map(|(_, text)| json!(text)),
    }
}
