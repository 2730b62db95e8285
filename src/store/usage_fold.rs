//! Usage follows the ledger: `usage_day` is the ledger's entries up to `usage_fold.entry`, summed up.
//!
//! One statement adds receipts to it, wherever they came from. What is still to be added is told by the
//! database alone, so nothing of it is lost with a process, and it does not matter who adds it. A void
//! is taken off by what makes it, once all before it has been added.
//!
//! Locks are taken in this order: the cursor, `usage_fold`, rows of usage by their key.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, PgExecutor};

use super::Error;

/// Entries that are added with the commit that counts the last of them. More take a second or longer, for
/// which a commit should not wait, and their sums more memory than a statement has by default.
pub const ENTRIES_AT_ONCE: i64 = 65_536;

/// The last entry that usage has.
///
/// # Errors
/// If the database is away.
pub async fn last_entry(executor: impl PgExecutor<'_>) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("select entry from usage_fold").fetch_one(executor).await?)
}

/// Adds all that is committed and not yet in usage, in a transaction of its own. Returns the last entry
/// that usage then has. Commits go on meanwhile.
///
/// # Errors
/// If the database is away or refuses.
pub async fn fold(connection: &mut PgConnection) -> Result<i64, Error> {
    let mut transaction = connection.begin().await?;
    let after = lock(&mut transaction).await?;
    // Only a statement that begins after the lock was granted sees all that others have added.
    let last = sqlx::query_scalar("select entry from cursor").fetch_one(&mut *transaction).await?;
    add(&mut transaction, after, last).await?;
    transaction.commit().await?;
    Ok(last)
}

/// Adds everything up to `last`, in the transaction of a caller who holds the cursor.
pub(super) async fn add_up_to(transaction: &mut PgConnection, last: i64) -> Result<(), Error> {
    let after = lock(&mut *transaction).await?;
    add(transaction, after, last).await
}

/// As [`add_up_to`], but leaves it to others if they are at it, or if it is too much to do at once.
/// Returns the last entry that usage is known to have.
pub(super) async fn try_add_up_to(
    transaction: &mut PgConnection,
    last: i64,
) -> Result<Option<i64>, Error> {
    let after: Option<i64> =
        sqlx::query_scalar("select entry from usage_fold for update skip locked")
            .fetch_optional(&mut *transaction)
            .await?;
    let Some(after) = after.filter(|after| last - after <= ENTRIES_AT_ONCE) else {
        return Ok(after);
    };
    add(transaction, after, last).await?;
    Ok(Some(last))
}

async fn lock(transaction: &mut PgConnection) -> Result<i64, Error> {
    let query = sqlx::query_scalar("select entry from usage_fold for update");
    Ok(query.fetch_one(transaction).await?)
}

/// Adds the entries after `after` up to `last`. The caller holds the lock.
async fn add(transaction: &mut PgConnection, after: i64, last: i64) -> Result<(), Error> {
    if after >= last {
        return Ok(());
    }
    if last - after > ENTRIES_AT_ONCE {
        sqlx::query("select set_config('work_mem', '64MB', true)")
            .execute(&mut *transaction)
            .await?;
    }
    // The bounds are written out and the plan is not kept, so that PostgreSQL plans for the segments that
    // they fall in and locks no others.
    let statement = format!(
        "insert into usage_day as u \
            (brand_no, usage_day, predicate_no, result, receipts, last_entry) \
         select brand_no, usage_day, predicate_no, coalesce(result, true), count(*), max(entry) \
         from ledger where entry > {after} and entry <= {last} and source <> 4 \
         group by 1, 2, 3, 4 order by 1, 2, 3, 4 \
         on conflict (brand_no, usage_day, predicate_no, result) do update set \
            receipts = u.receipts + excluded.receipts, \
            last_entry = greatest(u.last_entry, excluded.last_entry)"
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    sqlx::query("update usage_fold set entry = $1").bind(last).execute(transaction).await?;
    Ok(())
}
