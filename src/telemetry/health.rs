//! Whether the engine can do its work now, and if not, why.

use std::collections::BTreeMap;

use parking_lot::Mutex;

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
#[derive(Debug)]
pub struct Health {
    ills: Mutex<BTreeMap<Component, String>>,
    notices: Mutex<BTreeMap<Notice, String>>,
}

impl Health {
    /// An engine that has not started is not ready.
    pub fn starting() -> Self {
        let ills = [(Component::Metering, "it has not started yet".to_owned())];
        Self { ills: Mutex::new(ills.into()), notices: Mutex::default() }
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

    /// Why the engine is not ready; empty if it is.
    pub fn ills(&self) -> BTreeMap<Component, String> {
        self.ills.lock().clone()
    }
}
