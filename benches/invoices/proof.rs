//! One receipt of a large invoice: what its proof weighs, and how long it takes to make and to check.

use std::time::Instant;

use anyhow::Context as _;
use billing::evidence::proof;
use prooftally::store::billing_run::{self, Which};
use prooftally::store::{brands, digests, proving};
use serde::Serialize;

use crate::Options;
use crate::books::Books;
use crate::terms::PLAN;

const CHECKS: u32 = 1_000;

/// Seconds, but where it is said.
#[derive(Debug, Serialize)]
pub struct Figures {
    receipts: u64,
    /// The invoice issued, with its tree.
    issued: f64,
    /// The proof made, which reads all rows of the period.
    made: f64,
    bytes: usize,
    hashes: usize,
    /// One check, without a database, in microseconds.
    checked_microseconds: f64,
    /// The digest of a sealed segment, which an audit computes.
    segment_digest: f64,
}

pub async fn measure(options: &Options) -> anyhow::Result<Figures> {
    let plan = format!(
        "name = \"{PLAN}\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n\n[[charge]]\nname = \"Receipts\"\n\
         predicate = \"*@*\"\nmodel = \"per_unit\"\nunit_price = \"0.05\"\n"
    );
    let books = Books::new(options, 1, &plan).await?;
    let Books { store, terms, now, .. } = &books;
    let started = Instant::now();
    let which = Which::default();
    let done = billing_run::issue_all(store, terms, &which, *now, "bench", |_, _| ()).await?;
    let issued = started.elapsed().as_secs_f64();
    anyhow::ensure!(done.issued.len() == 1, "{:?}", done.refused);
    let brand = brands::all(&store.pool).await?.pop().context("there is a brand")?;
    let receipt: String = sqlx::query_scalar("select receipt_id from ledger where entry = $1")
        .bind(i64::try_from(options.count)? * 2 / 3)
        .fetch_one(&store.pool)
        .await?;
    let mut connection = store.connect().await?;
    let started = Instant::now();
    let found = proving::prove(&mut connection, &brand, &receipt, None).await??;
    let made = started.elapsed().as_secs_f64();
    let started = Instant::now();
    for _ in 0..CHECKS {
        proof::check(&found.proof, &found.document).map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let checked = started.elapsed().as_secs_f64() / f64::from(CHECKS);
    let started = Instant::now();
    digests::compute(&mut connection, 0, |_, _| ()).await?;
    let figures = Figures {
        receipts: found.proof.size,
        issued,
        made,
        bytes: found.proof.to_text().map_err(|error| anyhow::anyhow!("{error}"))?.len(),
        hashes: found.proof.path.len(),
        checked_microseconds: checked * 1e6,
        segment_digest: started.elapsed().as_secs_f64(),
    };
    println!("{figures:#?}");
    Ok(figures)
}
