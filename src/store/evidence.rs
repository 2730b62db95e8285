//! Evidence: the ledger rows behind the periods of documents, as leaves of their Merkle trees.
//!
//! Rows are read by COPY, segment by segment and in the order of entries, so memory does not grow with
//! the ledger. Many periods are read in one pass: a sealed segment has an index by brand and usage day,
//! the open one has none and is read whole, once for all.
//!
//! What a leaf does not hold of a row (the receipt's key, the content's digest) is computed again and
//! compared, so that no byte of a row can differ and go unseen.

use std::collections::{BTreeMap, HashMap};

use billing::evidence::leaf::{Leaf, Source};
use billing::evidence::merkle::{Inclusion, Tree};
use billing::hash::Hash;
use billing::ids::Predicate;
use billing::period::Period;
use billing::receipt::{Content, ReceiptKey};
use futures_util::TryStreamExt;
use sqlx::PgConnection;

use super::copy::{self, Fields};
use super::{Error, brands, segments};

/// The rows of a brand's period that a document counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub brand_no: i32,
    pub days: Period,
    /// Entries above `after` and up to `cutoff`.
    pub after: i64,
    pub cutoff: i64,
}

impl Wanted {
    fn has(&self, leaf: &Leaf<'_>) -> bool {
        let entry = leaf.entry.cast_signed();
        self.after < entry && entry <= self.cutoff && self.days.contains(leaf.usage_day)
    }
}

/// What a document says of the rows behind a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub root: Hash,
    pub size: u64,
    /// The first row that contradicts itself. Nothing must be issued on top of it.
    pub fault: Option<String>,
}

/// That a row is among those that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    pub root: Hash,
    /// The row's leaf, in its bytes.
    pub leaf: Vec<u8>,
    pub inclusion: Inclusion,
}

/// Root and size of the tree over the rows of `wanted`, in the caller's snapshot.
///
/// # Errors
/// If the database is away.
pub async fn root(connection: &mut PgConnection, wanted: Wanted) -> Result<Evidence, Error> {
    let found = roots(connection, &[wanted]).await?.pop();
    Ok(found.expect("there is one for each of `wanted`"))
}

/// Root and size of the tree of each of `wanted`, in one pass over the ledger, in the caller's snapshot.
///
/// # Errors
/// If the database is away.
pub async fn roots(
    connection: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<Vec<Evidence>, Error> {
    let mut trees: Vec<(Tree, Option<String>)> = vec![(Tree::new(), None); wanted.len()];
    let mut text = Vec::with_capacity(512);
    read(connection, wanted, |index, row| {
        let (tree, fault) = &mut trees[index];
        text.clear();
        let written =
            row.check().and_then(|()| row.leaf.write(&mut text).map_err(|error| error.to_string()));
        match written {
            Ok(()) => tree.push(&text),
            // The row is there, so it counts; what stands for it proves nothing.
            Err(why) => {
                tree.push(b"");
                fault.get_or_insert(why);
            }
        }
    })
    .await?;
    let evidence =
        |(tree, fault): (Tree, _)| Evidence { root: tree.root(), size: tree.size(), fault };
    Ok(trees.into_iter().map(evidence).collect())
}

/// [`roots`] of rows none of which contradicts itself.
///
/// # Errors
/// [`Error::Corrupt`] if one does; otherwise as [`roots`].
pub async fn trees(
    connection: &mut PgConnection,
    wanted: &[Wanted],
) -> Result<Vec<(Hash, u64)>, Error> {
    let found = roots(connection, wanted).await?.into_iter();
    found
        .map(|Evidence { root, size, fault }| match fault {
            None => Ok((root, size)),
            Some(fault) => Err(Error::Corrupt(fault)),
        })
        .collect()
}

/// Proves that the row of `entry` is among those of `wanted`; `None` if it is not.
///
/// # Errors
/// If the database is away, or a row cannot be a leaf.
pub async fn prove(
    connection: &mut PgConnection,
    wanted: Wanted,
    entry: i64,
) -> Result<Option<Proven>, Error> {
    let (mut tree, mut proved, mut fault) = (Tree::new(), None, None);
    let mut text = Vec::with_capacity(512);
    read(connection, &[wanted], |_, row| {
        text.clear();
        let written =
            row.check().and_then(|()| row.leaf.write(&mut text).map_err(|error| error.to_string()));
        if let Err(why) = written {
            fault.get_or_insert(Error::Corrupt(why));
        }
        if row.leaf.entry == entry.cast_unsigned() {
            tree.prove_next();
            proved = Some(text.clone());
        }
        tree.push(&text);
    })
    .await?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let (root, inclusion) = tree.finish();
    Ok(proved.zip(inclusion).map(|(leaf, inclusion)| Proven { root, leaf, inclusion }))
}

/// A row of the ledger as it was read.
struct LedgerRow<'a> {
    leaf: Leaf<'a>,
    key: ReceiptKey,
    digest: u64,
    /// Why the leaf is not that of the row.
    fault: Option<&'static str>,
}

impl LedgerRow<'_> {
    /// Finds what is derived from other columns and is not what follows from them.
    fn check(&self) -> Result<(), String> {
        let Leaf { entry, receipt_id, predicate, supplier, product, result, .. } = self.leaf;
        if let Some(fault) = self.fault {
            return Err(format!("entry {entry}: {fault}"));
        }
        if ReceiptKey::of(receipt_id) != self.key {
            return Err(format!("entry {entry}: its receipt key is not that of {receipt_id:?}"));
        }
        if (Content { predicate, supplier, product, result }).digest() != self.digest {
            return Err(format!("entry {entry}: its digest is not that of its content"));
        }
        Ok(())
    }
}

/// Columns of [`row`], in their order. The width of a row is what costs, so names are numbers here.
const COLUMNS: &str = "brand_no, entry, epoch, sequence, source, predicate_no, receipt_id, supplier, \
    product, result, verified_at, expires_at, usage_day, of_entry, receipt_key, digest";

/// The names that a row's numbers stand for.
struct Names {
    brands: HashMap<i32, String>,
    predicates: HashMap<i32, (String, String)>,
}

impl Names {
    async fn read(connection: &mut PgConnection, wanted: &[i32]) -> Result<Self, Error> {
        let brands: Vec<(i32, String)> =
            sqlx::query_as("select brand_no, brand_id from brand where brand_no = any($1)")
                .bind(wanted)
                .fetch_all(&mut *connection)
                .await?;
        let predicates = brands::predicates(connection).await?;
        let predicates = predicates
            .into_iter()
            .filter(|of| Predicate::new(&of.name, &of.version).is_some())
            .map(|of| (of.predicate_no, (of.name, of.version)));
        Ok(Self { brands: brands.into_iter().collect(), predicates: predicates.collect() })
    }
}

/// Hands each row of each of `wanted` to `take`, with its index, in the order of entries.
async fn read(
    connection: &mut PgConnection,
    wanted: &[Wanted],
    mut take: impl FnMut(usize, &LedgerRow<'_>),
) -> Result<(), Error> {
    let mut of_brand: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (index, scope) in wanted.iter().enumerate().filter(|(_, one)| one.after < one.cutoff) {
        of_brand.entry(scope.brand_no).or_default().push(index);
    }
    if of_brand.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i32> = of_brand.keys().copied().collect();
    let names = Names::read(connection, &numbers).await?;
    for statement in statements(connection, wanted, &numbers).await? {
        let mut bytes = connection.copy_out_raw(&statement).await?;
        let mut rows = copy::Rows::default();
        while let Some(part) = bytes.try_next().await? {
            rows.push(&part, |fields| {
                if fields.is_end() {
                    return Ok(());
                }
                let (brand_no, row) = row(fields, &names)?;
                for &index in of_brand.get(&brand_no).into_iter().flatten() {
                    if wanted[index].has(&row.leaf) {
                        take(index, &row);
                    }
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// A statement for each segment that can have rows that are wanted.
async fn statements(
    connection: &mut PgConnection,
    wanted: &[Wanted],
    brands: &[i32],
) -> Result<Vec<String>, Error> {
    let ranges = || wanted.iter().filter(|one| one.after < one.cutoff);
    // Under the role of a brand, too, which needs to know no more of the cursor.
    let (entry, segment_entries): (i64, Option<i64>) =
        sqlx::query_as("select entry, segment_entries from cursor").fetch_one(connection).await?;
    let segment_entries = segment_entries.unwrap_or(i64::MAX);
    let first = ranges().map(|one| one.after + 1).min().unwrap_or(1);
    let last = ranges().map(|one| one.cutoff).max().unwrap_or(0).min(entry);
    let start = ranges().map(|one| one.days.start()).min().unwrap_or_default();
    let end = ranges().map(|one| one.days.end()).max().unwrap_or_default();
    let brands = match brands {
        [brand] => format!("= {brand}"),
        brands => format!("= any('{{{}}}')", list(brands)),
    };
    let mut statements = Vec::new();
    let mut from = first;
    while from <= last {
        let segment = segments::segment_of(from, segment_entries);
        let until = segments::entries_of(segment, segment_entries).end.min(last + 1);
        // Made of numbers and dates alone, so the statement is safe to put together. The bounds are
        // those of one segment, so the planner looks at no other.
        statements.push(format!(
            "copy (select {COLUMNS} from ledger where brand_no {brands} \
             and usage_day >= '{start}' and usage_day < '{end}' \
             and entry >= {from} and entry < {until} order by entry) to stdout (format binary)"
        ));
        from = until;
    }
    Ok(statements)
}

fn list(numbers: &[i32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The brand's number, and the row. What a number should stand for and does not is the row's fault,
/// which must not hide the rows of others.
fn row<'a>(mut fields: Fields<'a>, names: &'a Names) -> Result<(i32, LedgerRow<'a>), Error> {
    let brand_no = i32::from_be_bytes(fields.fixed()?);
    let entry = i64::from_be_bytes(fields.fixed()?);
    let epoch = i32::from_be_bytes(fields.fixed()?);
    let sequence = i64::from_be_bytes(fields.fixed()?);
    let source = i16::from_be_bytes(fields.fixed()?);
    let source = usize::try_from(source).ok().and_then(|source| Source::ALL.get(source).copied());
    let predicate_no = i32::from_be_bytes(fields.fixed()?);
    let brand = names.brands.get(&brand_no);
    let predicate = names.predicates.get(&predicate_no);
    let fault = match (source, brand, predicate) {
        (None, ..) => Some("its source is none"),
        (_, None, _) => Some("its brand has no name"),
        (.., None) => Some("its predicate has no name"),
        _ => None,
    };
    let leaf = Leaf {
        entry: entry.cast_unsigned(),
        epoch: epoch.cast_unsigned(),
        sequence: sequence.cast_unsigned(),
        source: source.unwrap_or(Source::Stream),
        brand: brand.map_or("", String::as_str),
        receipt_id: fields.text()?.unwrap_or_default(),
        predicate: predicate.map_or(Predicate { name: "", version: "" }, |(name, version)| {
            Predicate { name, version }
        }),
        supplier: fields.text()?,
        product: fields.text()?,
        result: fields.nullable::<1>()?.map(|[value]| value != 0),
        verified_at: copy::timestamptz(fields.fixed()?),
        expires_at: fields.nullable()?.map(copy::timestamptz),
        usage_day: copy::date(fields.fixed()?),
        of_entry: fields.nullable()?.map(|of| i64::from_be_bytes(of).cast_unsigned()),
    };
    let key = ReceiptKey(u128::from_be_bytes(fields.fixed()?));
    let digest = u64::from_be_bytes(fields.fixed()?);
    Ok((brand_no, LedgerRow { leaf, key, digest, fault }))
}
