//! Reads usage: receipts by what they are grouped by.

use billing::ids::BrandId;
use chrono::NaiveDate;
use futures_util::{Stream, TryStreamExt};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, PgConnection, PgExecutor, Row};

use super::Error;

/// What usage can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    Brand,
    Day,
    /// From Monday.
    Week,
    Month,
    Predicate,
    Result,
    Supplier,
    Product,
}

impl Dimension {
    pub const ALL: [Self; 8] = [
        Self::Brand,
        Self::Day,
        Self::Week,
        Self::Month,
        Self::Predicate,
        Self::Result,
        Self::Supplier,
        Self::Product,
    ];

    pub fn column(self) -> &'static str {
        match self {
            Dimension::Brand => "brand",
            Dimension::Day => "usage_day",
            Dimension::Week => "week",
            Dimension::Month => "month",
            Dimension::Predicate => "predicate",
            Dimension::Result => "result",
            Dimension::Supplier => "supplier",
            Dimension::Product => "product",
        }
    }

    /// Usage rows do not have these: the ledger must be read.
    fn is_in_ledger_only(self) -> bool {
        matches!(self, Dimension::Supplier | Dimension::Product)
    }

    fn expression(self) -> &'static str {
        match self {
            Dimension::Brand => "b.brand_id",
            Dimension::Day => "u.usage_day",
            Dimension::Week => "date_trunc('week', u.usage_day)::date",
            Dimension::Month => "date_trunc('month', u.usage_day)::date",
            Dimension::Predicate => "p.name || '@' || p.version",
            Dimension::Result => "u.result",
            Dimension::Supplier => "u.supplier",
            Dimension::Product => "u.product",
        }
    }
}

/// Which usage is wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// At least one, in the order of the columns.
    pub by: Vec<Dimension>,
    pub brand: Option<BrandId>,
    /// First usage day.
    pub from: Option<NaiveDate>,
    /// The day after the last usage day.
    pub until: Option<NaiveDate>,
}

impl Query {
    /// True if the answer comes from the ledger and not from the usage rows.
    pub fn reads_ledger(&self) -> bool {
        self.by.iter().any(|dimension| dimension.is_in_ledger_only())
    }

    /// The statement. It is put together of fixed parts; what the caller gives is bound.
    fn statement(&self) -> String {
        let columns: Vec<String> = self
            .by
            .iter()
            .map(|dimension| format!("{} as {}", dimension.expression(), dimension.column()))
            .collect();
        let groups: Vec<String> = (1..=self.by.len()).map(|place| place.to_string()).collect();
        let (rows, counts) = if self.reads_ledger() {
            (
                // A void takes its receipt back.
                "(select brand_no, usage_day, predicate_no, coalesce(result, true) as result, \
                    supplier, product, case source when 4 then -1 else 1 end as receipts \
                    from ledger)",
                "sum(u.receipts)::bigint as receipts, null::bigint as duplicates",
            )
        } else {
            (
                "usage_day",
                "sum(u.receipts - u.voided)::bigint as receipts, \
                    sum(u.duplicates)::bigint as duplicates",
            )
        };
        format!(
            "select {columns}, {counts} from {rows} u join brand b using (brand_no) \
             join predicate p using (predicate_no) \
             where ($1::text is null or b.brand_id = $1) \
                and ($2::date is null or u.usage_day >= $2) \
                and ($3::date is null or u.usage_day < $3) \
             group by {groups} order by {groups}",
            columns = columns.join(", "),
            groups = groups.join(", "),
        )
    }
}

/// A group of receipts. Dimensions that were not asked for are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    pub brand: Option<String>,
    pub usage_day: Option<NaiveDate>,
    /// The Monday of the week.
    pub week: Option<NaiveDate>,
    /// The first day of the month.
    pub month: Option<NaiveDate>,
    pub predicate: Option<String>,
    pub result: Option<bool>,
    pub supplier: Option<String>,
    pub product: Option<String>,
    /// What was counted less what was taken back.
    pub receipts: i64,
    /// How often these receipts were seen again; `None` where the ledger was read.
    pub duplicates: Option<i64>,
}

impl FromRow<'_, PgRow> for UsageRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        fn optional<'r, T>(row: &'r PgRow, column: &str) -> Result<Option<T>, sqlx::Error>
        where
            Option<T>: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
        {
            match row.try_get(column) {
                Err(sqlx::Error::ColumnNotFound(_)) => Ok(None),
                value => value,
            }
        }
        Ok(Self {
            brand: optional(row, "brand")?,
            usage_day: optional(row, "usage_day")?,
            week: optional(row, "week")?,
            month: optional(row, "month")?,
            predicate: optional(row, "predicate")?,
            result: optional(row, "result")?,
            supplier: optional(row, "supplier")?,
            product: optional(row, "product")?,
            receipts: row.try_get("receipts")?,
            duplicates: row.try_get("duplicates")?,
        })
    }
}

/// The usage that `query` asks for, in the order of its dimensions.
///
/// # Errors
/// If the database is away.
pub async fn query(executor: impl PgExecutor<'_>, query: &Query) -> Result<Vec<UsageRow>, Error> {
    Ok(sqlx::query_as(AssertSqlSafe(query.statement()))
        .bind(query.brand.as_ref().map(BrandId::as_str))
        .bind(query.from)
        .bind(query.until)
        .fetch_all(executor)
        .await?)
}

/// The usage that `query` asks for, row by row as the database gives it.
pub fn rows<'a>(
    connection: &'a mut PgConnection,
    query: &'a Query,
) -> impl Stream<Item = Result<UsageRow, Error>> + Unpin + Send + 'a {
    sqlx::query_as(AssertSqlSafe(query.statement()))
        .bind(query.brand.as_ref().map(BrandId::as_str))
        .bind(query.from)
        .bind(query.until)
        .fetch(connection)
        .map_err(Error::from)
}

/// The last usage day of a brand.
///
/// # Errors
/// If the database is away.
pub async fn last_day(
    executor: impl PgExecutor<'_>,
    brand_no: i32,
) -> Result<Option<NaiveDate>, Error> {
    let query = "select max(usage_day) from usage_day where brand_no = $1 and receipts > voided";
    Ok(sqlx::query_scalar(query).bind(brand_no).fetch_one(executor).await?)
}

/// The first usage day of a brand.
///
/// # Errors
/// If the database is away.
pub async fn first_day(
    executor: impl PgExecutor<'_>,
    brand_no: i32,
) -> Result<Option<NaiveDate>, Error> {
    let query = "select min(usage_day) from usage_day where brand_no = $1 and receipts > voided";
    Ok(sqlx::query_scalar(query).bind(brand_no).fetch_one(executor).await?)
}
