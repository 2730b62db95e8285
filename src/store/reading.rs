//! Transactions in which the API reads: a snapshot, with a limit in time, and for a caller who belongs to a
//! brand under a role that sees the rows of that brand alone.

use std::time::Duration;

use billing::ids::BrandId;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, PgTransaction};

use super::{Error, Store};

/// How the statements of a snapshot are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plans {
    /// For the values that are asked for: a plan for any brand and any entries would be for small ones, and read
    /// the large ones whole.
    ForValues,
    /// Once and then kept, where that is as good: for what is found by its name. To plan for it takes ten times as
    /// long as to find it. Before the ledger is read, a statement says [`FOR_VALUES`].
    Kept,
}

impl Plans {
    fn settings(self) -> &'static str {
        match self {
            Plans::ForValues => "set local plan_cache_mode = force_custom_plan",
            // A plan that was made while there were few documents would read all of them whole later on.
            Plans::Kept => "set local plan_cache_mode = auto; set local enable_seqscan = off",
        }
    }
}

/// In the `from` of a statement that gives a row: from the next one on plans are [`Plans::ForValues`]. So it takes no
/// message of its own.
pub const FOR_VALUES: &str = "set_config('plan_cache_mode', 'force_custom_plan', true) as for_values, \
    set_config('enable_seqscan', 'on', true) as any_scan";

/// Begins a read-only snapshot. With a brand's number only its rows can be seen, whatever is asked.
///
/// # Errors
/// If the database is away.
pub async fn begin(
    store: &Store,
    brand_no: Option<i32>,
    timeout: Duration,
    plans: Plans,
) -> Result<PgTransaction<'static>, Error> {
    // All in one message, since each costs a wait for the other side, which is the longest on a busy machine.
    // It is put together of numbers and fixed parts, so none of it fails and leaves a transaction begun.
    let brand = brand_no.map_or_else(String::new, |no| no.to_string());
    let path = if brand_no.is_some() { "own_rows, public" } else { "public" };
    let statement = format!(
        "begin isolation level repeatable read read only; set local statement_timeout = {}; \
         set local prooftally.brand = '{brand}'; set local search_path = {path}; \
         {}; {SETTINGS}",
        timeout.as_millis(),
        plans.settings(),
    );
    let mut transaction: PgTransaction<'static> =
        store.pool.begin_with(AssertSqlSafe(statement)).await?;
    // By itself, since it fails where the role is not there.
    if brand_no.is_some() {
        sqlx::query("set local role prooftally_brand").execute(&mut *transaction).await?;
    }
    Ok(transaction)
}

/// Local to the transaction, as all settings are: whoever takes the connection next starts as the login again.
/// A reader keeps one processor busy at most, and leaves the others to metering.
const SETTINGS: &str = "set local max_parallel_workers_per_gather = 0";

/// A snapshot that may be read for longer.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Extended {
    /// By which [`cancel`] knows the snapshot's connection.
    pub backend: i32,
    /// False if a brand was asked about and there is none.
    pub knows_brand: bool,
}

/// Lets the statements of a snapshot take so long instead: what is streamed goes at its reader's pace. Says with the
/// same message whether there is a brand of this id.
///
/// # Errors
/// If the database is away.
pub async fn extend(
    snapshot: &mut PgConnection,
    timeout: Duration,
    brand: Option<&BrandId>,
) -> Result<Extended, Error> {
    let statement = format!(
        "select pg_backend_pid() as backend, \
            $2::text is null or exists (select from brand where brand_id = $2) as knows_brand \
         from set_config('statement_timeout', $1, true), {FOR_VALUES}"
    );
    let query = sqlx::query_as(AssertSqlSafe(statement));
    let timeout = timeout.as_millis().to_string();
    Ok(query.bind(timeout).bind(brand.map(BrandId::as_str)).fetch_one(snapshot).await?)
}

/// Ends the statement that runs on a connection which the caller holds; none if it is idle.
///
/// # Errors
/// If the database is away.
pub async fn cancel(pool: &PgPool, backend: i32) -> Result<(), Error> {
    sqlx::query("select pg_cancel_backend($1)").bind(backend).execute(pool).await?;
    Ok(())
}
