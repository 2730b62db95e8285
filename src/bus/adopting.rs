//! Errands about the stream itself: accepting gaps, and beginning a new epoch.

use super::identity;
use super::intake::Intake;
use super::leader;
use super::pull::Doubt;
use crate::actors::ledger::LedgerMsg;
use crate::store::epochs::Adoption;
use crate::store::gaps::{self, Acceptance, Filter, Reason};
use crate::store::{self, cursor, requests};

impl Intake {
    /// Has open gaps accepted. That the stream is another one is accepted only once that is over.
    pub(super) async fn accept_gaps(
        &mut self,
        epoch: i32,
        request_no: i64,
        acceptance: Acceptance,
    ) -> Result<(), store::Error> {
        let pool = &self.store.pool;
        let limit = i64::try_from(acceptance.numbers.len()).unwrap_or(i64::MAX);
        let numbers = acceptance.numbers.clone();
        let open = gaps::list(pool, &Filter { numbers, is_open: Some(true), limit }).await?;
        let lasting = open.iter().find(|gap| {
            self.in_doubt && gap.epoch == epoch && gap.reason == Reason::StreamChanged.as_str()
        });
        if let Some(gap) = lasting {
            let why = format!(
                "gap {} is not over: bring the stream back that was metered, or begin with this one by \
                 `prooftally stream adopt`; then accept it",
                gap.gap_no
            );
            return requests::refuse(pool, self.fence, request_no, &why).await;
        }
        let acceptance =
            Acceptance { numbers: open.iter().map(|gap| gap.gap_no).collect(), ..acceptance };
        let chunk = self.flight.number();
        self.flight.idle().await;
        // If the ledger is gone this intake is about to be ended with it; the request waits.
        let _ = self
            .ledger
            .call(|reply| LedgerMsg::AcceptGaps { request_no, acceptance, chunk, reply }, None)
            .await;
        Ok(())
    }

    /// Begins a new epoch with the stream as it is now, if it is not the one that was metered.
    pub(super) async fn adopt_stream(
        &mut self,
        request_no: i64,
        by: String,
        because: String,
    ) -> Result<(), store::Error> {
        self.flight.idle().await;
        let cursor = cursor::read(&self.store.pool).await?;
        let adoption = match self.adoptable(&cursor).await {
            Ok((began_after, first_stored_at)) => Adoption {
                fence: self.fence,
                chunk: self.flight.number(),
                epoch: cursor.epoch,
                began_after,
                first_stored_at,
                request_no,
                by,
                because,
            },
            Err(why) => {
                return requests::refuse(&self.store.pool, self.fence, request_no, &why).await;
            }
        };
        tracing::warn!(epoch = adoption.epoch + 1, by = adoption.by, "a new epoch begins");
        let adoption = Box::new(adoption);
        let answered = self.ledger.call(|reply| LedgerMsg::Adopt { adoption, reply }, None).await;
        if answered.is_ok_and(|answer| answer.is_success()) {
            self.in_doubt = false;
        }
        Ok(())
    }

    /// One before the stream's first position, and when that was stored; or why the stream cannot be
    /// adopted.
    async fn adoptable(
        &self,
        cursor: &cursor::Cursor,
    ) -> Result<(i64, Option<chrono::DateTime<chrono::Utc>>), String> {
        let (jetstream, stream) = (&self.bus.jetstream, &self.config.pull.stream);
        let unknown = |doubt: Doubt| format!("it cannot be found out which stream it is: {doubt}");
        if let Some(origin) = &self.config.origin {
            identity::check_mirror(jetstream, stream, origin).await.map_err(|doubt| match doubt {
                Doubt::Mirror(why) => format!(
                    "{why}: delete the mirror, make it anew by `prooftally stream ensure`, and adopt \
                     it then"
                ),
                doubt => unknown(doubt),
            })?;
        }
        match identity::check_cursor(jetstream, stream, self.config.origin.is_some(), cursor).await
        {
            Err(Doubt::Identity(_)) => {}
            Err(doubt) => return Err(unknown(doubt)),
            Ok(_) => {
                return Err(format!("{stream} is the stream that was metered; nothing to adopt"));
            }
        }
        let state = leader::state(jetstream, stream).await.map_err(unknown)?;
        let first = state.map_or(1, |state| state.first.max(1));
        let next = leader::next(jetstream, stream, first).await.map_err(unknown)?;
        Ok((first - 1, next.map(|next| next.at)))
    }
}
