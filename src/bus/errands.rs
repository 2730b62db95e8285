//! Errands: requests of the command line, carried out between chunks.
//!
//! A retry becomes a chunk that did not come from the stream and takes the same way as any other, so
//! it is deduplicated against what is in flight too. Everything else waits until nothing is in flight
//! and is handed to the ledger actor, which alone writes.

use std::str::FromStr;

use billing::receipt::Reason;
use bytes::Bytes;
use chrono_tz::Tz;

use super::intake::Intake;
use super::sorter::NotCounted;
use crate::actors::chunk::{ChunkBuilder, Source};
use crate::actors::flight::Credit;
use crate::actors::ledger::LedgerMsg;
use crate::store;
use crate::store::brands::Brand;
use crate::store::commit::Settlement;
use crate::store::corrections::{Correction, Work};
use crate::store::cursor;
use crate::store::gaps::Acceptance;
use crate::store::rejections::{self, Filter, Rejection};
use crate::store::requests::{self, Ask, Request};

/// The ledger's number for a row that came from a retry.
const RETRY_SOURCE: i16 = 1;

impl Intake {
    /// Carries out what was asked, oldest first. If the database is away it is tried again when the
    /// bell rings next.
    pub(super) async fn run_errands(&mut self, credit: Credit) {
        let mut credit = Some(credit);
        loop {
            // A request may have begun another epoch.
            let epoch = match cursor::read(&self.store.pool).await {
                Ok(cursor) if cursor.fence == self.fence => cursor.epoch,
                Ok(_) => return,
                Err(error) => return tracing::debug!(%error, "requests cannot be read"),
            };
            let request = match requests::next(&self.store.pool).await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(error) => return tracing::debug!(%error, "requests cannot be read"),
            };
            let number = request.request_no;
            tracing::info!(request = number, asked_by = request.asked_by, "carrying out a request");
            if let Err(error) = self.run_errand(epoch, request, &mut credit).await {
                return tracing::warn!(request = number, %error, "a request waits");
            }
            // The request is answered with its commit; reading on before would find it again.
            self.flight.idle().await;
            if credit.is_none() {
                return self.bell.ring();
            }
        }
    }

    async fn run_errand(
        &mut self,
        epoch: i32,
        request: Request,
        credit: &mut Option<Credit>,
    ) -> Result<(), store::Error> {
        let Request { request_no, ask, asked_by } = request;
        match ask {
            Ask::RetryRejections { numbers } => {
                let found = self.open_rejections(&numbers).await?;
                if let Some(credit) = credit.take() {
                    self.retry(epoch, request_no, asked_by, &found, credit).await?;
                }
                Ok(())
            }
            Ask::DismissRejections { numbers, reason } => {
                let found = self.open_rejections(&numbers).await?;
                self.dismiss(request_no, &asked_by, &reason, &found).await;
                Ok(())
            }
            Ask::SetZone { brand, zone, seen } => {
                self.set_zone(request_no, &brand, &zone, seen.as_deref()).await
            }
            Ask::DismissConflicts { numbers, because } => {
                let work = Work::DismissConflicts { numbers };
                self.correct(Correction { request_no, asked_by, because, work }).await;
                Ok(())
            }
            Ask::ResolveConflicts { numbers, because } => {
                let work = self.right_contents(&numbers).await?;
                self.correct(Correction { request_no, asked_by, because, work }).await;
                Ok(())
            }
            Ask::VoidReceipts { brand, receipts, because } => {
                let Some(known) = self.sorter.directory.brand(&brand) else {
                    return self.no_such_brand(request_no, &brand).await;
                };
                let work = Work::Void { brand_no: known.no, receipts };
                self.correct(Correction { request_no, asked_by, because, work }).await;
                Ok(())
            }
            Ask::RepairDoubles { doubles, because } => {
                let work = Work::Repair { doubles };
                self.correct(Correction { request_no, asked_by, because, work }).await;
                Ok(())
            }
            Ask::Park { brand, because } => self.park(request_no, &brand, &because).await,
            Ask::Unpark { brand } => self.unpark(epoch, request_no, &brand, credit).await,
            Ask::AcceptGaps { numbers, reason } => {
                let acceptance = Acceptance { numbers, by: asked_by, because: reason };
                self.accept_gaps(epoch, request_no, acceptance).await
            }
            Ask::AdoptStream { reason } => self.adopt_stream(request_no, asked_by, reason).await,
        }
    }

    pub(super) async fn no_such_brand(
        &self,
        request_no: i64,
        brand: &str,
    ) -> Result<(), store::Error> {
        let why = format!("there is no brand {brand}");
        requests::refuse(&self.store.pool, self.fence, request_no, &why).await
    }

    async fn open_rejections(&self, numbers: &[i64]) -> Result<Vec<Rejection>, store::Error> {
        let filter = Filter {
            numbers: numbers.to_vec(),
            state: Some("open".to_owned()),
            limit: i64::try_from(numbers.len()).unwrap_or(i64::MAX),
            ..Filter::default()
        };
        rejections::list(&self.store.pool, &filter).await
    }

    async fn retry(
        &mut self,
        epoch: i32,
        request_no: i64,
        asked_by: String,
        found: &[Rejection],
        credit: Credit,
    ) -> Result<(), store::Error> {
        let payloads: Vec<Bytes> =
            found.iter().map(|rejection| Bytes::copy_from_slice(&rejection.raw)).collect();
        let named = payloads.iter().zip(found).map(|(raw, of)| (raw, of.stored_at));
        self.sorter.number_names(&self.store, named, &self.health).await?;
        let mut builder = ChunkBuilder::new(self.flight.number(), epoch, RETRY_SOURCE);
        let (mut rejections, mut still_rejected) = (Vec::new(), Vec::new());
        for (rejection, payload) in found.iter().zip(&payloads) {
            let position = (rejection.epoch, rejection.sequence);
            match self.sorter.count(&mut builder, position, payload, rejection.stored_at) {
                Ok(()) => rejections.push(rejection.rejection_no),
                Err(NotCounted::Refused(refusal)) => {
                    still_rejected.push((rejection.rejection_no, refusal.reason));
                }
                // Its names were numbered just now, unless a limit was reached meanwhile.
                Err(NotCounted::NewName) => {
                    still_rejected.push((rejection.rejection_no, Reason::UnknownBrand));
                }
            }
        }
        let source = Source::Retry { request_no, asked_by, rejections, still_rejected };
        self.fly(builder.finish(source, None), credit).await
    }

    async fn dismiss(
        &mut self,
        request_no: i64,
        asked_by: &str,
        reason: &str,
        found: &[Rejection],
    ) {
        let settlements = found
            .iter()
            .map(|rejection| Settlement {
                rejection_no: rejection.rejection_no,
                state: "dismissed",
                entry: None,
                settled_by: asked_by.to_owned(),
                settlement: reason.to_owned(),
            })
            .collect();
        let chunk = self.flight.number();
        self.flight.idle().await;
        // If the ledger is gone this intake is about to be ended with it; the request waits.
        let _ = self
            .ledger
            .call(|reply| LedgerMsg::Dismiss { request_no, settlements, chunk, reply }, None)
            .await;
    }

    async fn set_zone(
        &mut self,
        request_no: i64,
        brand: &str,
        zone: &str,
        seen: Option<&str>,
    ) -> Result<(), store::Error> {
        let pool = &self.store.pool;
        let Ok(zone) = Tz::from_str(zone) else {
            return requests::refuse(
                pool,
                self.fence,
                request_no,
                &format!("{zone} is no IANA zone"),
            )
            .await;
        };
        let Some(known) = self.sorter.directory.brand(brand) else {
            return self.no_such_brand(request_no, brand).await;
        };
        if seen.is_some_and(|seen| seen != known.zone.name()) {
            let why = format!("the zone is {} meanwhile", known.zone);
            return requests::refuse(pool, self.fence, request_no, &why).await;
        }
        self.flight.idle().await;
        let brand_no = known.no;
        let answered = self
            .ledger
            .call(|reply| LedgerMsg::SetZone { request_no, brand_no, zone, reply }, None)
            .await;
        if answered.is_ok_and(|answer| matches!(answer, ractor::rpc::CallResult::Success(true))) {
            // The next slice carries the brand with its new zone.
            self.sorter.directory.add_brands(vec![Brand { zone, ..(*known).clone() }]);
        }
        Ok(())
    }
}
