//! The bytes of an event, in either of the two shapes that are on the bus.
//!
//! Written by hand and not with serde: it is a bench's load, and must outrun what it measures.

use chrono::{Datelike, Timelike};

use super::draw::Draw;
use super::names;
use super::proof::{Proof, Telling, instant};

/// The two shapes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// ADR-004's flat object.
    Flat,
    /// The verify gateway's envelope.
    Envelope,
}

/// What an event says of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Verified,
    Failed,
}

impl Outcome {
    /// The subject, which is the envelope's event type too.
    pub fn subject(self) -> &'static str {
        match self {
            Outcome::Verified => "proofs.verified",
            Outcome::Failed => "proofs.failed",
        }
    }
}

/// A field, whatever a shape calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    ReceiptId,
    Predicate,
    Brand,
    Supplier,
    Product,
    Result,
    Time,
    Expiry,
    ErrorCode,
}

/// The fields of one event as JSON values; an empty one is left out. Kept from event to event for
/// their memory.
#[derive(Debug, Default)]
pub struct Fields([Vec<u8>; 9]);

impl Fields {
    pub fn get(&self, field: Field) -> &[u8] {
        &self.0[field as usize]
    }

    /// Sets a field to a JSON value, or to what a malformed event has in its place.
    pub fn put(&mut self, field: Field, value: &[u8]) {
        self.emptied(field).extend_from_slice(value);
    }

    /// Says what `telling` tells of `proof`.
    pub fn tell(&mut self, proof: &Proof, telling: &Telling) {
        self.0.iter_mut().for_each(Vec::clear);
        let id = self.emptied(Field::ReceiptId);
        quoted(id, |out| uuid(proof.receipt_id, out));
        predicate(proof.predicate, telling.shape, self.emptied(Field::Predicate));
        quoted(self.emptied(Field::Brand), |out| names::brand(proof.brand, out));
        quoted(self.emptied(Field::Supplier), |out| names::supplier(proof.supplier, out));
        quoted(self.emptied(Field::Time), |out| time(proof.verified_ms, out));
        if telling.product {
            names::product(proof.brand, proof.product, self.emptied(Field::Product));
        }
        if telling.result {
            self.put(Field::Result, if proof.result { b"true" } else { b"false" });
        }
        if telling.expiry {
            quoted(self.emptied(Field::Expiry), |out| time(proof.expires_ms, out));
        }
    }

    /// Sets a field to a text that needs no escape.
    pub fn put_text(&mut self, field: Field, text: &str) {
        quoted(self.emptied(field), |out| out.extend_from_slice(text.as_bytes()));
    }

    fn emptied(&mut self, field: Field) -> &mut Vec<u8> {
        let value = &mut self.0[field as usize];
        value.clear();
        value
    }

    fn member(&self, key: &str, field: Field, out: &mut Vec<u8>) {
        let value = self.get(field);
        if value.is_empty() {
            return;
        }
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
}

/// Appends the event.
pub fn write(shape: Shape, outcome: Outcome, fields: &Fields, noise: &mut Draw, out: &mut Vec<u8>) {
    match shape {
        Shape::Flat => flat(outcome, fields, out),
        Shape::Envelope => envelope(outcome, fields, noise, out),
    }
}

fn flat(outcome: Outcome, fields: &Fields, out: &mut Vec<u8>) {
    out.push(b'{');
    fields.member("receiptId", Field::ReceiptId, out);
    fields.member("predicateId", Field::Predicate, out);
    fields.member("brandId", Field::Brand, out);
    fields.member("supplierId", Field::Supplier, out);
    match outcome {
        Outcome::Verified => {
            fields.member("productRef", Field::Product, out);
            fields.member("result", Field::Result, out);
            fields.member("verifiedAt", Field::Time, out);
            fields.member("expiresAt", Field::Expiry, out);
        }
        Outcome::Failed => {
            fields.member("errorCode", Field::ErrorCode, out);
            fields.member("failedAt", Field::Time, out);
        }
    }
    out.push(b'}');
}

fn envelope(outcome: Outcome, fields: &Fields, noise: &mut Draw, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"eventId\":\"");
    uuid(noise.uuid(), out);
    out.extend_from_slice(b"\",\"eventType\":\"");
    out.extend_from_slice(outcome.subject().as_bytes());
    out.push(b'"');
    fields.member("timestamp", Field::Time, out);
    out.extend_from_slice(b",\"payload\":{");
    fields.member("receiptId", Field::ReceiptId, out);
    fields.member("predicateId", Field::Predicate, out);
    fields.member("supplierId", Field::Supplier, out);
    fields.member("requesterId", Field::Brand, out);
    fields.member("productBinding", Field::Product, out);
    match outcome {
        Outcome::Verified => {
            fields.member("result", Field::Result, out);
            out.extend_from_slice(b",\"commitmentRoot\":\"0x");
            (0..4).for_each(|_| hex(noise.bits(), 16, out));
            out.push(b'"');
        }
        Outcome::Failed => fields.member("errorCode", Field::ErrorCode, out),
    }
    out.extend_from_slice(b"},\"metadata\":{\"gatewayId\":\"gateway-");
    out.push(b'1' + (noise.below(4) as u8));
    out.extend_from_slice(b"\",\"correlationId\":\"");
    uuid(noise.uuid(), out);
    out.extend_from_slice(b"\",\"traceId\":\"");
    hex(noise.bits(), 16, out);
    hex(noise.bits(), 16, out);
    out.extend_from_slice(b"\"}}");
}

fn predicate(number: u8, shape: Shape, out: &mut Vec<u8>) {
    match shape {
        Shape::Flat => quoted(out, |out| names::predicate(number, out)),
        Shape::Envelope => {
            out.extend_from_slice(b"{\"name\":\"");
            out.extend_from_slice(names::PREDICATES[usize::from(number)].as_bytes());
            out.extend_from_slice(b"\",\"version\":\"");
            out.extend_from_slice(names::VERSION.as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn uuid(uuid: u128, out: &mut Vec<u8>) {
    let (high, low) = ((uuid >> 64) as u64, uuid as u64);
    hex(high >> 32, 8, out);
    out.push(b'-');
    hex(high >> 16 & 0xffff, 4, out);
    out.push(b'-');
    hex(high & 0xffff, 4, out);
    out.push(b'-');
    hex(low >> 48, 4, out);
    out.push(b'-');
    hex(low & 0xffff_ffff_ffff, 12, out);
}

/// The last `digits` hexadecimal digits of `number`; at most 16.
fn hex(number: u64, digits: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut all = [b'0'; 16];
    let mut rest = number;
    for digit in all.iter_mut().rev() {
        *digit = DIGITS[(rest & 15) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(&all[16 - digits..]);
}

/// RFC 3339 in UTC with milliseconds.
fn time(ms: i64, out: &mut Vec<u8>) {
    let at = instant(ms);
    let two = |number: u32| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    let (year, millis) = (at.year().unsigned_abs(), at.timestamp_subsec_millis());
    let [[y1, y2], [y3, y4]] = [two(year / 100), two(year)];
    let [[m1, m2], [d1, d2]] = [two(at.month()), two(at.day())];
    let [[h1, h2], [n1, n2], [s1, s2]] = [two(at.hour()), two(at.minute()), two(at.second())];
    let (c1, [c2, c3]) = (b'0' + (millis / 100) as u8, two(millis));
    out.extend_from_slice(&[
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.',
        c1, c2, c3, b'Z',
    ]);
}
