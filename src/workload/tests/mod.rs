//! The bytes never change, shares hold, and what cannot be is refused.

mod faults;
mod files;
mod naive;

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use chrono::DateTime;
use chrono_tz::Tz;
use serde_json::Value;

use super::spec::Percent;
use super::*;
use naive::flatten;

/// A workload in which everything happens often.
fn rough() -> Spec {
    Spec {
        seed: 7,
        count: 20_000,
        brands: 40,
        suppliers: 30,
        duplicate: "10".parse().unwrap(),
        reemitted: "10".parse().unwrap(),
        conflict: "5".parse().unwrap(),
        malformed: "5".parse().unwrap(),
        failed: "5".parse().unwrap(),
        zone: Tz::Europe__Berlin,
        ..Spec::default()
    }
}

fn generate(spec: &Spec) -> (Vec<OwnedEvent>, Truth) {
    let mut generator = Generator::new(spec).unwrap();
    let events: Vec<_> = generator.by_ref().collect();
    (events, generator.truth())
}

fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn fingerprint(spec: &Spec, events: usize) -> u64 {
    Generator::new(spec).unwrap().take(events).fold(0xcbf2_9ce4_8422_2325, |hash, event| {
        let hash = fnv1a(hash, event.subject.as_bytes());
        let hash = fnv1a(hash, &event.payload);
        fnv1a(hash, &event.payload.len().to_be_bytes())
    })
}

#[test]
fn the_bytes_are_the_same_for_ever() {
    // A change of these numbers breaks every truth file that was kept.
    assert_eq!(fingerprint(&Spec::default(), 10_000), 0x35e1_ce64_4190_dbac);
    assert_eq!(fingerprint(&rough(), 10_000), 0xeb72_bda2_ea81_dc94);
    let skewed = Spec { skew: 0.73, brands: 5_000, suppliers: 900, ..Spec::default() };
    assert_eq!(fingerprint(&skewed, 10_000), 0x8d60_f646_0310_acd1);
}

#[test]
fn seeds_differ() {
    let other = Spec { seed: 2, ..Spec::default() };
    assert_ne!(fingerprint(&Spec::default(), 100), fingerprint(&other, 100));
}

#[test]
fn the_zone_changes_the_truth_and_not_the_events() {
    let (berlin, days) = generate(&rough());
    let (kiritimati, other_days) = generate(&Spec { zone: Tz::Pacific__Kiritimati, ..rough() });
    assert!(berlin.iter().zip(&kiritimati).all(|(one, other)| one.payload == other.payload));
    assert_ne!(days.usage, other_days.usage);
    assert_eq!(days.totals, other_days.totals);
}

#[test]
fn shares_are_exact() {
    let (events, truth) = generate(&rough());
    assert_eq!(events.len(), 20_000);
    let count = |kind: Kind| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!(count(Kind::Counted), 13_000);
    assert_eq!(count(Kind::Duplicate), 2_000);
    assert_eq!(count(Kind::Reemitted), 2_000);
    assert_eq!(count(Kind::Conflict), 1_000);
    assert_eq!(count(Kind::Failed), 1_000);
    assert_eq!(truth.totals.rejected, 1_000);
    let good = || events.iter().filter(|event| !matches!(event.kind, Kind::Malformed(_)));
    let envelopes = good().filter(|event| event.payload.starts_with(b"{\"eventId\"")).count();
    let share = envelopes as f64 / good().count() as f64;
    assert!((0.48..0.52).contains(&share), "{share}");
}

#[test]
fn skew_and_omissions_are_about_right() {
    let (events, truth) = generate(&Spec { skew: 1.0, brands: 10, ..rough() });
    let of = |brand: &str| {
        let rows = truth.usage.iter().filter(|row| row.brand == brand);
        rows.map(|row| row.receipts).sum::<u64>() as f64
    };
    let ratio = of("acme-textiles") / of("borealis-cells");
    assert!((1.8..2.2).contains(&ratio), "{ratio}");
    let flat = events.iter().filter(|event| event.payload.starts_with(b"{\"receiptId\""));
    let flat: Vec<Value> =
        flat.filter_map(|event| serde_json::from_slice(&event.payload).ok()).collect();
    for key in ["productRef", "result", "expiresAt"] {
        let with = flat.iter().filter(|event| event.get(key).is_some()).count();
        assert!(with > flat.len() / 2 && with < flat.len() * 95 / 100, "{key}: {with}");
    }
}

#[test]
fn same_bytes_are_the_same_and_new_events_are_not() {
    let (events, _) = generate(&rough());
    let mut seen = HashSet::new();
    for event in events.iter().filter(|event| !matches!(event.kind, Kind::Malformed(_))) {
        let new = seen.insert(&event.payload);
        assert_eq!(new, event.kind != Kind::Duplicate, "{:?} {:?}", event.kind, event.payload);
    }
}

#[test]
fn a_receipt_comes_again_in_the_other_shape_and_without_its_result() {
    let (events, _) = generate(&rough());
    let (mut other_shape, mut silent) = (0, 0);
    let mut first = HashMap::new();
    for event in &events {
        if !matches!(event.kind, Kind::Counted | Kind::Reemitted) {
            continue;
        }
        let json: Value = serde_json::from_slice(&event.payload).unwrap();
        let flat = flatten(&json);
        let id = flat["id"].as_str().unwrap().to_owned();
        let told = (json.get("payload").is_some(), flat.get("result").and_then(Value::as_bool));
        if event.kind == Kind::Counted {
            assert!(first.insert(id, told).is_none());
            continue;
        }
        let (shape, result) = first[&id];
        other_shape += u32::from(shape != told.0);
        silent += u32::from(result == Some(false) && told.1.is_none());
    }
    assert!(other_shape > 500 && silent > 0, "{other_shape} {silent}");
}

#[test]
fn bad_specs_are_refused_by_name() {
    let refusal = |change: fn(&mut Spec)| {
        let mut spec = Spec::default();
        change(&mut spec);
        Generator::new(&spec).err()
    };
    assert_eq!(refusal(|spec| spec.brands = 0), Some(Error::Brands(0)));
    assert_eq!(refusal(|spec| spec.suppliers = 2_000_000), Some(Error::Suppliers(2_000_000)));
    assert_eq!(refusal(|spec| spec.count = 1 << 50), Some(Error::Count(1 << 50)));
    assert_eq!(refusal(|spec| spec.skew = -1.0), Some(Error::Skew(-1.0)));
    assert!(refusal(|spec| spec.skew = f64::NAN).is_some());
    assert_eq!(refusal(|spec| spec.failed = Percent::ALL), Some(Error::Shares(10_530)));
    assert!(matches!(refusal(|spec| spec.until = spec.from), Some(Error::Span { .. })));
    assert!(matches!(
        refusal(|spec| spec.from = DateTime::UNIX_EPOCH),
        Some(Error::Year { year: 1970 })
    ));
    let all_repeat = |spec: &mut Spec| {
        (spec.duplicate, spec.reemitted) = (Percent::ALL, Percent::ZERO);
        (spec.conflict, spec.malformed, spec.failed) = Default::default();
    };
    assert_eq!(refusal(all_repeat), Some(Error::NothingToRepeat));
    for text in ["", "-1", "100.01", "1.234", "x", "1e2", "99999999999"] {
        assert_eq!(text.parse::<Percent>(), Err(Error::Percent(text.to_owned())));
    }
    assert_eq!("12.5 %".parse::<Percent>().unwrap().to_string(), "12.50 %");
}

#[test]
fn small_workloads_hold_too() {
    for count in 0..40 {
        let spec = Spec { count, suppliers: 1, brands: 1, ..rough() };
        let (events, truth) = generate(&spec);
        assert_eq!((events.len() as u64, truth.totals.events), (count, count));
        assert!(events.first().is_none_or(|event| event.kind != Kind::Duplicate));
    }
}

/// Prints how fast it is; what is asserted is only that it was all done.
#[test]
fn speed() {
    let spec = Spec { brands: 1_000, suppliers: 2_000, count: 300_000, ..Spec::default() };
    let mut generator = Generator::new(&spec).unwrap();
    let (start, mut bytes) = (Instant::now(), 0);
    while let Some(event) = generator.next_event() {
        bytes += event.payload.len() as u64;
    }
    let took = start.elapsed();
    println!(
        "{} events in {took:.2?}: {:.0} events/s, {} bytes each, {} usage rows",
        spec.count,
        spec.count as f64 / took.as_secs_f64(),
        bytes / spec.count,
        generator.truth().usage.len()
    );
    assert_eq!(generator.truth().totals.events, spec.count);
}
