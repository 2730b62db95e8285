//! What the intake proves before it believes it: that positions are gone, that no commits were lost,
//! and, while it reads, that the stream is still the one that was metered.

use std::time::Instant;

use async_nats::jetstream::context::ConsumerInfoErrorKind;

use super::identity;
use super::intake::{Intake, STREAM_SOURCE};
use super::leader;
use super::pull::{Delivery, Doubt, EPOCH_LABEL};
use crate::actors::chunk::{ChunkBuilder, Source};
use crate::actors::flight::Credit;
use crate::store::cursor::{self, Cursor, Place};
use crate::store::gaps::{self, NewGap, Reason};
use crate::telemetry::health::Component;

/// What the bus says about how far we are. Read before the cursor, which may move on meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Witnessed {
    /// The consumer's ack floor, with the epoch that the consumer was made in.
    floor: Option<(Option<i32>, i64)>,
    witness: Option<Place>,
}

/// A message that waits and is not delivered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    position: i64,
    since: Instant,
}

impl Intake {
    /// Reads what the bus says about how far we are.
    pub(super) async fn witnessed(&self) -> Result<Witnessed, Doubt> {
        let pull = &self.config.pull;
        let doubt = |error: String| Doubt::Leader(format!("consumer {}: {error}", pull.consumer));
        let stream = self
            .bus
            .jetstream
            .get_stream_no_info(&pull.stream)
            .await
            .map_err(|error| doubt(error.to_string()))?;
        let floor = match stream.consumer_info(&pull.consumer).await {
            Ok(info) => {
                let epoch = info.config.metadata.get(EPOCH_LABEL);
                let floor = i64::try_from(info.ack_floor.stream_sequence).unwrap_or(i64::MAX);
                Some((epoch.and_then(|epoch| epoch.parse().ok()), floor))
            }
            Err(error) => match error.kind() {
                ConsumerInfoErrorKind::NotFound => None,
                ConsumerInfoErrorKind::StreamNotFound => {
                    return Err(leader::no_stream(&pull.stream));
                }
                _ => return Err(doubt(error.to_string())),
            },
        };
        Ok(Witnessed { floor, witness: self.witness.read().await? })
    }

    /// The stream is the one that was metered; if not, that is a gap.
    pub(super) async fn check_identity(&mut self, cursor: &Cursor) -> Result<leader::State, Doubt> {
        let (jetstream, config) = (&self.bus.jetstream, &self.config);
        let origin = config.origin.as_deref();
        let checked = identity::check(jetstream, &config.pull.stream, origin, cursor).await;
        match &checked {
            Ok(_) => {
                self.health.well(Component::Stream);
                self.in_doubt = false;
                self.metrics.identified(true);
            }
            Err(doubt @ (Doubt::Identity(_) | Doubt::Mirror(_))) => {
                self.in_doubt = true;
                self.metrics.identified(false);
                self.health.ill(Component::Stream, doubt.to_string());
                let gap = NewGap {
                    epoch: cursor.epoch,
                    first: cursor.sequence + 1,
                    last: None,
                    reason: Reason::StreamChanged,
                    detail: doubt.to_string(),
                    next_stored_at: None,
                };
                self.note(&gap).await?;
            }
            Err(_) => {}
        }
        checked
    }

    /// Records what was committed and is not in the database any more, before anything is touched
    /// that knows of it.
    pub(super) async fn check_commits(
        &mut self,
        witnessed: &Witnessed,
        cursor: &Cursor,
    ) -> Result<(), Doubt> {
        let here = cursor.place();
        let committed = *self.committed.borrow();
        let known = witnessed.witness.into_iter().chain(committed).chain(self.sure_of);
        let lost = match lost_by_witness(known, &here) {
            Some(lost) => Some(lost),
            None => self.lost_by_floor(witnessed, &here).await?,
        };
        let Some((last, detail)) = lost else {
            self.sure_of = Some(here);
            return Ok(());
        };
        tracing::error!(after = cursor.sequence, ?last, detail, "commits are lost; reading again");
        let gap = NewGap {
            epoch: cursor.epoch,
            first: cursor.sequence + 1,
            last,
            reason: Reason::CommitsLost,
            detail,
            next_stored_at: None,
        };
        self.note(&gap).await?;
        // Only once it is recorded: from here on a floor that is ahead is no evidence any more.
        self.sure_of = Some(here);
        Ok(())
    }

    /// A floor moves over positions that are gone by itself; only a message that it has passed and the
    /// database has not is proof.
    async fn lost_by_floor(
        &self,
        witnessed: &Witnessed,
        here: &Place,
    ) -> Result<Option<(Option<i64>, String)>, Doubt> {
        let Some((epoch, floor)) = witnessed.floor else { return Ok(None) };
        if epoch.is_some_and(|epoch| epoch != here.epoch) || floor <= here.sequence {
            return Ok(None);
        }
        if self.sure_of.is_some() {
            let consumer = &self.config.pull.consumer;
            tracing::warn!(consumer, floor, "somebody has moved the consumer; it is made anew");
            return Ok(None);
        }
        let stream = &self.config.pull.stream;
        let next = leader::next(&self.bus.jetstream, stream, here.sequence + 1).await?;
        let text = format!(
            "the consumer says that position {floor} is committed, and the database is at {}: it was \
             restored to an earlier point, or somebody has moved the consumer",
            here.sequence
        );
        Ok(next.filter(|next| next.sequence <= floor).map(|_| (Some(floor), text)))
    }

    async fn note(&self, gap: &NewGap) -> Result<(), Doubt> {
        let noted = gaps::note(&self.store.pool, self.fence, gap)
            .await
            .map_err(|error| Doubt::Recording(error.to_string()))?;
        if noted {
            let NewGap { first, last, reason, detail, .. } = gap;
            tracing::error!(first, ?last, reason = reason.as_str(), detail, "a gap is open");
            self.metrics.gap_found(gap.reason, gap.positions());
        }
        Ok(())
    }

    /// Adds the positions before a delivery to the chunk as a gap, once the leader has said that it
    /// does not have them.
    pub(super) async fn miss(
        &self,
        builder: &mut ChunkBuilder,
        epoch: i32,
        first: i64,
        delivery: &Delivery,
    ) -> Result<(), Doubt> {
        let stream = &self.config.pull.stream;
        let last = delivery.sequence - 1;
        if let Some(next) = leader::next(&self.bus.jetstream, stream, first).await?
            && next.sequence <= last
        {
            return Err(Doubt::NotMissing { first, last, found: next.sequence });
        }
        let detail = "the leader has no message here; the stream goes on after it".to_owned();
        let next_stored_at = Some(delivery.stored_at);
        builder.miss(NewGap {
            epoch,
            first,
            last: Some(last),
            reason: Reason::Missing,
            detail,
            next_stored_at,
        });
        Ok(())
    }

    /// Lets a chunk fly that has only a gap, if the stream's positions after `position` are all gone:
    /// nothing would be delivered that shows it. Returns the position after it, and whether a message
    /// waits there.
    pub(super) async fn skip_what_is_gone(
        &mut self,
        epoch: i32,
        position: i64,
        stream_last: i64,
        credit: Credit,
    ) -> Result<(i64, bool), Doubt> {
        let stream = &self.config.pull.stream;
        // Asked after `stream_last` was, so what is not there now is no message that came meanwhile.
        let next = leader::next(&self.bus.jetstream, stream, position + 1).await?;
        if next.is_some() || stream_last <= position {
            return Ok((position, next.is_some()));
        }
        let mut builder = ChunkBuilder::new(self.flight.number(), epoch, STREAM_SOURCE);
        builder.miss(NewGap {
            epoch,
            first: position + 1,
            last: Some(stream_last),
            reason: Reason::Missing,
            detail: "the leader has no message here, up to the stream's end".to_owned(),
            next_stored_at: None,
        });
        tell(builder.gaps());
        self.follows_gap = true;
        let source = Source::Stream { before: position, last: stream_last, stored_at: None };
        self.flight.begin(builder.finish(source, None), credit);
        Ok((stream_last, false))
    }

    /// Looks, while reading, whether the stream is still the one that was metered, whether positions
    /// are gone, and whether messages wait that are not delivered. Returns the position.
    pub(super) async fn look_again(
        &mut self,
        epoch: i32,
        position: i64,
        waiting: &mut Option<Waiting>,
        credit: Credit,
    ) -> Result<i64, Doubt> {
        // A database that is away says nothing about the stream.
        let Ok(cursor) = cursor::read(&self.store.pool).await else { return Ok(position) };
        if cursor.fence != self.fence {
            return Ok(position);
        }
        let state = self.check_identity(&cursor).await?;
        let (position, waits) = self.skip_what_is_gone(epoch, position, state.last, credit).await?;
        let now = Instant::now();
        *waiting = match *waiting {
            _ if !waits => None,
            Some(before) if before.position == position => {
                if now - before.since > self.config.pull.heartbeat * 2 {
                    return Err(Doubt::Stalled { position });
                }
                Some(before)
            }
            _ => Some(Waiting { position, since: now }),
        };
        Ok(position)
    }
}

/// Says once for a chunk that positions are gone.
pub(super) fn tell(gaps: &[NewGap]) {
    let (Some(first), Some(last)) = (gaps.first(), gaps.last()) else { return };
    tracing::error!(
        gaps = gaps.len(),
        positions = gaps.iter().map(NewGap::positions).sum::<i64>(),
        first = first.first,
        last = last.last,
        "the stream no longer has these positions: receipts may be lost"
    );
}

/// What is known to be committed and is not in the database: the last position of it, if it is one,
/// and the evidence in words.
fn lost_by_witness(
    known: impl Iterator<Item = Place>,
    here: &Place,
) -> Option<(Option<i64>, String)> {
    let ahead = known
        .filter(|place| {
            place.epoch > here.epoch
                || place.epoch == here.epoch
                    && (place.sequence > here.sequence || place.entry > here.entry)
        })
        .max_by_key(|place| (place.epoch, place.sequence, place.entry))?;
    let is_position = ahead.epoch == here.epoch && ahead.sequence > here.sequence;
    let text = format!(
        "epoch {}, position {} and entry {} were committed under fence {}, and the database is at epoch \
         {}, position {} and entry {}: it was restored to an earlier point",
        ahead.epoch,
        ahead.sequence,
        ahead.entry,
        ahead.fence,
        here.epoch,
        here.sequence,
        here.entry
    );
    Some((is_position.then_some(ahead.sequence), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: i32, sequence: i64, entry: i64) -> Place {
        Place { epoch, sequence, entry, fence: 1 }
    }

    /// `expected` is whether something is lost, and the last position of that.
    fn check(known: &[Place], expected: (bool, Option<i64>)) {
        let lost = lost_by_witness(known.iter().copied(), &place(2, 20, 15));
        let found = (lost.is_some(), lost.and_then(|(last, _)| last));
        assert_eq!(found, expected, "{known:?}");
    }

    #[test]
    fn only_what_is_ahead_of_the_database_is_lost() {
        check(&[], (false, None));
        check(&[place(2, 20, 15), place(2, 19, 15), place(1, 900, 15)], (false, None));
        check(&[place(2, 30, 25)], (true, Some(30)));
        check(&[place(2, 18, 13), place(2, 30, 25), place(2, 40, 35)], (true, Some(40)));
        // A retry moves no position, and an epoch that is not known here has others.
        check(&[place(2, 20, 16)], (true, None));
        check(&[place(3, 5, 15)], (true, None));
    }
}
