//! The billing actor: opens the drafts of periods that have ended, refreshes them, and issues them if the
//! configuration says so. What goes wrong with one brand is said of that brand and stops no other.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::store::billing_run::{self, Done, Looked, NotApproved, Which};
use crate::store::due::Terms;
use crate::store::{self, Store, drafts};
use crate::telemetry::metrics::Metrics;

/// What the actor works with.
#[derive(Clone)]
pub struct BillerArguments {
    pub store: Store,
    pub terms: Terms,
    /// Issues what nothing speaks against; otherwise a person does.
    pub finalizes: bool,
    /// From the end of one look to the next.
    pub every: Duration,
    pub metrics: Arc<Metrics>,
}

/// What the actor is told.
pub enum BillerMsg {
    Look,
}

pub struct BillingActor;

/// Who issues documents when nobody does it by hand.
const BY: &str = "biller";

impl Actor for BillingActor {
    type Msg = BillerMsg;
    type State = BillerArguments;
    type Arguments = BillerArguments;

    async fn pre_start(
        &self,
        me: ActorRef<BillerMsg>,
        arguments: BillerArguments,
    ) -> Result<BillerArguments, ActorProcessingErr> {
        me.cast(BillerMsg::Look)?;
        Ok(arguments)
    }

    async fn handle(
        &self,
        me: ActorRef<BillerMsg>,
        message: BillerMsg,
        state: &mut BillerArguments,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BillerMsg::Look => {
                if let Err(error) = state.look().await {
                    tracing::warn!(error = %format!("{:#}", anyhow::Error::from(error)),
                        "drafts could not be refreshed; that is tried again");
                }
                me.send_after(state.every, || BillerMsg::Look);
            }
        }
        Ok(())
    }
}

impl BillerArguments {
    async fn look(&self) -> Result<(), store::Error> {
        let now = Utc::now();
        let (store, terms) = (&self.store, &self.terms);
        let mut looked = billing_run::look(store, terms, None, now, None).await?;
        let is_ready = |(_, candidates): &Looked| {
            candidates.iter().flatten().any(|candidate| candidate.decide().is_ok())
        };
        if self.finalizes && looked.iter().any(is_ready) {
            let which = Which::default();
            let done = match billing_run::issue_all(store, terms, &which, now, BY, |_, _| {}).await
            {
                Err(NotApproved::Store(error)) => return Err(error),
                // Nothing was asked for that could have changed.
                Err(NotApproved::Changed(_) | NotApproved::TooMany { .. }) => Done::default(),
                Ok(done) => done,
            };
            for (brand, issued) in &done.issued {
                let number = issued.number.as_deref().unwrap_or("no number");
                tracing::info!(brand = %brand.id, number, total = %issued.total, "document issued");
            }
            looked = billing_run::look(store, terms, None, now, None).await?;
        }
        self.measure(&looked);
        for (brand, candidates) in &looked {
            if let Err(error) = candidates {
                tracing::error!(brand = %brand.id, %error, "the brand's drafts cannot be computed");
            }
        }
        drafts::keep(&self.store.pool, &looked).await?;
        Ok(())
    }

    fn measure(&self, looked: &[Looked]) {
        let (mut ready, mut blocked, mut failed) = (0, 0, 0);
        for (_, candidates) in looked {
            match candidates {
                Err(_) => failed += 1,
                Ok(candidates) => {
                    for candidate in candidates {
                        let state =
                            if candidate.decide().is_ok() { &mut ready } else { &mut blocked };
                        *state += 1;
                    }
                }
            }
        }
        self.metrics.documents_due(ready, blocked, failed);
    }
}
