//! Transactions in which the API reads: a snapshot, with a limit in time, and for a caller who belongs to a
//! brand under a role that sees the rows of that brand alone.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, PgTransaction, Postgres};

use super::{Error, Store};

/// Begins a read-only snapshot. With a brand's number only its rows can be seen, whatever is asked.
///
/// # Errors
/// If the database is away.
pub async fn begin(
    store: &Store,
    brand_no: Option<i32>,
    timeout: Duration,
) -> Result<PgTransaction<'static>, Error> {
    let mut transaction: sqlx::Transaction<'static, Postgres> =
        store.pool.begin_with("begin isolation level repeatable read read only").await?;
    // Local to the transaction: whoever takes the connection next starts as the login again. Plans are made for
    // what is asked: one for any brand and any entries would be for small ones, and read the large ones whole.
    sqlx::query(
        "select set_config('statement_timeout', $1, true), set_config('prooftally.brand', $2, true), \
            set_config('plan_cache_mode', 'force_custom_plan', true), \
            set_config('search_path', case $2 when '' then 'public' else 'own_rows, public' end, true)",
    )
    .bind(timeout.as_millis().to_string())
    .bind(brand_no.map_or_else(String::new, |no| no.to_string()))
    .execute(&mut *transaction)
    .await?;
    if brand_no.is_some() {
        sqlx::query("set local role prooftally_brand").execute(&mut *transaction).await?;
    }
    Ok(transaction)
}

/// Lets the statements of a snapshot take so long instead: what is streamed goes at its reader's pace.
/// Answers with the number by which [`cancel`] knows the snapshot's connection.
///
/// # Errors
/// If the database is away.
pub async fn extend(snapshot: &mut PgConnection, timeout: Duration) -> Result<i32, Error> {
    let query = "select pg_backend_pid() from set_config('statement_timeout', $1, true)";
    let timeout = timeout.as_millis().to_string();
    Ok(sqlx::query_scalar(query).bind(timeout).fetch_one(snapshot).await?)
}

/// Ends the statement that runs on a connection which the caller holds; none if it is idle.
///
/// # Errors
/// If the database is away.
pub async fn cancel(pool: &PgPool, backend: i32) -> Result<(), Error> {
    sqlx::query("select pg_cancel_backend($1)").bind(backend).execute(pool).await?;
    Ok(())
}
