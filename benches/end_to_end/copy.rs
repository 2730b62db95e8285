//! L2: writes the rows that the ledger must get into the ledger, encoded beforehand, and does
//! nothing else. Rates are of the events that the rows stand for.

use std::collections::HashMap;
use std::sync::Arc;

use billing::ids::BrandId;
use billing::usage::usage_day;
use bytes::Bytes;
use chrono::Utc;
use prooftally::actors::chunk::{ChunkBuilder, Source};
use prooftally::bus::decode;
use prooftally::store::brands::Brand;
use prooftally::store::{copy, segments};
use prooftally::workload::{Generator, Kind};
use sqlx::Connection;

use crate::contestant::{Order, Outcome, Watch};

const COPY_LEDGER: &str = "copy ledger (entry, usage_day, sequence, digest, verified_at, epoch, \
    brand_no, predicate_no, receipt_key, source, result, expires_at, receipt_id, supplier, product) \
    from stdin (format binary)";
/// As the product sends.
const SEND_BYTES: usize = 1 << 20;

pub async fn run(order: &Order) -> anyhow::Result<Outcome> {
    let store = order.store()?;
    store.migrate().await?;
    let config = order.config();
    let segments = i64::try_from(order.case.count)? / config.segment_entries + 1;
    segments::ensure(&store.pool, 0..segments, config.segment_entries).await?;
    let copies = Copies::of(order)?;
    let mut connection = store.connect().await?;
    let watch = Watch::start(order)?;
    for (rows, bytes) in &copies.0 {
        let mut transaction = connection.begin().await?;
        let mut copy = transaction.copy_in_raw(COPY_LEDGER).await?;
        for part in bytes.chunks(SEND_BYTES) {
            copy.send(part).await?;
        }
        anyhow::ensure!(copy.finish().await? == *rows, "rows are missing");
        transaction.commit().await?;
    }
    watch.stop(order.case.count)
}

/// Whole COPYs, and the rows in each.
struct Copies(Vec<(u64, Vec<u8>)>);

impl Copies {
    fn of(order: &Order) -> anyhow::Result<Self> {
        let limits = order.config().sorter.limits;
        let mut copies = Self(Vec::new());
        let mut generator = Generator::new(&order.case.spec())?;
        let mut numbers = Numbers::default();
        let mut builder = ChunkBuilder::new(1, 1, 0);
        let (mut sequence, mut entry, mut events) = (0, 0, 0);
        while let Some(event) = generator.next_event() {
            sequence += 1;
            if event.kind != Kind::Counted {
                continue;
            }
            let counted = decode::receipt(event.payload, Utc::now(), &limits, |receipt| {
                let predicate_no = numbers.of(&receipt.predicate.to_string());
                let brand = numbers.brand(receipt.brand);
                let original = (Bytes::new(), Utc::now());
                builder.count((1, sequence), receipt, &brand, predicate_no, original);
            });
            counted.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
            events += 1;
            if events == order.chunk {
                entry =
                    copies.add(std::mem::replace(&mut builder, ChunkBuilder::new(1, 1, 0)), entry);
                events = 0;
            }
        }
        copies.add(builder, entry);
        Ok(copies)
    }

    /// Adds a chunk's rows, and returns the last entry.
    fn add(&mut self, builder: ChunkBuilder, mut entry: i64) -> i64 {
        let source = Source::Stream { before: 0, last: 0, stored_at: Some(Utc::now()) };
        let chunk = builder.finish(source, None);
        let mut bytes = copy::header();
        for (index, candidate) in chunk.candidates.iter().enumerate() {
            entry += 1;
            let zone = chunk.slices[candidate.slice as usize].brand.zone;
            chunk.write_row(index, entry, usage_day(candidate.verified_at, zone), &mut bytes);
        }
        bytes.extend_from_slice(&copy::TRAILER);
        bytes.shrink_to_fit();
        self.0.push((chunk.candidates.len() as u64, bytes));
        entry
    }
}

/// Numbers for names, in the order in which they come, as the engine gives them.
#[derive(Default)]
struct Numbers {
    numbers: HashMap<String, i32>,
    brands: HashMap<String, Arc<Brand>>,
}

impl Numbers {
    fn of(&mut self, name: &str) -> i32 {
        let next = i32::try_from(self.numbers.len() + 1).expect("there are few predicates");
        *self.numbers.entry(name.to_owned()).or_insert(next)
    }

    fn brand(&mut self, name: &str) -> Arc<Brand> {
        let next = i32::try_from(self.brands.len() + 1).expect("there are few brands");
        let brand = self.brands.entry(name.to_owned()).or_insert_with(|| {
            let id = BrandId::new(name).expect("the workload's brands have good ids");
            Arc::new(Brand { no: next, id, zone: chrono_tz::Tz::UTC, is_parked: false })
        });
        Arc::clone(brand)
    }
}
