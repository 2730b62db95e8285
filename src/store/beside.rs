//! Two connections that see one snapshot, so that what does not depend on each other is read at once.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::timeout;

use super::{Error, Store};

/// Plans are made for what there is now. A connection keeps those of its statements, and one that has looked while
/// there were no documents would go on reading theirs row by row: a run of 10,000 took 26 s so, and takes 4.
pub const PLANS: &str = "set local plan_cache_mode = force_custom_plan";

/// The connections that a look at the books reads with.
pub struct Readers<'a> {
    pub snapshot: &'a mut PgConnection,
    /// Sees what `snapshot` sees; `None` where one is enough, or there is no other.
    pub beside: Option<&'a mut PgConnection>,
}

impl<'a> Readers<'a> {
    /// One connection alone.
    pub fn one(snapshot: &'a mut PgConnection) -> Self {
        Self { snapshot, beside: None }
    }
}

/// A connection that is not there within this time is done without: whoever waits for it holds a snapshot.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Opens a connection of its own that sees what `snapshot` sees, for as long as that one goes on. `None` if there
/// is none to be had soon, or what stands between us and the database gives another server's.
pub async fn open(store: &Store, snapshot: &mut PgConnection) -> Option<PgConnection> {
    let query = sqlx::query_scalar("select pg_export_snapshot()");
    let name: String = query.fetch_one(snapshot).await.ok()?;
    timeout(WAIT_MAX, join(store, &name)).await.ok()?.ok()
}

async fn join(store: &Store, name: &str) -> Result<PgConnection, Error> {
    let mut beside = store.connect().await?;
    // The name is PostgreSQL's own, of digits and dashes.
    let begin = format!(
        "begin isolation level repeatable read read only; set transaction snapshot '{name}'; {PLANS}"
    );
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut beside).await?;
    Ok(beside)
}
