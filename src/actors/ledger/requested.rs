//! What operators ask for, carried out by the ledger actor while nothing is in flight: each in one
//! transaction with the answer to its request. What the database will never take is refused as a
//! request, and ends no life.

use chrono_tz::Tz;

use super::LedgerState;
use crate::store::commit::{Commit, Settlement};
use crate::store::corrections::{self, Correction, Moved, Work};
use crate::store::epochs::{self, Adoption};
use crate::store::gaps::Acceptance;
use crate::store::{self, ledger, parking, requests};

impl LedgerState {
    pub(super) async fn set_zone(
        &mut self,
        request_no: i64,
        brand_no: i32,
        zone: Tz,
    ) -> Result<bool, store::Error> {
        let fence = self.arguments.cursor.fence;
        let store = &self.arguments.store;
        let outcome = self.patiently(move || async move {
            let mut connection = store.connect_to_write().await?;
            ledger::set_zone(&mut connection, fence, request_no, brand_no, zone).await
        });
        let moved = self.unless_refused(request_no, outcome.await).await?;
        Ok(moved.flatten().is_some())
    }

    pub(super) async fn park(
        &mut self,
        request_no: i64,
        brand_no: i32,
    ) -> Result<bool, store::Error> {
        let fence = self.arguments.cursor.fence;
        let store = &self.arguments.store;
        let outcome = self.patiently(move || async move {
            let mut connection = store.connect_to_write().await?;
            parking::begin(&mut connection, fence, request_no, brand_no).await
        });
        let is_parked = self.unless_refused(request_no, outcome.await).await?;
        Ok(is_parked.unwrap_or(false))
    }

    pub(super) async fn correct(&mut self, correction: &Correction) -> Result<(), store::Error> {
        let fence = self.arguments.cursor.fence;
        self.make_segments(self.arguments.cursor.entry + correction.work.entries_max()).await?;
        let store = &self.arguments.store;
        let outcome = self.patiently(move || async move {
            let mut connection = store.connect_to_write().await?;
            corrections::carry_out(&mut connection, fence, correction).await
        });
        let outcome = outcome.await;
        let corrected = self.unless_refused(correction.request_no, outcome).await?;
        let Some(corrected) = corrected else { return Ok(()) };
        self.arguments.cursor.entry = corrected.entry;
        self.arguments.archive.committed(corrected.entry);
        self.arguments.committed.send_replace(Some(self.arguments.cursor.place()));
        self.tell_progress(Some(corrected.entry));
        for Moved { entry, first } in corrected.moved {
            self.arguments.keys.remove(first.brand_no, first.key, entry);
            // A sealed segment's receipts are behind its filter.
            if !self.arguments.archive.is_sealed(first.entry) {
                self.arguments.keys.add(first);
            }
        }
        if matches!(correction.work, Work::Repair { .. }) {
            self.arguments.archive.repaired();
        }
        for key in corrected.replaced {
            self.arguments.keys.replace(key);
        }
        Ok(())
    }

    pub(super) async fn dismiss(
        &mut self,
        request_no: i64,
        settlements: Vec<Settlement>,
        chunk: i64,
    ) -> Result<(), store::Error> {
        let cursor = &self.arguments.cursor;
        let text = format!("{} rejections dismissed", settlements.len());
        let commit = Commit {
            fence: cursor.fence,
            chunk,
            epoch: cursor.epoch,
            sequence_before: cursor.sequence,
            sequence: cursor.sequence,
            entry: cursor.entry,
            settlements,
            answer: Some((request_no, text)),
            ..Commit::default()
        };
        self.commit_answer(request_no, &commit).await
    }

    pub(super) async fn accept_gaps(
        &mut self,
        request_no: i64,
        acceptance: Acceptance,
        chunk: i64,
    ) -> Result<(), store::Error> {
        let cursor = &self.arguments.cursor;
        let text = format!("{} gaps accepted", acceptance.numbers.len());
        let commit = Commit {
            fence: cursor.fence,
            chunk,
            epoch: cursor.epoch,
            sequence_before: cursor.sequence,
            sequence: cursor.sequence,
            entry: cursor.entry,
            accepted: Some(acceptance),
            answer: Some((request_no, text)),
            ..Commit::default()
        };
        self.commit_answer(request_no, &commit).await
    }

    /// Begins a new epoch; every later chunk is compared with the cursor that it has left.
    pub(super) async fn adopt(&mut self, adoption: &Adoption) -> Result<(), store::Error> {
        let store = &self.arguments.store;
        let outcome = self.patiently(move || async move {
            let mut connection = store.connect_to_write().await?;
            epochs::adopt(&mut connection, adoption).await
        });
        let outcome = outcome.await;
        if let Some(cursor) = self.unless_refused(adoption.request_no, outcome).await? {
            self.arguments.committed.send_replace(Some(cursor.place()));
            self.arguments.cursor = cursor;
        }
        Ok(())
    }

    /// Commits what a request asks for, or refuses the request.
    async fn commit_answer(
        &mut self,
        request_no: i64,
        commit: &Commit,
    ) -> Result<(), store::Error> {
        let outcome = self.commit(commit).await;
        self.unless_refused(request_no, outcome).await?;
        Ok(())
    }

    /// Passes on what a request came to. If the database will never take it, the request is refused and
    /// metering goes on: nothing of it was written, and trying again would find the same.
    async fn unless_refused<T>(
        &self,
        request_no: i64,
        outcome: Result<T, store::Error>,
    ) -> Result<Option<T>, store::Error> {
        let error = match outcome {
            Ok(done) => return Ok(Some(done)),
            Err(error) => error,
        };
        let Some(why) = error.refusal_for_good() else { return Err(error) };
        let why = format!("the database refuses it: {why}");
        tracing::error!(request = request_no, why, "a request is refused");
        let store = &self.arguments.store;
        let fence = self.arguments.cursor.fence;
        self.patiently(|| requests::refuse(&store.pool, fence, request_no, &why)).await?;
        Ok(None)
    }
}
