//! Events that cannot be counted, each with the reason for which it must be rejected.
//!
//! A good event is spoilt in one place. The faults take turns, so that a workload with as many
//! malformed events as there are faults has every one of them.

use super::draw::Draw;
use super::proof::{Proof, Telling};
use super::shape::{self, Field, Fields, Outcome, Shape};

/// One way to spoil an event.
#[derive(Debug)]
pub struct Fault {
    /// The name of the rejection's reason.
    pub reason: &'static str,
    edit: Edit,
}

#[derive(Debug)]
enum Edit {
    /// The event is these bytes.
    Whole(&'static [u8]),
    Lead(&'static [u8]),
    Tail(&'static [u8]),
    /// The good event, and once more.
    Twice,
    /// A list with the good event.
    Listed,
    /// The event ends early.
    Cut,
    /// `receiptId` is there twice.
    Repeat,
    Omit(Field),
    Put(Field, &'static [u8]),
    /// A text of so many bytes.
    Long(Field, usize),
    /// So many objects within each other.
    Deep(Field, usize),
    /// The event has the flat shape, and this in the field.
    Flat(Field, &'static [u8]),
}

const fn fault(reason: &'static str, edit: Edit) -> Fault {
    Fault { reason, edit }
}

/// Every fault, and the reason that it must get.
pub static FAULTS: [Fault; 54] = {
    use Edit::{Cut, Deep, Flat, Lead, Listed, Long, Omit, Put, Repeat, Tail, Twice, Whole};
    use Field::{Brand, Expiry, Predicate, Product, ReceiptId, Result, Supplier, Time};
    [
        fault("empty", Whole(b"")),
        fault("encoding", Whole(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00")),
        fault("utf8", Put(Supplier, b"\"caf\xe9\"")),
        fault("utf8", Whole(b"\xff\xfe{\x00}\x00")),
        fault("json_syntax", Cut),
        fault("json_syntax", Lead(b"\xef\xbb\xbf")),
        fault("json_syntax", Put(Supplier, br#""\ud800""#)),
        fault("json_syntax", Put(Result, b"True")),
        fault("json_syntax", Whole(b"receiptId=17&brandId=acme-textiles")),
        fault("trailing_data", Twice),
        fault("trailing_data", Tail(b"\n,")),
        fault("trailing_data", Tail(b"\0")),
        fault("not_object", Listed),
        fault("not_object", Whole(b"[]")),
        fault("not_object", Whole(b"null")),
        fault("not_object", Whole(b"42")),
        fault("not_object", Whole(b"\"proof\"")),
        fault(
            "not_object",
            Whole(
                br#"["r-1","CERT_VALID@V1","acme-textiles","s-1","p",true,"2026-01-01T00:00:00Z"]"#,
            ),
        ),
        fault("too_deep", Deep(Predicate, 200)),
        fault("too_deep", Deep(Brand, 5_000)),
        fault("duplicate_key", Repeat),
        fault("missing_field", Omit(ReceiptId)),
        fault("missing_field", Omit(Predicate)),
        fault("missing_field", Omit(Brand)),
        fault("missing_field", Omit(Time)),
        fault("missing_field", Put(Predicate, br#"{"name":"CERT_VALID"}"#)),
        fault("missing_field", Whole(b"{}")),
        fault("field_type", Put(ReceiptId, b"17")),
        fault("field_type", Put(Predicate, b"7")),
        fault("field_type", Put(Brand, br#"["acme-textiles"]"#)),
        fault("field_type", Put(Result, br#""true""#)),
        fault("field_type", Put(Time, b"1772323200")),
        fault("receipt_id_length", Put(ReceiptId, br#""""#)),
        fault("receipt_id_length", Long(ReceiptId, 129)),
        fault("receipt_id_length", Long(ReceiptId, 3_000)),
        fault("reference_length", Long(Product, 4_000)),
        fault("nul", Put(ReceiptId, br#""r\u0000-1""#)),
        fault("nul", Put(Supplier, br#""\u0000""#)),
        fault("nul", Put(Product, br#""urn:dpp:\u0000""#)),
        fault("charset", Put(Brand, br#""../../etc""#)),
        fault("charset", Put(Brand, br#""acme textiles""#)),
        fault("charset", Put(Brand, br#""=HYPERLINK(1)""#)),
        fault("charset", Put(Brand, br#""$(reboot)""#)),
        fault("charset", Put(Brand, br#""caf\u00e9""#)),
        fault("brand_missing", Put(Brand, br#""unknown""#)),
        fault("timestamp", Put(Time, br#""2026-03-01T10:00:00.000""#)),
        fault("timestamp", Put(Time, br#""2026-02-30T10:00:00.000Z""#)),
        fault("timestamp", Put(Time, br#""2026-03-01T24:00:00.000Z""#)),
        fault("timestamp", Put(Time, br#""2026-03-01""#)),
        fault("timestamp", Put(Time, br#""1772323200""#)),
        fault("timestamp", Put(Time, br#""""#)),
        fault("future", Put(Time, br#""9000-01-01T00:00:00.000Z""#)),
        fault("expiry_order", Flat(Expiry, br#""1971-01-01T00:00:00.000Z""#)),
        fault("timestamp", Flat(Expiry, br#""soon""#)),
    ]
};

/// Appends the event of `proof`, spoilt.
pub fn write(
    fault: &Fault,
    proof: &Proof,
    telling: &mut Telling,
    fields: &mut Fields,
    out: &mut Vec<u8>,
) {
    if matches!(fault.edit, Edit::Flat(..)) {
        telling.shape = Shape::Flat;
    }
    fields.tell(proof, telling);
    match fault.edit {
        Edit::Omit(field) => fields.put(field, b""),
        Edit::Put(field, value) | Edit::Flat(field, value) => fields.put(field, value),
        Edit::Long(field, bytes) => fields.put_text(field, &"x".repeat(bytes)),
        Edit::Deep(field, depth) => {
            let nest = format!("{}1{}", r#"{"name":"#.repeat(depth), "}".repeat(depth));
            fields.put(field, nest.as_bytes());
        }
        _ => {}
    }
    let noise = &mut telling.noise;
    shape::write(telling.shape, Outcome::Verified, fields, noise, out);
    spoil(&fault.edit, fields, noise, out);
}

fn spoil(edit: &Edit, fields: &Fields, noise: &mut Draw, event: &mut Vec<u8>) {
    match edit {
        Edit::Whole(bytes) => {
            event.clear();
            event.extend_from_slice(bytes);
        }
        Edit::Lead(bytes) => drop(event.splice(..0, bytes.iter().copied())),
        Edit::Tail(bytes) => event.extend_from_slice(bytes),
        Edit::Twice => event.extend_from_within(..),
        Edit::Listed => {
            event.insert(0, b'[');
            event.push(b']');
        }
        Edit::Cut => {
            let kept = 1 + noise.below(event.len() as u64 - 1) as usize;
            event.truncate(kept);
        }
        Edit::Repeat => repeat(fields.get(Field::ReceiptId), event),
        Edit::Omit(_) | Edit::Put(..) | Edit::Long(..) | Edit::Deep(..) | Edit::Flat(..) => {}
    }
}

/// Writes the receipt id a second time before the first.
fn repeat(receipt_id: &[u8], event: &mut Vec<u8>) {
    const KEY: &[u8] = b"\"receiptId\":";
    let place = event.windows(KEY.len()).position(|window| window == KEY);
    let place = place.expect("a good event of either shape has a receipt id");
    let again = [KEY, receipt_id, b","].concat();
    event.splice(place..place, again);
}
