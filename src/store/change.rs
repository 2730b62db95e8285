//! What people change: each change is a transaction that is begun here.
//!
//! A change that came under an Idempotency-Key notes itself on the key's row in its own transaction: the note
//! is there if the change is, whatever becomes of the connection, the process or the answer. The row is the
//! fence, too: once it was taken back or given to another try, what comes late under the old one is refused.

use std::cell::Cell;
use std::fmt;

use sqlx::{PgPool, PgTransaction};

use super::Error;

tokio::task_local! {
    static ATTEMPT: Attempt;
    static IS_BEGUN: Cell<bool>;
}

/// One try of a request that carries an Idempotency-Key, by the name that its row has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt(pub(super) String);

impl Attempt {
    /// Does `work`, whose changes are of this try.
    pub async fn of<F: Future>(self, work: F) -> F::Output {
        ATTEMPT.scope(self, work).await
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Does `work`, which can ask meanwhile whether [`is_begun`].
pub async fn noticed<F: Future>(work: F) -> F::Output {
    IS_BEGUN.scope(Cell::new(false), work).await
}

/// True if this work has begun a change, so that what it reads from then on is how it answers for something that
/// may have been made.
pub fn is_begun() -> bool {
    IS_BEGUN.try_with(Cell::get).unwrap_or(false)
}

/// Begins a change. Its transaction ends by itself if this process stops in its middle, since the rows that
/// it holds keep others waiting.
///
/// # Errors
/// [`Error::Overtaken`] if the try that it belongs to was given up; or the database is away.
pub async fn begin(pool: &PgPool) -> Result<PgTransaction<'static>, Error> {
    let mut transaction = pool.begin().await?;
    // Where nobody wants to know it, it is not noticed.
    let _ = IS_BEGUN.try_with(|is_begun| is_begun.set(true));
    // A connection keeps the plans of its triggers and foreign keys. Those that were made while a table was
    // small would read it whole, and go on doing so while a run fills it.
    sqlx::raw_sql(
        "set local idle_in_transaction_session_timeout = '60s'; set local enable_seqscan = off",
    )
    .execute(&mut *transaction)
    .await?;
    let Ok(attempt) = ATTEMPT.try_with(Clone::clone) else { return Ok(transaction) };
    // A run makes changes for as long as it goes on, and its try is abandoned only when none has come for long.
    let noted = sqlx::query(
        "update idempotency_key set done_at = coalesce(done_at, now()), began_at = now() \
         where attempt = $1::uuid",
    )
    .bind(&attempt.0)
    .execute(&mut *transaction)
    .await?;
    if noted.rows_affected() == 1 { Ok(transaction) } else { Err(Error::Overtaken) }
}

/// Commits a change if it is one, and takes it back if it has changed nothing, which is then not noted as done.
/// Says which.
///
/// # Errors
/// If the database is away.
pub async fn commit_if(
    transaction: PgTransaction<'static>,
    is_change: bool,
) -> Result<bool, Error> {
    if is_change {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(is_change)
}
