//! Parking on purpose, as a brand is parked that failed again and again; and unparking: a brand's parked events
//! are metered, oldest first, a chunk of them at a time.
//!
//! A chunk that fails, by the brand or by the database, is cut smaller, down to the one event that is at
//! fault. That event becomes a rejection, so that it keeps no other from being metered.

use billing::ids::BrandId;
use billing::receipt::{Reason, Refusal};
use bytes::Bytes;
use ractor::rpc::CallResult;

use super::intake::Intake;
use super::sorter::NotCounted;
use crate::actors::chunk::{ChunkBuilder, Left, Source};
use crate::actors::flight::Credit;
use crate::actors::ledger::LedgerMsg;
use crate::actors::refusals::Care;
use crate::store;
use crate::store::commit::NewRejection;
use crate::store::parking::{self, ParkedEvent};
use crate::store::requests;

/// The ledger's number for a row that was parked before.
const UNPARK_SOURCE: i16 = 2;

/// Parked events for one chunk.
struct Gathered {
    left: Left,
    rejected: Vec<NewRejection>,
}

impl Intake {
    /// Parks a brand that somebody wants parked: from the next chunk on its slices are answered at once as
    /// parked, like those of a brand that has failed too often.
    pub(super) async fn park(
        &mut self,
        request_no: i64,
        brand: &str,
        because: &str,
    ) -> Result<(), store::Error> {
        let Some(brand) = self.sorter.directory.brand(brand) else {
            return self.no_such_brand(request_no, brand).await;
        };
        // What is in flight is metered still; what comes after the answer is not.
        self.flight.idle().await;
        let brand_no = brand.no;
        let answered =
            self.ledger.call(|reply| LedgerMsg::Park { request_no, brand_no, reply }, None).await;
        // Without an answer this life is about to end, and the next one reads which brands are parked.
        if answered.is_ok_and(|answer| matches!(answer, CallResult::Success(true))) {
            self.flight.park(brand_no);
            tracing::warn!(
                brand = %brand.id,
                because,
                "brand is parked on purpose; its events are kept and not metered until \
                 `prooftally brands unpark`"
            );
        }
        Ok(())
    }

    /// Lets one chunk of parked events fly. As long as there are more the request waits on, and the
    /// stream is read meanwhile; with the last of them the brand's live events are metered again,
    /// which are behind them in the flight.
    pub(super) async fn unpark(
        &mut self,
        epoch: i32,
        request_no: i64,
        brand: &str,
        credit: &mut Option<Credit>,
    ) -> Result<(), store::Error> {
        let Some(brand) = self.sorter.directory.brand(brand) else {
            return self.no_such_brand(request_no, brand).await;
        };
        // What is in flight may park more of its events, and they are to be found.
        self.flight.idle().await;
        let care = match self.refusals.care_of_parked(brand.no) {
            Ok(care) => care,
            Err(why) => {
                let why = format!(
                    "one event after the other fails, so the cause is not theirs; the rest stays parked: \
                     {why}"
                );
                return requests::refuse(&self.store.pool, self.fence, request_no, &why).await;
            }
        };
        let Some(credit) = credit.take() else { return Ok(()) };
        let mut builder = ChunkBuilder::new(self.flight.number(), epoch, UNPARK_SOURCE);
        let Gathered { left, rejected } =
            self.gather_parked(&mut builder, brand.no, &brand.id, &care).await?;
        let rejected_before = self.refusals.parked_rejected(brand.no, rejected.len());
        let source =
            Source::Unpark { request_no, brand_no: brand.no, left, rejected, rejected_before };
        let chunk = self.look_up(builder.finish(source, None)).await?;
        if left == Left::Nothing {
            self.flight.unpark(brand.no);
        }
        self.flight.begin(chunk, credit);
        Ok(())
    }

    /// Takes the brand's oldest parked events, a chunk of them at most, and says what is left. Those that
    /// are refused, which were good when they were parked, are rejected: a limit was lowered since.
    async fn gather_parked(
        &self,
        builder: &mut ChunkBuilder,
        brand_no: i32,
        brand: &BrandId,
        care: &Care,
    ) -> Result<Gathered, store::Error> {
        const PAGE: usize = 1_000;
        let events_max = match care {
            Care::None => self.config.chunk_messages_max,
            Care::Small(events) => *events,
            Care::Refuse(_) => 1,
        };
        let mut gathered = Gathered { left: Left::More, rejected: Vec::new() };
        let (mut after, mut taken, mut bytes) = (None, 0, 0);
        loop {
            let events = parking::oldest(&self.store.pool, brand_no, after, PAGE).await?;
            let is_last_page = events.len() < PAGE;
            for event in events {
                if taken >= events_max || bytes >= self.config.chunk_bytes_max {
                    return Ok(gathered);
                }
                after = Some((event.epoch, event.sequence));
                taken += 1;
                bytes += event.raw.len();
                let refusal = match care {
                    Care::Refuse(why) => Some(why.clone()),
                    _ => self.count_parked(builder, &event),
                };
                gathered
                    .rejected
                    .extend(refusal.map(|why| self.reject_parked(event, brand.as_str(), why)));
            }
            if is_last_page {
                gathered.left = Left::Nothing;
                return Ok(gathered);
            }
        }
    }

    /// Adds a parked event to the chunk, or says why not.
    fn count_parked(&self, builder: &mut ChunkBuilder, event: &ParkedEvent) -> Option<Refusal> {
        let payload = Bytes::copy_from_slice(&event.raw);
        let position = (event.epoch, event.sequence);
        match self.sorter.count(builder, position, &payload, event.stored_at) {
            Ok(()) => None,
            Err(NotCounted::Refused(refusal)) => Some(refusal),
            // It had a brand and a predicate, and neither is ever taken away.
            Err(NotCounted::NewName) => Some(Refusal::new(
                Reason::UnknownBrand,
                "its brand or predicate is not known any more",
            )),
        }
    }

    fn reject_parked(&self, event: ParkedEvent, brand: &str, refusal: Refusal) -> NewRejection {
        let ParkedEvent { epoch, sequence, stored_at, raw } = event;
        let reason = refusal.reason.as_str();
        tracing::warn!(epoch, sequence, brand, reason, "a parked event is rejected");
        NewRejection {
            epoch,
            sequence,
            stored_at,
            subject: self.sorter.config.verified.clone(),
            reason,
            detail: refusal.detail,
            brand_id: Some(brand.to_owned()),
            receipt_id: self.sorter.receipt_id(&raw),
            raw,
        }
    }
}
