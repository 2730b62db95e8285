use std::sync::Arc;

use billing::ids::{BrandId, Predicate};
use billing::receipt::UsageReceipt;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::*;
use crate::actors::chunk::{ChunkBuilder, Source};
use crate::store::brands::Brand;
use crate::store::keys::CommittedKey;

fn at() -> DateTime<Utc> {
    "2026-09-30T23:30:00Z".parse().unwrap()
}

/// A chunk of one brand: each event is a receipt id and a supplier.
fn chunk(no: ChunkNo, first: i64, zone: Tz, events: &[(&str, &str)]) -> Chunk {
    let brand =
        Arc::new(Brand { no: 1, id: BrandId::new("acme").unwrap(), zone, is_parked: false });
    let mut builder = ChunkBuilder::new(no, 1, 0);
    for (sequence, (receipt_id, supplier)) in (first..).zip(events) {
        let receipt = UsageReceipt {
            receipt_id,
            predicate: Predicate::parse("CERT_VALID@V1").unwrap(),
            brand: "acme",
            supplier: Some(supplier),
            product: None,
            result: None,
            verified_at: at() + TimeDelta::seconds(sequence),
            expires_at: None,
        };
        builder.count((1, sequence), &receipt, &brand, 7, (Bytes::new(), at()));
    }
    let last = first + i64::try_from(events.len()).unwrap() - 1;
    builder.finish(Source::Stream { before: first - 1, last, stored_at: Some(at()) }, None)
}

/// `c` counted, `d` duplicate, `s` suspect.
fn marks(answer: &Answer) -> String {
    let mark = |verdict: &Verdict| match verdict {
        Verdict::Counted { .. } => 'c',
        Verdict::Duplicate => 'd',
        Verdict::Suspect { .. } => 's',
        Verdict::Parked => 'p',
    };
    answer.verdicts.iter().map(mark).collect()
}

#[test]
fn the_first_event_of_a_receipt_counts() {
    let mut meter = BrandMeter::new(1, Keys::new(1_000));
    let chunk = chunk(1, 1, Tz::UTC, &[("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")]);
    let answer = meter.meter(&chunk, 0, 0);
    assert_eq!(marks(&answer), "ccds");
    let [usage] = answer.usage[..] else { panic!("one day, one predicate: {:?}", answer.usage) };
    assert_eq!((usage.receipts, usage.duplicates, usage.result), (2, 1, true));
}

#[test]
fn chunks_in_flight_and_committed_keys_are_both_remembered() {
    let keys = Keys::new(1_000);
    let mut meter = BrandMeter::new(1, keys.clone());
    let first = chunk(1, 1, Tz::UTC, &[("a", "x")]);
    assert_eq!(marks(&meter.meter(&first, 0, 0)), "c");
    // The first chunk is in flight.
    assert_eq!(marks(&meter.meter(&chunk(2, 2, Tz::UTC, &[("a", "x")]), 0, 0)), "d");
    // The first chunk is committed: its key is in the shared map before the meter forgets it.
    commit(&keys, &first);
    assert_eq!(marks(&meter.meter(&chunk(3, 3, Tz::UTC, &[("a", "x"), ("a", "z")]), 0, 1)), "ds");
}

#[test]
fn an_event_is_not_its_own_duplicate() {
    let keys = Keys::new(1_000);
    let chunk = chunk(1, 1, Tz::UTC, &[("a", "x")]);
    let mut meter = BrandMeter::new(1, keys.clone());
    assert_eq!(marks(&meter.meter(&chunk, 0, 0)), "c");
    assert_eq!(marks(&meter.meter(&chunk, 0, 0)), "c", "sent twice in one life");
    commit(&keys, &chunk);
    let mut next_life = BrandMeter::new(1, keys);
    assert_eq!(marks(&next_life.meter(&chunk, 0, 0)), "c", "sent again after its commit");
}

#[test]
fn a_new_life_adopts_what_the_earlier_one_answered() {
    let first = chunk(1, 1, Tz::UTC, &[("a", "x"), ("a", "x")]);
    let answer = BrandMeter::new(1, Keys::new(1_000)).meter(&first, 0, 0);
    let mut next_life = BrandMeter::new(1, Keys::new(1_000));
    next_life.adopt(&first, 0, &answer);
    assert_eq!(marks(&next_life.meter(&chunk(2, 3, Tz::UTC, &[("a", "x")]), 0, 0)), "d");
}

#[test]
fn the_day_is_the_brands() {
    let mut meter = BrandMeter::new(1, Keys::new(1_000));
    let answer = meter.meter(&chunk(1, 1, Tz::Europe__Berlin, &[("a", "x")]), 0, 0);
    assert_eq!(answer.usage[0].usage_day.to_string(), "2026-10-01");
}

fn commit(keys: &Keys, chunk: &Chunk) {
    for candidate in &chunk.candidates {
        keys.add(CommittedKey {
            brand_no: 1,
            key: candidate.key,
            digest: candidate.digest,
            entry: candidate.sequence,
            epoch: candidate.epoch,
            sequence: candidate.sequence,
        });
    }
}

#[test]
fn what_a_sealed_segment_has_counts_no_more() {
    let mut meter = BrandMeter::new(1, Keys::new(1_000));
    let mut chunk = chunk(1, 10, Tz::UTC, &[("a", "x"), ("b", "x"), ("c", "x"), ("d", "x")]);
    let of = |index: usize| chunk.candidates[index];
    let counted = |sequence, digest| Counted { entry: 5, epoch: 1, sequence, digest };
    let same = counted(3, of(0).digest);
    let other = counted(4, of(1).digest + 1);
    let itself = counted(12, of(2).digest);
    chunk.archived.extend([(0, same), (1, other), (2, itself)]);
    assert_eq!(marks(&meter.meter(&chunk, 0, 0)), "dscc");
}
