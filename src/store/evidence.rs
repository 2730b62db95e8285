//! Evidence: the tree over the ledger rows behind a period of a document.

use billing::evidence::leaf::{Leaf, Source};
use billing::evidence::merkle::Tree;
use billing::hash::Hash;
use billing::ids::Predicate;
use billing::period::Period;
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::TryStreamExt as _;
use sqlx::{FromRow, PgConnection};

use super::Error;

/// The rows of a brand's usage days that lie after one entry, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub brand_no: i32,
    pub days: Period,
    pub after: i64,
    pub cutoff: i64,
}

#[derive(FromRow)]
struct Row {
    place: i64,
    entry: i64,
    epoch: i32,
    sequence: i64,
    source: i16,
    brand_id: String,
    receipt_id: String,
    name: String,
    version: String,
    supplier: Option<String>,
    product: Option<String>,
    result: Option<bool>,
    verified_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    usage_day: NaiveDate,
    of_entry: Option<i64>,
}

impl Row {
    fn append(&self, text: &mut Vec<u8>) -> Result<(), Error> {
        let corrupt = |what: String| Error::Corrupt(format!("entry {}: {what}", self.entry));
        let source = usize::try_from(self.source).ok();
        let source = source
            .and_then(|number| {
                [Source::Stream, Source::Retry, Source::Unpark, Source::Resolution, Source::Void]
                    .get(number)
                    .copied()
            })
            .ok_or_else(|| corrupt(format!("source {}", self.source)))?;
        let leaf = Leaf {
            entry: self.entry.unsigned_abs(),
            epoch: self.epoch.unsigned_abs(),
            sequence: self.sequence.unsigned_abs(),
            source,
            brand: &self.brand_id,
            receipt_id: &self.receipt_id,
            predicate: Predicate::new(&self.name, &self.version)
                .ok_or_else(|| corrupt("its predicate cannot be read".to_owned()))?,
            supplier: self.supplier.as_deref(),
            product: self.product.as_deref(),
            result: self.result,
            verified_at: self.verified_at,
            expires_at: self.expires_at,
            usage_day: self.usage_day,
            of_entry: (source == Source::Void)
                .then_some(self.of_entry)
                .flatten()
                .map(i64::unsigned_abs),
        };
        leaf.write(text).map_err(|error| corrupt(error.to_string()))
    }
}

/// Root and size of the tree of each of `wanted`, in one pass over the ledger.
///
/// # Errors
/// If the database is away, or a row cannot be a leaf.
pub async fn trees(
    snapshot: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<Vec<(Hash, u64)>, Error> {
    let mut trees: Vec<Tree> = wanted.iter().map(|_| Tree::new()).collect();
    let mut rows = sqlx::query_as::<_, Row>(
        "select w.place, l.entry, l.epoch, l.sequence, l.source, b.brand_id, l.receipt_id, p.name, \
            p.version, l.supplier, l.product, l.result, l.verified_at, l.expires_at, l.usage_day, \
            l.of_entry \
         from unnest($1::int[], $2::date[], $3::date[], $4::bigint[], $5::bigint[]) with ordinality \
            as w (brand_no, first_day, end_day, after, cutoff, place) \
         join ledger l on l.brand_no = w.brand_no and l.usage_day >= w.first_day \
            and l.usage_day < w.end_day and l.entry > w.after and l.entry <= w.cutoff \
         join brand b on b.brand_no = l.brand_no \
         join predicate p on p.predicate_no = l.predicate_no \
         order by w.place, l.entry",
    )
    .bind(wanted.iter().map(|one| one.brand_no).collect::<Vec<_>>())
    .bind(wanted.iter().map(|one| one.days.start()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|one| one.days.end()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|one| one.after).collect::<Vec<_>>())
    .bind(wanted.iter().map(|one| one.cutoff).collect::<Vec<_>>())
    .fetch(&mut *snapshot);
    let mut text = Vec::new();
    while let Some(row) = rows.try_next().await? {
        text.clear();
        row.append(&mut text)?;
        let tree = usize::try_from(row.place - 1).ok().and_then(|place| trees.get_mut(place));
        tree.ok_or_else(|| Error::Corrupt("a row of no tree".to_owned()))?.push(&text);
    }
    drop(rows);
    Ok(trees
        .into_iter()
        .map(|tree| {
            let size = tree.size();
            (tree.root(), size)
        })
        .collect())
}
