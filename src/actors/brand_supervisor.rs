//! Supervises the brands' actors: wakes them when they have work, restarts each one alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::brand::{BrandActor, BrandArguments};
use super::flight::{Failed, Flight};
use super::keys::Keys;
use super::restart::{Limits, RestartBudget, Spent};
use crate::store::brands::Brand;
use crate::telemetry::metrics::Metrics;

/// The longest wait before a brand is tried again: the others wait for it in its chunk.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// What the supervisor of the brands is told.
#[derive(Debug)]
pub enum BrandSupervisorMsg {
    /// The brand has work and no actor.
    Wake { brand: Arc<Brand> },
    /// Time to end the actors of idle brands.
    Passivate,
}

pub struct BrandSupervisor;

pub struct BrandSupervisorArguments {
    pub keys: Keys,
    pub flight: Flight,
    pub limits: Limits,
    /// Failures on the same slice after which a brand is parked.
    pub tries_max: u32,
    /// A brand without work for so long loses its actor.
    pub passivate_after: Duration,
    pub metrics: Arc<Metrics>,
}

pub struct BrandSupervisorState {
    arguments: BrandSupervisorArguments,
    brands: HashMap<ActorId, Arc<Brand>>,
    /// Failures of brands that have failed; a brand's failures are its own.
    budgets: HashMap<i32, RestartBudget>,
}

impl Actor for BrandSupervisor {
    type Msg = BrandSupervisorMsg;
    type State = BrandSupervisorState;
    type Arguments = BrandSupervisorArguments;

    async fn pre_start(
        &self,
        me: ActorRef<BrandSupervisorMsg>,
        arguments: BrandSupervisorArguments,
    ) -> Result<BrandSupervisorState, ActorProcessingErr> {
        me.send_after(arguments.passivate_after / 2, || BrandSupervisorMsg::Passivate);
        Ok(BrandSupervisorState { arguments, brands: HashMap::new(), budgets: HashMap::new() })
    }

    async fn handle(
        &self,
        me: ActorRef<BrandSupervisorMsg>,
        message: BrandSupervisorMsg,
        state: &mut BrandSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BrandSupervisorMsg::Wake { brand } => state.wake(&me, brand).await,
            BrandSupervisorMsg::Passivate => state.passivate(&me),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<BrandSupervisorMsg>,
        event: SupervisionEvent,
        state: &mut BrandSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, error) => {
                state.ended(&me, who.get_id(), &error.to_string());
            }
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                state.ended(&me, who.get_id(), reason.as_deref().unwrap_or("stopped"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl BrandSupervisorState {
    async fn wake(&mut self, me: &ActorRef<BrandSupervisorMsg>, brand: Arc<Brand>) {
        let arguments = BrandArguments {
            brand_no: brand.no,
            keys: self.arguments.keys.clone(),
            flight: self.arguments.flight.clone(),
        };
        match BrandActor::spawn_linked(None, BrandActor, arguments, me.get_cell()).await {
            Ok((actor, _)) => {
                self.brands.insert(actor.get_id(), Arc::clone(&brand));
                self.arguments.flight.attach(brand.no, actor);
            }
            // An actor that fails before it is linked causes no supervision event.
            Err(error) => {
                let wait = self.note_failure(brand.no).unwrap_or(WAIT_MAX);
                self.wake_after(me, brand, &error.to_string(), wait);
            }
        }
    }

    /// An idle brand costs nothing but its name in the directory.
    fn passivate(&mut self, me: &ActorRef<BrandSupervisorMsg>) {
        let after = self.arguments.passivate_after;
        for actor in self.arguments.flight.passivate(after) {
            // Nobody has sent it anything that it has not done: it had nothing in flight.
            self.brands.remove(&actor.get_id());
            actor.stop(None);
        }
        me.send_after(after / 2, || BrandSupervisorMsg::Passivate);
    }

    fn ended(&mut self, me: &ActorRef<BrandSupervisorMsg>, actor: ActorId, why: &str) {
        let Some(brand) = self.brands.remove(&actor) else { return };
        // One that fails on chunk after chunk, never often enough on one, is parked by its budget.
        let (tries_max, wait) = match self.note_failure(brand.no) {
            Ok(wait) => (self.arguments.tries_max, wait),
            Err(Spent { .. }) => (1, WAIT_MAX),
        };
        match self.arguments.flight.failed(brand.no, actor, tries_max) {
            Failed::Retry => self.wake_after(me, brand, why, wait),
            Failed::Parked => {
                tracing::error!(
                    brand = %brand.id,
                    why,
                    "brand failed again and again; its events are kept and not metered until \
                     `prooftally brands unpark`"
                );
            }
            Failed::Stranger => {}
        }
    }

    /// Notes a failure of the brand, and says how long to wait before it is tried again.
    fn note_failure(&mut self, brand_no: i32) -> Result<Duration, Spent> {
        let limits = self.arguments.limits;
        let budget = self.budgets.entry(brand_no).or_insert_with(|| RestartBudget::new(limits));
        budget.failed(Instant::now()).map(|wait| wait.min(WAIT_MAX))
    }

    fn wake_after(
        &self,
        me: &ActorRef<BrandSupervisorMsg>,
        brand: Arc<Brand>,
        why: &str,
        wait: Duration,
    ) {
        tracing::warn!(brand = %brand.id, why, wait_ms = wait.as_millis(), "brand is restarted");
        self.arguments.metrics.restarted("brand");
        me.send_after(wait, move || BrandSupervisorMsg::Wake { brand });
    }
}
