//! The chunks in flight and their join: who has answered, who must be asked again, what may commit.
//!
//! Everything that concerns the order of slices happens under one lock that is never held across an
//! await: dispatching a chunk, taking an answer, attaching a brand's actor. So a brand's actor gets
//! its slices in stream order, each once, whatever dies in between: a brand that sleeps and a brand
//! that has died are the same here, a brand without an actor, and attaching one sends it all that
//! is not committed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::brand::{Answer, BrandMsg};
use super::brand_supervisor::BrandSupervisorMsg;
use super::chunk::{Chunk, ChunkNo, Source};
use super::ledger::LedgerMsg;
use crate::store::brands::Brand;

/// A credit of the intake. It returns when the chunk that carries it leaves the flight, however.
#[derive(Debug)]
pub struct Credit(pub OwnedSemaphorePermit);

/// A chunk with an answer to each of its slices.
pub struct Complete {
    pub chunk: Arc<Chunk>,
    pub answers: Vec<Arc<Answer>>,
}

/// Shared by the intake, the brands and the ledger.
#[derive(Clone)]
pub struct Flight {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The last number that was given to a chunk.
    issued: AtomicI64,
    /// The last chunk whose keys are in the shared map.
    committed: AtomicI64,
    in_flight: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    chunks: VecDeque<InFlight>,
    actors: HashMap<i32, Active>,
    /// Brands whose actor was asked for and has not come yet.
    waking: HashSet<i32>,
    /// Brands whose events are parked.
    parked: HashSet<i32>,
    /// How often a brand has failed on its slice of this chunk.
    tries: HashMap<i32, (ChunkNo, u32)>,
    supervisor: Option<ActorRef<BrandSupervisorMsg>>,
    ledger: Option<ActorRef<LedgerMsg>>,
}

/// A brand's actor, and when it was given work last.
struct Active {
    actor: ActorRef<BrandMsg>,
    used: Instant,
}

/// How much is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// In flight.
    pub chunks: usize,
    /// Brands that have an actor.
    pub actors: usize,
    /// Brands whose events are parked.
    pub parked: usize,
}

/// What a brand's failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again.
    Retry,
    /// It has failed too often on the same slice: its events are parked from there on.
    Parked,
    /// The actor was not the brand's any more.
    Stranger,
}

struct InFlight {
    chunk: Arc<Chunk>,
    answers: Vec<Option<Arc<Answer>>>,
    missing: usize,
    _credit: Credit,
}

impl Flight {
    /// Its first chunk is `first`.
    pub fn new(first: ChunkNo) -> Self {
        let shared = Shared {
            state: Mutex::new(State::default()),
            issued: AtomicI64::new(first - 1),
            committed: AtomicI64::new(0),
            in_flight: watch::channel(0).0,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says who wakes brands and who commits.
    pub fn connect(&self, supervisor: ActorRef<BrandSupervisorMsg>, ledger: ActorRef<LedgerMsg>) {
        let mut state = self.shared.state.lock();
        state.supervisor = Some(supervisor);
        state.ledger = Some(ledger);
    }

    /// A number for the next chunk. It is taken before the chunk is looked up in the archive.
    pub fn number(&self) -> ChunkNo {
        self.shared.issued.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The last number that was given to a chunk.
    pub fn issued(&self) -> ChunkNo {
        self.shared.issued.load(Ordering::Acquire)
    }

    /// Takes a chunk into flight and sends each brand its slice.
    pub fn begin(&self, chunk: Chunk, credit: Credit) {
        let chunk = Arc::new(chunk);
        let mut state = self.shared.state.lock();
        let mut flying = InFlight {
            chunk: Arc::clone(&chunk),
            answers: vec![None; chunk.slices.len()],
            missing: chunk.slices.len(),
            _credit: credit,
        };
        let is_unparked = matches!(chunk.source, Source::Unpark { .. });
        let now = Instant::now();
        for (slice, of) in chunk.slices.iter().enumerate() {
            if state.parked.contains(&of.brand.no) && !is_unparked {
                flying.park(slice);
            } else {
                let chunk = Arc::clone(&chunk);
                state.send_or_wake(&of.brand, now, BrandMsg::Meter { chunk, slice });
            }
        }
        let is_complete = flying.missing == 0;
        state.chunks.push_back(flying);
        self.shared.in_flight.send_replace(state.chunks.len());
        if is_complete && state.chunks.len() == 1 {
            state.announce();
        }
    }

    /// Parks the brand's events from now on.
    pub fn park(&self, brand_no: i32) {
        self.shared.state.lock().parked.insert(brand_no);
    }

    /// Lets the brand decide about its events again.
    pub fn unpark(&self, brand_no: i32) {
        self.shared.state.lock().parked.remove(&brand_no);
    }

    /// Takes a brand's answer. A second answer to the same slice is dropped: the first one stands.
    pub fn answer(&self, chunk: ChunkNo, slice: usize, answer: Answer) {
        let mut state = self.shared.state.lock();
        let Some(place) = state.chunks.iter().position(|flying| flying.chunk.no == chunk) else {
            return;
        };
        let flying = &mut state.chunks[place];
        if flying.answers[slice].is_some() {
            return;
        }
        flying.answers[slice] = Some(Arc::new(answer));
        flying.missing -= 1;
        if place == 0 && flying.missing == 0 {
            state.announce();
        }
    }

    /// Gives a brand its actor, and the actor all that is not committed, in order: to adopt what an
    /// earlier life has answered, to meter what it has not.
    pub fn attach(&self, brand_no: i32, actor: ActorRef<BrandMsg>) {
        let mut state = self.shared.state.lock();
        state.waking.remove(&brand_no);
        for flying in &state.chunks {
            let Some(slice) = flying.chunk.slice_of(brand_no) else { continue };
            let chunk = Arc::clone(&flying.chunk);
            let message = match &flying.answers[slice] {
                Some(answer) => BrandMsg::Adopt { chunk, slice, answer: Arc::clone(answer) },
                None => BrandMsg::Meter { chunk, slice },
            };
            // An actor that is gone again is reported to its supervisor, which attaches another.
            let _ = actor.cast(message);
        }
        state.actors.insert(brand_no, Active { actor, used: Instant::now() });
    }

    /// Takes away the actors of brands that have had no work for so long, and have none in flight.
    /// They know nothing that is not in the shared map, so they can be ended; a brand's next slice
    /// wakes another.
    pub fn passivate(&self, idle: Duration) -> Vec<ActorRef<BrandMsg>> {
        let mut state = self.shared.state.lock();
        let slices = state.chunks.iter().flat_map(|flying| &flying.chunk.slices);
        let busy: HashSet<i32> = slices.map(|slice| slice.brand.no).collect();
        let idle = state
            .actors
            .extract_if(|no, active| active.used.elapsed() >= idle && !busy.contains(no))
            .map(|(_, active)| active.actor);
        idle.collect()
    }

    /// Takes away a brand's actor that has failed, if it is still the one with this id. The brand's
    /// failures on its oldest open slice are counted; at `tries_max` all its open slices are parked,
    /// so that no other brand waits for it any longer.
    pub fn failed(&self, brand_no: i32, actor: ractor::ActorId, tries_max: u32) -> Failed {
        let mut state = self.shared.state.lock();
        if state.actors.get(&brand_no).is_none_or(|known| known.actor.get_id() != actor) {
            return Failed::Stranger;
        }
        state.actors.remove(&brand_no);
        if state.count_failure(brand_no) < tries_max {
            state.waking.insert(brand_no);
            return Failed::Retry;
        }
        state.tries.remove(&brand_no);
        state.parked.insert(brand_no);
        for flying in &mut state.chunks {
            if let Some(slice) = flying.open_slice_of(brand_no) {
                flying.park(slice);
            }
        }
        if state.chunks.front().is_some_and(|flying| flying.missing == 0) {
            state.announce();
        }
        Failed::Parked
    }

    /// The oldest chunk, if every brand has answered. It stays in flight until it is retired.
    pub fn complete(&self) -> Option<Complete> {
        let state = self.shared.state.lock();
        let flying = state.chunks.front().filter(|flying| flying.missing == 0)?;
        let answers = flying.answers.iter().flatten().map(Arc::clone).collect();
        Some(Complete { chunk: Arc::clone(&flying.chunk), answers })
    }

    /// Lets go of the oldest chunk, which is committed and whose keys are in the shared map. Returns
    /// its credit and says so to the brands with their next slice.
    pub fn retire(&self, chunk: ChunkNo) {
        self.shared.committed.store(chunk, Ordering::Release);
        let mut state = self.shared.state.lock();
        let retired = state.chunks.pop_front();
        debug_assert!(retired.is_some_and(|flying| flying.chunk.no == chunk));
        self.shared.in_flight.send_replace(state.chunks.len());
    }

    /// The last chunk whose keys are in the shared map.
    pub fn committed(&self) -> ChunkNo {
        self.shared.committed.load(Ordering::Acquire)
    }

    /// Waits until nothing is in flight.
    pub async fn idle(&self) {
        let mut in_flight = self.shared.in_flight.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = in_flight.wait_for(|chunks| *chunks == 0).await;
    }

    /// What is going on now.
    pub fn load(&self) -> Load {
        let state = self.shared.state.lock();
        Load { chunks: state.chunks.len(), actors: state.actors.len(), parked: state.parked.len() }
    }
}

impl InFlight {
    /// The brand's slice, if it has no answer.
    fn open_slice_of(&self, brand_no: i32) -> Option<usize> {
        self.chunk.slice_of(brand_no).filter(|slice| self.answers[*slice].is_none())
    }

    fn park(&mut self, slice: usize) {
        let candidates = self.chunk.slices[slice].candidates.len();
        self.answers[slice] = Some(Arc::new(Answer::parked(candidates)));
        self.missing -= 1;
    }
}

impl State {
    /// How often the brand has failed on its oldest open slice, this time included. Failing with
    /// nothing open counts by itself.
    fn count_failure(&mut self, brand_no: i32) -> u32 {
        let oldest = self.chunks.iter().find(|flying| flying.open_slice_of(brand_no).is_some());
        let chunk = oldest.map_or(0, |flying| flying.chunk.no);
        let tries = self.tries.entry(brand_no).or_insert((chunk, 0));
        if tries.0 != chunk {
            *tries = (chunk, 0);
        }
        tries.1 += 1;
        tries.1
    }

    fn send_or_wake(&mut self, brand: &Arc<Brand>, now: Instant, message: BrandMsg) {
        if let Some(active) = self.actors.get_mut(&brand.no) {
            active.used = now;
            // A dead actor's supervisor attaches the next one, which is sent this slice again.
            let _ = active.actor.cast(message);
        } else if self.waking.insert(brand.no)
            && let Some(supervisor) = &self.supervisor
        {
            let _ = supervisor.cast(BrandSupervisorMsg::Wake { brand: Arc::clone(brand) });
        }
    }

    fn announce(&self) {
        if let Some(ledger) = &self.ledger {
            let _ = ledger.cast(LedgerMsg::Commit);
        }
    }
}
