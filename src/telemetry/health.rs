//! Whether the engine can do its work now, and if not, why.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::probe::Probe;
use crate::store::Store;

/// What can be ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Database,
    Bus,
    /// That it is the one that was metered.
    Stream,
    /// The lock that makes this the only engine.
    Lock,
    Metering,
    /// The proof that no receipt is counted twice.
    Uniqueness,
    /// Full segments that wait to be sealed.
    Sealing,
}

impl Component {
    pub const ALL: [Self; 7] = [
        Self::Database,
        Self::Bus,
        Self::Stream,
        Self::Lock,
        Self::Metering,
        Self::Uniqueness,
        Self::Sealing,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Component::Database => "database",
            Component::Bus => "bus",
            Component::Stream => "stream",
            Component::Lock => "lock",
            Component::Metering => "metering",
            Component::Uniqueness => "uniqueness",
            Component::Sealing => "sealing",
        }
    }
}

/// What people should know of although the engine can do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// Gaps that nobody has accepted.
    Gaps,
    /// Unread messages will be dropped.
    Loss,
    /// What the last audit found.
    Audit,
    /// A mirror's origin is gone, or the mirror does not follow it.
    Mirror,
}

impl Notice {
    pub fn as_str(self) -> &'static str {
        match self {
            Notice::Gaps => "gaps",
            Notice::Loss => "loss",
            Notice::Audit => "audit",
            Notice::Mirror => "mirror",
        }
    }
}

/// The engine's health: ready when nothing is ill.
pub struct Health {
    ills: Mutex<BTreeMap<Component, String>>,
    notices: Mutex<BTreeMap<Notice, String>>,
    database: OnceLock<Probe>,
}

impl Health {
    /// An engine that has not started is not ready.
    pub fn starting() -> Self {
        let ills = [(Component::Metering, "it has not started yet".to_owned())];
        Self { ills: Mutex::new(ills.into()), notices: Mutex::default(), database: OnceLock::new() }
    }

    pub fn ill(&self, component: Component, why: impl Into<String>) {
        self.ills.lock().insert(component, why.into());
    }

    pub fn well(&self, component: Component) {
        self.ills.lock().remove(&component);
    }

    /// Says what people should know of.
    pub fn notice(&self, notice: Notice, what: impl Into<String>) {
        self.notices.lock().insert(notice, what.into());
    }

    pub fn forget(&self, notice: Notice) {
        self.notices.lock().remove(&notice);
    }

    /// What people should know of.
    pub fn notices(&self) -> BTreeMap<Notice, String> {
        self.notices.lock().clone()
    }

    /// Asks this database, too, before it says that the engine is ready. `store` is used by nothing else.
    pub fn ask(&self, store: Store) {
        let _ = self.database.set(Probe::new(store));
    }

    /// Why the database does not answer; it is asked now if work has not found it ill.
    pub async fn database_ill(&self) -> Option<String> {
        let found = self.ills.lock().get(&Component::Database).cloned();
        match (found, self.database.get()) {
            (None, Some(probe)) => probe.ill().await,
            (found, _) => found,
        }
    }

    /// What is well and what is not, each component with why; the database is asked now if work has not found it ill.
    pub async fn look(&self) -> BTreeMap<Component, Option<String>> {
        let mut ills = self.ills();
        if let Some(why) = self.database_ill().await {
            ills.insert(Component::Database, why);
        }
        Component::ALL.into_iter().map(|one| (one, ills.remove(&one))).collect()
    }

    /// Why the engine is not ready, as far as its work has found; empty if it is.
    pub fn ills(&self) -> BTreeMap<Component, String> {
        self.ills.lock().clone()
    }
}

/// What a check of a component is called that is ill for this reason, or for none.
pub fn verdict(why: Option<&String>) -> &'static str {
    if why.is_some() { "ill" } else { "well" }
}
