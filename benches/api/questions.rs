//! What is asked, and when.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use prooftally::store::Store;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::RngCore;
use serde::Serialize;

use crate::Options;

/// Rows of a page.
const PAGE: u32 = 100;
/// Before anything is counted.
pub const WARM_UP: Duration = Duration::from_secs(5);
/// Requests a second that read the ledger; they are asked after the others.
const LEDGER_REQUESTS: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Operation {
    Usage,
    Invoice,
    Receipt,
    Page,
    LinePage,
    BySupplier,
    ByProduct,
}

impl Operation {
    pub const ALL: [Self; 7] = [
        Self::Usage,
        Self::Invoice,
        Self::Receipt,
        Self::Page,
        Self::LinePage,
        Self::BySupplier,
        Self::ByProduct,
    ];
    const FAST: [Self; 5] = [Self::Usage, Self::Invoice, Self::Receipt, Self::Page, Self::LinePage];
    const OF_LEDGER: [Self; 2] = [Self::BySupplier, Self::ByProduct];

    pub fn name(self) -> &'static str {
        match self {
            Operation::Usage => "usage of a brand by predicate",
            Operation::Invoice => "invoice",
            Operation::Receipt => "receipt by id",
            Operation::Page => "page of an invoice's receipts",
            Operation::LinePage => "page of a line's receipts",
            Operation::BySupplier => "usage of a brand by supplier",
            Operation::ByProduct => "usage of a brand by product",
        }
    }
}

/// A request that is due so long after the first.
#[derive(Debug)]
pub struct Question {
    pub after: Duration,
    pub operation: Operation,
    pub target: String,
    /// False for those that warm up.
    pub counts: bool,
}

/// How long a load is asked under.
pub fn length(options: &Options) -> Duration {
    WARM_UP + Duration::from_secs(options.seconds) + ledger_length(options)
}

fn ledger_length(options: &Options) -> Duration {
    Duration::from_secs(options.seconds / 3 + 1)
}

/// What can be asked for.
pub struct Subjects {
    /// Of last month, at random: so brands are drawn as the workload draws them.
    billed: Vec<Drawn>,
    /// Of all that is counted, at random.
    receipt_ids: Vec<String>,
    invoices: HashMap<String, (String, Vec<i32>)>,
    middling_brand: String,
}

#[derive(Clone, Debug, sqlx::FromRow)]
struct Drawn {
    entry: i64,
    receipt_id: String,
    brand_id: String,
}

impl Subjects {
    /// Draws them by `seed`; what is billed are the entries up to `billed`.
    pub async fn draw(
        store: &Store,
        billed: i64,
        options: &Options,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let count = u64::from(options.requests) * length(options).as_secs();
        let mut draws = Pcg64Mcg::new(u128::from(seed));
        let entries: i64 =
            sqlx::query_scalar("select entry from cursor").fetch_one(&store.pool).await?;
        let billed = entries_of(store, &mut draws, count, billed).await?;
        let counted = entries_of(store, &mut draws, count, entries).await?;
        let invoices: Vec<(String, String, Vec<i32>)> = sqlx::query_as(
            "select b.brand_id, coalesce(d.number, d.document_no::text), \
                array(select line from document_line l \
                    where l.document_no = d.document_no and l.receipts > 0 order by line) \
             from document d join brand b using (brand_no)",
        )
        .fetch_all(&store.pool)
        .await?;
        let middling_brand = sqlx::query_scalar(
            "select brand_id from brand join (select brand_no, sum(receipts) as receipts \
                from usage_day group by 1) u using (brand_no) \
             order by receipts offset (select count(*) / 2 from brand) limit 1",
        )
        .fetch_one(&store.pool)
        .await?;
        Ok(Self {
            billed,
            receipt_ids: counted.into_iter().map(|drawn| drawn.receipt_id).collect(),
            invoices: invoices
                .into_iter()
                .map(|(brand, name, lines)| (brand, (name, lines)))
                .collect(),
            middling_brand,
        })
    }

    /// The questions of a load: first all operations but those that read the ledger, in turn, then those.
    pub fn questions(&self, options: &Options) -> anyhow::Result<Vec<Question>> {
        let mut questions = Vec::new();
        let fast = WARM_UP + Duration::from_secs(options.seconds);
        let every = Duration::from_secs(1) / options.requests;
        let mut after = Duration::ZERO;
        while after < fast {
            let number = questions.len();
            let operation = Operation::FAST[number % Operation::FAST.len()];
            let target = self.target(operation, number)?;
            questions.push(Question { after, operation, target, counts: after >= WARM_UP });
            after += every;
        }
        let every = Duration::from_secs(1) / LEDGER_REQUESTS;
        while after < length(options) {
            let number = questions.len();
            let operation = Operation::OF_LEDGER[number % Operation::OF_LEDGER.len()];
            let target = self.target(operation, number)?;
            questions.push(Question { after, operation, target, counts: true });
            after += every;
        }
        Ok(questions)
    }

    fn target(&self, operation: Operation, number: usize) -> anyhow::Result<String> {
        let Drawn { entry, brand_id, .. } = &self.billed[number % self.billed.len()];
        let (invoice, lines) = self.invoices.get(brand_id).context("each brand has an invoice")?;
        let middling = &self.middling_brand;
        Ok(match operation {
            Operation::Usage => format!("/v1/usage?brand={brand_id}&by=predicate"),
            Operation::Invoice => format!("/v1/invoices/{invoice}"),
            Operation::Receipt => {
                format!("/v1/receipts/{}", self.receipt_ids[number % self.receipt_ids.len()])
            }
            // From anywhere in the month, and with one receipt at least.
            Operation::Page => {
                let after = entry - 1;
                format!("/v1/invoices/{invoice}/receipts?limit={PAGE}&starting_after={after}")
            }
            Operation::LinePage => {
                let line = lines[number % lines.len()];
                format!("/v1/invoices/{invoice}/lines/{line}/receipts?limit={PAGE}")
            }
            Operation::BySupplier => format!("/v1/usage?brand={middling}&by=supplier"),
            Operation::ByProduct => format!("/v1/usage?brand={middling}&by=product"),
        })
    }
}

/// `count` of the first `last` entries at random, in random order.
async fn entries_of(
    store: &Store,
    draws: &mut Pcg64Mcg,
    count: u64,
    last: i64,
) -> anyhow::Result<Vec<Drawn>> {
    let last = u64::try_from(last)?;
    let wanted: Vec<i64> =
        (0..count).map(|_| (1 + draws.next_u64() % last).cast_signed()).collect();
    let found: Vec<Drawn> = sqlx::query_as(
        "select l.entry, l.receipt_id, b.brand_id from ledger l join brand b using (brand_no) \
         where l.entry = any($1)",
    )
    .bind(&wanted)
    .fetch_all(&store.pool)
    .await?;
    let found: HashMap<i64, Drawn> = found.into_iter().map(|drawn| (drawn.entry, drawn)).collect();
    let drawn = wanted.iter().map(|entry| found.get(entry).cloned().context("entries are dense"));
    drawn.collect()
}
