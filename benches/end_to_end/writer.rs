//! The usual way to do it: a transaction for a message, or for a batch of them, with uniqueness left
//! to an index of the database, and each message acknowledged by itself.

use std::collections::BTreeMap;

use anyhow::Context as _;
use async_nats::jetstream::consumer::AckPolicy;
use async_nats::jetstream::consumer::pull::Config as ConsumerConfig;
use async_nats::jetstream::message::Message;
use chrono::{NaiveDate, Utc};
use futures_util::StreamExt;
use prooftally::bus::decode;
use sqlx::{Connection, PgConnection, PgTransaction};

use crate::case::STREAM;
use crate::contestant::{Order, Outcome, Watch};

const TABLES: &str = "
    create table receipt (
        brand text not null, receipt_id text not null, predicate text not null, supplier text,
        product text, result boolean, verified_at timestamptz not null,
        primary key (brand, receipt_id));
    create table usage (
        brand text, usage_day date, predicate text, result boolean, receipts bigint not null,
        primary key (brand, usage_day, predicate, result)) with (fillfactor = 70)";

/// Reads `events` messages, `batch` to a transaction.
pub async fn run(order: &Order, batch: usize, events: u64) -> anyhow::Result<Outcome> {
    let events = events.min(order.case.count);
    let mut connection = order.store()?.connect().await?;
    sqlx::raw_sql(TABLES).execute(&mut connection).await?;
    let bus = prooftally::bus::connect(&order.config().bus, false).await?;
    let stream = bus.jetstream.get_stream(STREAM).await?;
    let consumer = ConsumerConfig {
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 10_000,
        ..ConsumerConfig::default()
    };
    let consumer = stream.create_consumer(consumer).await?;
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?;
    let limits = order.config().sorter.limits;
    let watch = Watch::start(order)?;
    let mut read = 0;
    while read < events {
        let mut pending = Vec::with_capacity(batch);
        while pending.len() < batch && read < events {
            pending.push(messages.next().await.context("the stream has ended")??);
            read += 1;
        }
        write(&mut connection, &limits, &pending).await?;
        for message in &pending {
            message.ack().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
    }
    let outcome = watch.stop(events)?;
    bus.client.flush().await?;
    stream.delete_consumer(&consumer.cached_info().name).await?;
    Ok(outcome)
}

type Usage = (String, NaiveDate, String, bool);

async fn write(
    connection: &mut PgConnection,
    limits: &decode::Limits,
    messages: &[Message],
) -> anyhow::Result<()> {
    let mut rows = Rows::default();
    for message in messages {
        // What is malformed is dropped: this writer is simple.
        let _ = decode::receipt(&message.payload, Utc::now(), limits, |receipt| rows.add(receipt));
    }
    let mut transaction = connection.begin().await?;
    let mut usage = BTreeMap::<Usage, i64>::new();
    for new in rows.insert(&mut transaction).await? {
        *usage.entry(new).or_default() += 1;
    }
    let column = |of: fn(&Usage) -> &str| usage.keys().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into usage as u select * from unnest($1::text[], $2::date[], $3::text[], \
            $4::bool[], $5::bigint[]) on conflict (brand, usage_day, predicate, result) \
         do update set receipts = u.receipts + excluded.receipts",
    )
    .bind(column(|usage| &usage.0))
    .bind(usage.keys().map(|usage| usage.1).collect::<Vec<_>>())
    .bind(column(|usage| &usage.2))
    .bind(usage.keys().map(|usage| usage.3).collect::<Vec<_>>())
    .bind(usage.values().copied().collect::<Vec<_>>())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Columns of the rows to insert.
#[derive(Default)]
struct Rows {
    brands: Vec<String>,
    receipt_ids: Vec<String>,
    predicates: Vec<String>,
    suppliers: Vec<Option<String>>,
    products: Vec<Option<String>>,
    results: Vec<bool>,
    times: Vec<chrono::DateTime<Utc>>,
}

impl Rows {
    fn add(&mut self, receipt: &billing::receipt::UsageReceipt<'_>) {
        self.brands.push(receipt.brand.to_owned());
        self.receipt_ids.push(receipt.receipt_id.to_owned());
        self.predicates.push(receipt.predicate.to_string());
        self.suppliers.push(receipt.supplier.map(str::to_owned));
        self.products.push(receipt.product.map(str::to_owned));
        self.results.push(receipt.billed_result());
        self.times.push(receipt.verified_at);
    }

    /// Inserts what is not there yet, and says what that was.
    async fn insert(self, transaction: &mut PgTransaction<'_>) -> anyhow::Result<Vec<Usage>> {
        Ok(sqlx::query_as(
            "insert into receipt select * from unnest($1::text[], $2::text[], $3::text[], \
                $4::text[], $5::text[], $6::bool[], $7::timestamptz[]) on conflict do nothing \
             returning brand, (verified_at at time zone 'UTC')::date, predicate, result",
        )
        .bind(self.brands)
        .bind(self.receipt_ids)
        .bind(self.predicates)
        .bind(self.suppliers)
        .bind(self.products)
        .bind(self.results)
        .bind(self.times)
        .fetch_all(&mut **transaction)
        .await?)
    }
}
