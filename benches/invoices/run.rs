//! An invoice run over many brands, its parts, and the aggregation that it is compared with.

use std::time::Instant;

use prooftally::store::billing_run::{self, Which};
use prooftally::store::due::Candidate;
use prooftally::store::verification::{self, Which as Verified};
use serde::Serialize;

use crate::books::Books;
use crate::{Options, best, terms};

const ROUNDS: usize = 3;

/// Seconds, the best of three where it could be done again.
#[derive(Debug, Serialize)]
pub struct Figures {
    receipts: u64,
    brands: u32,
    usage_rows: i64,
    invoices: usize,
    /// One aggregation over the usage rows by brand, predicate and result; nothing is sent.
    aggregation: f64,
    /// All drafts computed: usage, assignments, taxes, parties, what speaks against each.
    drafts: f64,
    drafts_to_aggregation: f64,
    /// The proof of uniqueness and the trees over all receipts.
    evidence: f64,
    /// Documents written, with every rule of the database.
    written: f64,
    /// The run as a whole.
    run: f64,
    run_without_evidence_to_aggregation: f64,
    invoices_per_second: f64,
    /// Every document computed again from the ledger, and its tree built again.
    verified: f64,
}

pub async fn measure(options: &Options) -> anyhow::Result<Figures> {
    let books = Books::new(options, options.brands, &terms::tiered_plan()).await?;
    let Books { store, terms, now, .. } = &books;
    let (mut aggregations, mut drafts, mut looks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        aggregations.push(aggregate(&books).await?);
        let started = Instant::now();
        billing_run::look(store, terms, None, *now, None).await?;
        drafts.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let may = |one: &Candidate| one.decide().is_ok();
        billing_run::look(store, terms, None, *now, Some(&may)).await?;
        looks.push(started.elapsed().as_secs_f64());
    }
    let mut told: Vec<Instant> = Vec::new();
    let started = Instant::now();
    let which = Which::default();
    let tell = |_, _| told.push(Instant::now());
    let done = billing_run::issue_all(store, terms, &which, *now, "bench", tell).await?;
    let run = started.elapsed().as_secs_f64();
    anyhow::ensure!(done.refused.is_empty(), "{} were refused", done.refused.len());
    // From the first group's end to the last one's is all groups but one.
    let between =
        told.last().zip(told.first()).map_or(0.0, |(last, first)| (*last - *first).as_secs_f64());
    let written = between * told.len() as f64 / (told.len().max(2) - 1) as f64;
    let started = Instant::now();
    let mut connection = store.connect().await?;
    let report = verification::verify(&mut connection, &Verified::All, |_| ()).await?;
    let verified = started.elapsed().as_secs_f64();
    let differences = report.map_or(0, |report| report.differences.len());
    anyhow::ensure!(differences == 0, "{differences} documents are not what they were");
    let usage_rows: i64 =
        sqlx::query_scalar("select count(*) from usage_day").fetch_one(&store.pool).await?;
    let (aggregation, drafts) = (best(&aggregations), best(&drafts));
    let evidence = best(&looks) - drafts;
    let figures = Figures {
        receipts: options.count,
        brands: options.brands,
        usage_rows,
        invoices: done.issued.len(),
        aggregation,
        drafts,
        drafts_to_aggregation: drafts / aggregation,
        evidence,
        written,
        run,
        run_without_evidence_to_aggregation: (drafts + written) / aggregation,
        invoices_per_second: done.issued.len() as f64 / run,
        verified,
    };
    println!("{figures:#?}");
    Ok(figures)
}

/// What any run must do at least: the usage of the month by brand, predicate and result.
async fn aggregate(books: &Books) -> anyhow::Result<f64> {
    let started = Instant::now();
    let _: (i64, i64) = sqlx::query_as(
        "select count(*), sum(n)::bigint from (select brand_no, predicate_no, result, \
            sum(receipts - voided)::bigint as n from usage_day \
            where usage_day >= $1 and usage_day < $2 group by 1, 2, 3) u",
    )
    .bind(books.first)
    .bind(books.end)
    .fetch_one(&books.store.pool)
    .await?;
    Ok(started.elapsed().as_secs_f64())
}
