//! Verifies documents: each is computed again from the ledger and from what it was computed from then,
//! and compared with what is stored, byte for byte.
//!
//! Five things must hold of a document: its bytes are canonical, good by the rules and hash to its hash;
//! its rows say what its bytes say; it follows the brand's document before it; its periods have the
//! root and size that the ledger's rows give; and its lines, totals and everything else follow from
//! usage, plan, tax, and what was billed before.

mod again;
mod rows;

use billing::document::{self, Document};
use billing::hash::Hash;
use billing::period::Period;
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};

use super::brands::{self, Brand};
use super::catalog::{self, Catalog};
use super::documents::NAMED;
use super::evidence::{self, Wanted};
use super::{Error, distinct};

/// Which documents are verified.
#[derive(Clone, Debug)]
pub enum Which {
    /// The one of this number, or of this row if it has none.
    Named(String),
    All,
}

/// Something about a document that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What people call the document.
    pub document: String,
    pub what: String,
}

/// What verifying came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub documents: u64,
    /// Rows of the ledger that were hashed.
    pub leaves: u64,
    pub differences: Vec<Difference>,
}

impl Report {
    fn add(&mut self, stored: &Stored, what: impl Into<String>) {
        self.differences.push(Difference { document: stored.name(), what: what.into() });
    }
}

/// A document as it is stored.
#[derive(Clone, Debug, FromRow)]
struct Stored {
    document_no: i64,
    brand_id: String,
    number: Option<String>,
    chain: i32,
    body: Vec<u8>,
    hash: Vec<u8>,
    finalized_at: DateTime<Utc>,
    voided_at: Option<DateTime<Utc>>,
    /// The place in the chain of the credit note that cancelled it.
    cancelled_by: Option<i32>,
    /// Cancelled when nothing was left to be credited, so without a credit note.
    cancelled_at: Option<DateTime<Utc>>,
    /// What its rows in other tables and its own columns say, as JSON.
    rows: String,
}

impl Stored {
    fn name(&self) -> String {
        let unnumbered = || format!("document {} of {}", self.document_no, self.brand_id);
        self.number.clone().unwrap_or_else(unnumbered)
    }

    fn read(&self) -> Result<Document, String> {
        Document::read(&self.body).map_err(|error| error.to_string())
    }
}

/// All documents of a brand, in the order of their chain.
struct Chain {
    documents: Vec<(Stored, Option<Document>)>,
}

/// So many brands' documents are in memory at once, and share a pass over the ledger.
const BRANDS_AT_ONCE: usize = 1_000;

/// Verifies documents in one snapshot. `done` is told the name of each brand as it ends. `None` if there
/// is no such document.
///
/// # Errors
/// If the database is away.
pub async fn verify(
    connection: &mut PgConnection,
    which: &Which,
    mut done: impl FnMut(&str),
) -> Result<Option<Report>, Error> {
    let mut snapshot =
        connection.begin_with("begin isolation level repeatable read read only").await?;
    let (wanted_brand, wanted_document) = match which {
        Which::All => (None, None),
        Which::Named(name) => match find(&mut snapshot, name).await? {
            Some((document_no, brand_no)) => (Some(brand_no), Some(document_no)),
            None => return Ok(None),
        },
    };
    let catalog = catalog::read(&mut *snapshot).await?;
    let mut verifier = Verifier { catalog, only: wanted_document, ..Verifier::default() };
    for brands in brands_with_documents(&mut snapshot, wanted_brand).await?.chunks(BRANDS_AT_ONCE) {
        verifier.verify(&mut snapshot, brands, &mut done).await?;
    }
    let Verifier { trees, mut report, .. } = verifier;
    check_trees(&mut snapshot, &trees, &mut report).await?;
    snapshot.rollback().await?;
    Ok(Some(report))
}

/// Verifies documents, group by group.
#[derive(Default)]
struct Verifier {
    catalog: Catalog,
    /// The one document that is wanted, or all.
    only: Option<i64>,
    report: Report,
    trees: Vec<Tree>,
}

impl Verifier {
    /// Verifies the documents of these brands, with one pass over the ledger for all of them.
    async fn verify(
        &mut self,
        snapshot: &mut PgConnection,
        brands: &[Brand],
        done: &mut impl FnMut(&str),
    ) -> Result<(), Error> {
        let mut chains = Vec::new();
        let mut counted = Vec::new();
        for brand in brands {
            let chain = Chain::read(snapshot, brand).await?;
            chain.check_end(snapshot, brand, &mut self.report).await?;
            let documents = chain.documents.iter().filter(|(stored, _)| self.is_wanted(stored));
            let documents = documents.filter_map(|(_, document)| document.as_ref());
            counted.extend(documents.flat_map(|document| again::wanted(brand, document)));
            chains.push((brand, chain));
        }
        let counted = distinct::kinds_as_of(&mut *snapshot, &counted).await?;
        for (brand, chain) in &chains {
            self.verify_chain(snapshot, &counted, brand, chain).await?;
            done(brand.id.as_str());
        }
        Ok(())
    }

    async fn verify_chain(
        &mut self,
        snapshot: &mut PgConnection,
        counted: &again::Counted,
        brand: &Brand,
        chain: &Chain,
    ) -> Result<(), Error> {
        for (place, (stored, document)) in chain.documents.iter().enumerate() {
            if !self.is_wanted(stored) {
                continue;
            }
            self.report.documents += 1;
            chain.check_stored(place, &mut self.report);
            let Some(document) = document else { continue };
            let basis = (&self.catalog, counted);
            let differs =
                again::differs(&mut *snapshot, basis, brand, &chain.documents, place).await?;
            if let Some(what) = differs {
                self.report.add(stored, what);
            }
            self.trees.extend(wanted(brand, stored, document));
        }
        Ok(())
    }

    fn is_wanted(&self, stored: &Stored) -> bool {
        self.only.is_none_or(|only| only == stored.document_no)
    }
}

/// Chain, hashes and rows of all documents, without the ledger: the audit's part.
///
/// # Errors
/// If the database is away.
pub async fn check_all(snapshot: &mut PgConnection) -> Result<Vec<Difference>, Error> {
    let mut report = Report::default();
    for brand in brands_with_documents(snapshot, None).await? {
        let chain = Chain::read(snapshot, &brand).await?;
        chain.check_end(snapshot, &brand, &mut report).await?;
        for place in 0..chain.documents.len() {
            chain.check_stored(place, &mut report);
        }
    }
    Ok(report.differences)
}

impl Chain {
    async fn read(snapshot: &mut PgConnection, brand: &Brand) -> Result<Self, Error> {
        let stored: Vec<Stored> =
            sqlx::query_as(rows::STORED).bind(brand.no).fetch_all(snapshot).await?;
        let read = |stored: Stored| {
            let document = stored.read().ok();
            (stored, document)
        };
        Ok(Self { documents: stored.into_iter().map(read).collect() })
    }

    /// The chain has as many documents as the brand's billing row says.
    async fn check_end(
        &self,
        snapshot: &mut PgConnection,
        brand: &Brand,
        report: &mut Report,
    ) -> Result<(), Error> {
        let said: Option<i32> =
            sqlx::query_scalar("select documents from brand_billing where brand_no = $1")
                .bind(brand.no)
                .fetch_optional(snapshot)
                .await?;
        let found = self.documents.len();
        if let Some((last, _)) = self.documents.last()
            && usize::try_from(said.unwrap_or(0)) != Ok(found)
        {
            let said = said.unwrap_or(0);
            report.add(last, format!("the brand has {found} documents and {said} were issued"));
        }
        Ok(())
    }

    /// What can be said of a document by its bytes, its rows and the one before it.
    fn check_stored(&self, place: usize, report: &mut Report) {
        let (stored, document) = &self.documents[place];
        let found = Hash::of(&[&stored.body]);
        if stored.hash != found.as_bytes() {
            report.add(stored, format!("its bytes hash to {found}, which is not its hash"));
        }
        if usize::try_from(stored.chain) != Ok(place + 1) {
            let what = format!(
                "it is number {} of the brand's chain, at place {}",
                stored.chain,
                place + 1
            );
            report.add(stored, what);
        }
        let Some(document) = document else {
            let what = stored.read().err().unwrap_or_default();
            report.add(stored, format!("its bytes: {what}"));
            return;
        };
        let before = place.checked_sub(1).and_then(|before| self.documents.get(before));
        let previous = before.map(|(before, _)| Hash::of(&[&before.body]));
        if document.previous != previous {
            report.add(stored, "the document before it in the chain is not the one that it names");
        }
        if let Err(refused) = document::check(document) {
            report.add(stored, format!("it breaks a rule: {refused}"));
        }
        if let Some(pointer) = rows::differ(stored, document) {
            report.add(stored, format!("its rows are not what its bytes say: {pointer}"));
        }
    }
}

/// A period of a document, and what the document says of its tree.
struct Tree {
    document: String,
    wanted: Wanted,
    root: Hash,
    size: u64,
}

fn wanted(brand: &Brand, stored: &Stored, document: &Document) -> Vec<Tree> {
    let number = |entry: u64| i64::try_from(entry).unwrap_or(i64::MAX);
    let trees = document.periods.iter().filter_map(|period| {
        let days = Period::new(period.start, period.end)?;
        let (after, cutoff) = (number(period.after), number(period.cutoff));
        let wanted = Wanted { brand_no: brand.no, days, after, cutoff };
        Some(Tree { document: stored.name(), wanted, root: period.root, size: period.size })
    });
    trees.collect()
}

/// Builds the trees again, many in one pass over the ledger.
async fn check_trees(
    snapshot: &mut PgConnection,
    trees: &[Tree],
    report: &mut Report,
) -> Result<(), Error> {
    const BATCH: usize = 20_000;
    for trees in trees.chunks(BATCH) {
        let wanted: Vec<Wanted> = trees.iter().map(|tree| tree.wanted).collect();
        let found = evidence::roots(snapshot, &wanted).await?;
        for (tree, found) in trees.iter().zip(found) {
            report.leaves += found.size;
            let start = tree.wanted.days.start();
            let mut add = |what: String| {
                let what = format!("the period from {start}: {what}");
                report.differences.push(Difference { document: tree.document.clone(), what });
            };
            if found.size != tree.size {
                let (now, then) = (found.size, tree.size);
                add(format!("the ledger has {now} rows behind it, and it was issued for {then}"));
            } else if found.root != tree.root {
                let now = found.root;
                add(format!("a row of the ledger behind it was changed: the root is {now} now"));
            }
            if let Some(fault) = found.fault {
                add(fault);
            }
        }
    }
    Ok(())
}

async fn brands_with_documents(
    snapshot: &mut PgConnection,
    only: Option<i32>,
) -> Result<Vec<Brand>, Error> {
    let numbers: Vec<i32> = sqlx::query_scalar(
        "select distinct brand_no from document where $1::int is null or brand_no = $1",
    )
    .bind(only)
    .fetch_all(&mut *snapshot)
    .await?;
    let mut brands = brands::all(snapshot).await?;
    brands.retain(|brand| numbers.contains(&brand.no));
    brands.sort_by_key(|brand| brand.no);
    Ok(brands)
}

/// The row and the brand of a document.
async fn find(snapshot: &mut PgConnection, name: &str) -> Result<Option<(i64, i32)>, Error> {
    Ok(sqlx::query_as(AssertSqlSafe(format!(
        "select document_no, brand_no from document where document_no = {NAMED}"
    )))
    .bind(name)
    .fetch_optional(snapshot)
    .await?)
}
