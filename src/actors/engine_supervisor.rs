//! The root: keeps one metering subtree alive and ends when its restart budget is spent.
//!
//! A metering subtree is the brands' supervisor, the ledger and the intake that feeds them. They
//! share a flight, a map of keys and a fence, so they live and die together: when one fails, all are
//! ended and a new subtree starts from the cursor.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, MessagingErr,
    RpcReplyPort, SupervisionEvent,
};
use tokio::task::JoinHandle;

use super::beside::Beside;
use super::biller::{BillerArguments, BillerMsg, BillingActor};
use super::brand_supervisor::BrandSupervisorMsg;
use super::flight::Flight;
use super::ledger::LedgerMsg;
use super::refusals::Refusals;
use super::restart::{Limits, RestartBudget};
use crate::store::finding::Memory;
use crate::store::lock::KeptLock;
use crate::telemetry::health::{Component, Health};
use crate::telemetry::metrics::Metrics;

/// A running metering subtree.
pub struct Metering {
    pub brands: ActorRef<BrandSupervisorMsg>,
    pub ledger: ActorRef<LedgerMsg>,
    pub flight: Flight,
    /// Feeds the flight until it is told to stop.
    pub intake: Beside,
    pub stop_intake: tokio::sync::watch::Sender<bool>,
    pub sealer: Beside,
    pub usage_keeper: Beside,
    /// Keeps the lock that makes this the only engine.
    pub lock: KeptLock,
    /// Lent to the API as long as this is held.
    pub memory: Arc<dyn Memory>,
}

/// Starts a metering subtree, linked to the given supervisor. Waits for as long as the database or
/// the bus is away.
pub type StartMetering =
    Arc<dyn Fn(ActorRef<EngineMsg>) -> BoxFuture<'static, anyhow::Result<Metering>> + Send + Sync>;

/// What the root is told.
pub enum EngineMsg {
    Start,
    /// A start has come to its end.
    Started(anyhow::Result<Metering>),
    /// The billing actor has ended and begins again.
    StartBiller,
    /// The intake, the sealer or the usage keeper of this ledger ended without being told to.
    Failed {
        ledger: ActorId,
        why: String,
    },
    /// Finish what is in flight and end.
    Stop(RpcReplyPort<()>),
}

pub struct EngineSupervisor;

pub struct EngineArguments {
    pub start: StartMetering,
    pub biller: BillerArguments,
    pub limits: Limits,
    pub refusals: Refusals,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Health>,
}

pub struct EngineState {
    arguments: EngineArguments,
    budget: RestartBudget,
    metering: Option<Metering>,
    /// Bills while this engine is the one that writes. It fails and begins again by itself.
    biller: Option<ActorRef<BillerMsg>>,
    starting: Option<JoinHandle<()>>,
}

impl Actor for EngineSupervisor {
    type Msg = EngineMsg;
    type State = EngineState;
    type Arguments = EngineArguments;

    async fn pre_start(
        &self,
        me: ActorRef<EngineMsg>,
        arguments: EngineArguments,
    ) -> Result<EngineState, ActorProcessingErr> {
        me.cast(EngineMsg::Start)?;
        let budget = RestartBudget::new(arguments.limits);
        Ok(EngineState { arguments, budget, metering: None, biller: None, starting: None })
    }

    async fn handle(
        &self,
        me: ActorRef<EngineMsg>,
        message: EngineMsg,
        state: &mut EngineState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EngineMsg::Start => state.start(&me),
            EngineMsg::Started(Ok(metering)) => state.started(&me, metering).await?,
            EngineMsg::Started(Err(error)) => state.failed(&me, &format!("{error:#}")).await?,
            EngineMsg::StartBiller => state.start_biller(&me).await,
            EngineMsg::Failed { ledger, why } if state.has(ledger) => {
                state.failed(&me, &why).await?;
            }
            // Of an earlier subtree, which has been ended as a whole.
            EngineMsg::Failed { .. } => {}
            EngineMsg::Stop(reply) => {
                state.stop().await;
                let _ = reply.send(());
                me.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        me: ActorRef<EngineMsg>,
        event: SupervisionEvent,
        state: &mut EngineState,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, _) | SupervisionEvent::ActorTerminated(who, ..) =
            &event
            && state.biller.as_ref().is_some_and(|biller| biller.get_id() == who.get_id())
        {
            state.biller_ended(&me);
            return Ok(());
        }
        match event {
            SupervisionEvent::ActorFailed(who, error) if state.is_mine(&who) => {
                state.failed(&me, &chain(&*error)).await?;
            }
            SupervisionEvent::ActorTerminated(who, ..) if state.is_mine(&who) => {
                state.failed(&me, "an actor ended without being told to").await?;
            }
            // Events of an earlier subtree, which has been ended as a whole.
            _ => {}
        }
        Ok(())
    }
}

impl EngineState {
    /// Starting may take as long as the database is away, so it runs beside the mailbox.
    fn start(&mut self, me: &ActorRef<EngineMsg>) {
        let start = (self.arguments.start)(me.clone());
        let me = me.clone();
        self.starting = Some(tokio::spawn(async move {
            let outcome = start.await;
            // If the root is gone the subtree's parts end with their handles.
            let _: Result<(), MessagingErr<EngineMsg>> = me.cast(EngineMsg::Started(outcome));
        }));
    }

    async fn started(
        &mut self,
        me: &ActorRef<EngineMsg>,
        metering: Metering,
    ) -> Result<(), ActorProcessingErr> {
        self.starting = None;
        // A part that has failed already was nobody's when its end was told.
        let actors = [metering.brands.get_status(), metering.ledger.get_status()];
        let has_failed = actors.iter().any(|status| *status >= ActorStatus::Stopping)
            || metering.intake.has_ended()
            || metering.sealer.has_ended()
            || metering.usage_keeper.has_ended();
        self.metering = Some(metering);
        if has_failed {
            return self.failed(me, "a part of it failed at once").await;
        }
        self.arguments.health.well(Component::Metering);
        tracing::info!("metering has started");
        self.start_biller(me).await;
        Ok(())
    }

    /// Starts the billing actor, if this engine writes and has none.
    async fn start_biller(&mut self, me: &ActorRef<EngineMsg>) {
        if self.metering.is_none() || self.biller.is_some() {
            return;
        }
        let arguments = self.arguments.biller.clone();
        match BillingActor::spawn_linked(None, BillingActor, arguments, me.get_cell()).await {
            Ok((biller, _)) => self.biller = Some(biller),
            Err(error) => {
                tracing::error!(%error, "billing cannot be started; it is tried again");
                self.biller_ended(me);
            }
        }
    }

    /// Its trouble is its own: metering goes on, and it begins again after a while.
    fn biller_ended(&mut self, me: &ActorRef<EngineMsg>) {
        const WAIT: std::time::Duration = std::time::Duration::from_secs(5);
        self.biller = None;
        if self.metering.is_some() {
            tracing::error!("billing failed; it is restarted");
            self.arguments.metrics.restarted("billing");
            me.send_after(WAIT, || EngineMsg::StartBiller);
        }
    }

    fn has(&self, ledger: ActorId) -> bool {
        self.metering.as_ref().is_some_and(|metering| metering.ledger.get_id() == ledger)
    }

    async fn failed(
        &mut self,
        me: &ActorRef<EngineMsg>,
        why: &str,
    ) -> Result<(), ActorProcessingErr> {
        self.end().await;
        self.arguments
            .health
            .ill(Component::Metering, format!("it failed and is restarted: {why}"));
        self.arguments.metrics.restarted("metering");
        if self.arguments.refusals.has_ended_a_life() {
            tracing::warn!(why, "the database refuses a chunk; it is read again in smaller ones");
            me.cast(EngineMsg::Start)?;
            return Ok(());
        }
        match self.budget.failed(Instant::now()) {
            Ok(wait) => {
                tracing::error!(why, wait_ms = wait.as_millis(), "metering failed; restarting it");
                me.send_after(wait, || EngineMsg::Start);
                Ok(())
            }
            Err(spent) => {
                tracing::error!(why, %spent, "metering fails again and again; the engine ends");
                Err(format!("metering {spent}; the last time since {why}").into())
            }
        }
    }

    /// Ends the subtree at once. What is in flight is dropped; the next one reads it again.
    async fn end(&mut self) {
        if let Some(biller) = self.biller.take() {
            biller.get_cell().kill();
        }
        let Some(metering) = self.metering.take() else { return };
        drop(metering.intake);
        drop(metering.sealer);
        drop(metering.usage_keeper);
        metering.brands.get_cell().kill();
        metering.ledger.get_cell().kill();
        for actor in [metering.brands.get_cell(), metering.ledger.get_cell()] {
            let _ = actor.wait(Some(std::time::Duration::from_secs(5))).await;
        }
        // The lock goes last, when the writer can write no more.
        drop(metering.lock);
    }

    /// Ends the subtree in order: no new chunks, the last ones committed and acknowledged.
    async fn stop(&mut self) {
        if let Some(starting) = self.starting.take() {
            starting.abort();
        }
        if let Some(biller) = self.biller.take() {
            biller.get_cell().kill();
        }
        let Some(mut metering) = self.metering.take() else { return };
        metering.stop_intake.send_replace(true);
        metering.intake.ended().await;
        drop(metering.sealer);
        metering.flight.idle().await;
        metering.brands.get_cell().stop(None);
        let _ = metering.ledger.get_cell().drain_and_wait(None).await;
        drop(metering.usage_keeper);
        drop(metering.lock);
    }

    fn is_mine(&self, who: &ActorCell) -> bool {
        self.metering.as_ref().is_some_and(|metering| {
            [metering.brands.get_id(), metering.ledger.get_id()].contains(&who.get_id())
        })
    }
}

/// An error with its causes, for the log.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
