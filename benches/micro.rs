//! What each step of a receipt's way costs by itself, a chunk at a time, without servers.

use std::collections::{BTreeSet, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use billing::ids::{BrandId, Predicate};
use billing::receipt::UsageReceipt;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use prooftally::actors::assembly::{Basis, assemble};
use prooftally::actors::brand::{Answer, BrandMeter};
use prooftally::actors::chunk::{Chunk, ChunkBuilder, Source};
use prooftally::actors::directory::Directory;
use prooftally::actors::flight::Complete;
use prooftally::actors::keys::Keys;
use prooftally::bus::decode::{self, Limits};
use prooftally::bus::sorter::{self, Sorter};
use prooftally::store::brands::{Brand, NumberedPredicate};
use prooftally::store::commit::LEDGER_COLUMNS;
use prooftally::store::copy::Row;
use prooftally::workload::{Generator, Percent, Spec};

/// The events of a chunk under load.
const EVENTS: u64 = 16_384;
const BRANDS: u32 = 1_000;
const LIMITS: Limits = Limits { payload_bytes_max: 65_536, future_max: TimeDelta::minutes(5) };

/// An hour of events that are all counted.
fn spec(envelope: Percent) -> Spec {
    let default = Spec::default();
    let none = Percent::ZERO;
    let (duplicate, reemitted, conflict, malformed, failed) = (none, none, none, none, none);
    let until = default.from + TimeDelta::hours(1);
    let shares = Spec { duplicate, reemitted, conflict, malformed, failed, envelope, ..default };
    Spec { count: EVENTS, brands: BRANDS, until, ..shares }
}

fn events(envelope: Percent) -> Vec<Bytes> {
    let generator = Generator::new(&spec(envelope)).expect("the spec is good");
    generator.map(|event| event.payload).collect()
}

fn received_at() -> DateTime<Utc> {
    Spec::default().until
}

/// A sorter that knows every name of the workload.
fn sorter() -> Sorter {
    let mut generator = Generator::new(&spec(Percent::ZERO)).expect("the spec is good");
    while generator.next_event().is_some() {}
    let usage = generator.truth().usage;
    let directory = Directory::default();
    let brands: BTreeSet<_> = usage.iter().map(|row| row.brand.as_str()).collect();
    directory.add_brands((1..).zip(brands).map(|(no, id)| brand(no, id)).collect());
    let predicates: BTreeSet<_> = usage.iter().map(|row| row.predicate.as_str()).collect();
    let numbered = (1..).zip(predicates).map(|(predicate_no, text)| {
        let Predicate { name, version } = Predicate::parse(text).expect("NAME@VERSION");
        NumberedPredicate { predicate_no, name: name.to_owned(), version: version.to_owned() }
    });
    directory.add_predicates(numbered.collect());
    let config = sorter::Config {
        verified: "proofs.verified".to_owned(),
        failed: "proofs.failed".to_owned(),
        limits: LIMITS,
        brands_max: 100_000,
        default_zone: Tz::UTC,
        predicates_max: 10_000,
    };
    Sorter { config, directory: Arc::new(directory) }
}

fn brand(no: i32, id: &str) -> Brand {
    Brand {
        no,
        id: BrandId::new(id).expect("the workload's ids are good"),
        zone: Tz::UTC,
        is_parked: false,
    }
}

/// Decodes the events, hashes them and encodes their rows.
fn chunk(sorter: &Sorter, events: &[Bytes]) -> Chunk {
    let mut builder = ChunkBuilder::new(1, 1, 0);
    for (sequence, payload) in (1..).zip(events) {
        let counted = sorter.count(&mut builder, (1, sequence), payload, received_at());
        assert!(counted.is_ok(), "every event of this workload counts");
    }
    let last = i64::try_from(events.len()).expect("a chunk is bounded");
    builder.finish(Source::Stream { before: 0, last, stored_at: Some(received_at()) }, None)
}

fn answers(chunk: &Chunk, meters: &mut HashMap<i32, BrandMeter>) -> Vec<Answer> {
    let slices = chunk.slices.iter().enumerate();
    let answer = |(index, slice): (usize, &prooftally::actors::chunk::Slice)| {
        let meter = meters.get_mut(&slice.brand.no).expect("each brand has a meter");
        meter.meter(chunk, index, 0)
    };
    slices.map(answer).collect()
}

fn meters(chunk: &Chunk, keys: &Keys) -> HashMap<i32, BrandMeter> {
    let numbers = chunk.slices.iter().map(|slice| slice.brand.no);
    numbers.map(|no| (no, BrandMeter::new(no, keys.clone()))).collect()
}

/// What is committed before: a million other receipts.
fn committed() -> Keys {
    let keys = Keys::new(1_000_000);
    for entry in 0..1_000_000 {
        let key = billing::receipt::ReceiptKey::of(&format!("before-{entry}"));
        let brand_no = i32::try_from(entry % i64::from(BRANDS)).expect("below the brands");
        keys.add(prooftally::store::keys::CommittedKey {
            brand_no,
            key,
            digest: 0,
            entry,
            epoch: 1,
            sequence: entry,
        });
    }
    keys
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(EVENTS));
    for (name, envelope) in [("flat", Percent::ZERO), ("envelope", Percent::ALL)] {
        let events = events(envelope);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for payload in &events {
                    let read = |receipt: &UsageReceipt<'_>| receipt.verified_at;
                    let _ = black_box(decode::receipt(payload, received_at(), &LIMITS, read));
                }
            });
        });
    }
    group.finish();
}

/// The texts of a receipt.
struct Texts {
    receipt_id: String,
    predicate: String,
    brand: String,
    supplier: Option<String>,
    product: Option<String>,
}

impl Texts {
    fn of(receipt: &UsageReceipt<'_>) -> Self {
        Self {
            receipt_id: receipt.receipt_id.to_owned(),
            predicate: receipt.predicate.to_string(),
            brand: receipt.brand.to_owned(),
            supplier: receipt.supplier.map(str::to_owned),
            product: receipt.product.map(str::to_owned),
        }
    }

    fn receipt(&self) -> UsageReceipt<'_> {
        UsageReceipt {
            receipt_id: &self.receipt_id,
            predicate: Predicate::parse(&self.predicate).expect("NAME@VERSION"),
            brand: &self.brand,
            supplier: self.supplier.as_deref(),
            product: self.product.as_deref(),
            result: Some(true),
            verified_at: received_at(),
            expires_at: None,
        }
    }
}

fn receipts_of(events: &[Bytes]) -> Vec<Texts> {
    let read = |payload| decode::receipt(payload, received_at(), &LIMITS, Texts::of);
    events.iter().map(|payload| read(payload).expect("every event counts")).collect()
}

fn hashing(criterion: &mut Criterion) {
    let texts = receipts_of(&events(Percent::ZERO));
    let receipts: Vec<_> = texts.iter().map(Texts::receipt).collect();
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("key", |bencher| {
        bencher.iter(|| receipts.iter().map(|receipt| receipt.key().0).fold(0, |a, b| a ^ b));
    });
    group.bench_function("digest", |bencher| {
        bencher.iter(|| receipts.iter().map(UsageReceipt::digest).fold(0, |a, b| a ^ b));
    });
    group.finish();
}

fn rows(criterion: &mut Criterion) {
    let texts = receipts_of(&events(Percent::ZERO));
    let receipts: Vec<_> = texts.iter().map(Texts::receipt).collect();
    let mut group = criterion.benchmark_group("row");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("encode", |bencher| {
        let mut bytes = Vec::new();
        bencher.iter(|| {
            bytes.clear();
            for receipt in &receipts {
                encode(receipt, &mut bytes);
            }
            bytes.len()
        });
    });
    group.finish();
}

fn encode(receipt: &UsageReceipt<'_>, bytes: &mut Vec<u8>) {
    Row::start(bytes, LEDGER_COLUMNS)
        .int8(1)
        .date(NaiveDate::default())
        .int8(1)
        .int8(1)
        .timestamptz(receipt.verified_at)
        .int4(1)
        .int4(1)
        .int4(1)
        .uuid(1)
        .int2(0)
        .nullable(receipt.result, Row::boolean)
        .nullable(receipt.expires_at, Row::timestamptz)
        .text(receipt.receipt_id)
        .nullable(receipt.supplier, Row::text)
        .nullable(receipt.product, Row::text);
}

fn chunks(criterion: &mut Criterion) {
    let sorter = sorter();
    let events = events(Percent::from_basis_points(5_000));
    let built = Arc::new(chunk(&sorter, &events));
    let keys = committed();
    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("sort", |bencher| bencher.iter(|| chunk(&sorter, &events)));
    group.bench_function("meter", |bencher| {
        bencher.iter_batched_ref(
            || meters(&built, &keys),
            |meters| answers(&built, meters),
            BatchSize::LargeInput,
        );
    });
    let answers = answers(&built, &mut meters(&built, &keys));
    let complete = Complete {
        chunk: Arc::clone(&built),
        answers: answers.into_iter().map(Arc::new).collect(),
    };
    let basis = Basis {
        fence: 1,
        sequence: 0,
        entry: 0,
        keys: &keys,
        directory: &sorter.directory,
        stored: &hashbrown::HashMap::new(),
    };
    group.bench_function("assemble", |bencher| {
        bencher.iter(|| assemble(&complete, &basis).expect("the chunk tiles").commit.rows.len());
    });
    group.finish();
    assert!(complete.answers.len() > 100, "{} brands", complete.answers.len());
}

criterion_group! {
    name = micro;
    config = Criterion::default().without_plots();
    targets = decoding, hashing, rows, chunks
}
criterion_main!(micro);
