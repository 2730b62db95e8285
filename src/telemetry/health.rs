//! Whether the engine can do its work now, and if not, why.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// What can be ill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Database,
    Bus,
    /// The lock that makes this the only engine.
    Lock,
    Metering,
}

impl Component {
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Database => "database",
            Component::Bus => "bus",
            Component::Lock => "lock",
            Component::Metering => "metering",
        }
    }
}

/// The engine's health: ready when nothing is ill.
#[derive(Debug)]
pub struct Health {
    ills: Mutex<BTreeMap<Component, String>>,
    /// What is worth showing and makes nothing ill.
    notes: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// An engine that has not started is not ready.
    pub fn starting() -> Self {
        let ills = [(Component::Metering, "it has not started yet".to_owned())];
        Self { ills: Mutex::new(ills.into()), notes: Mutex::default() }
    }

    pub fn ill(&self, component: Component, why: impl Into<String>) {
        self.ills.lock().insert(component, why.into());
    }

    pub fn well(&self, component: Component) {
        self.ills.lock().remove(&component);
    }

    /// Shows `text` about `what`; the engine is ready all the same.
    pub fn note(&self, what: &'static str, text: impl Into<String>) {
        self.notes.lock().insert(what, text.into());
    }

    pub fn notes(&self) -> BTreeMap<&'static str, String> {
        self.notes.lock().clone()
    }

    /// Why the engine is not ready; empty if it is.
    pub fn ills(&self) -> BTreeMap<Component, String> {
        self.ills.lock().clone()
    }
}
