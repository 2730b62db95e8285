//! The configuration: what can be set, what it is by itself, and where each value comes from.
//!
//! A value comes from a variable, else from the file, else from the defaults below, which are those
//! of `config/default.toml`. An unknown key, a value outside its range and values that contradict
//! each other are refused, all of them at once. Secrets are never shown.

mod api;
mod check;
mod issuer;
mod layers;
mod load;
mod nats;
mod nearest;
mod problem;
mod rules;
mod secret;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use chrono_tz::Tz;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

pub use api::{Api, Oidc, OidcRoles};
pub use issuer::{Issuer, in_force as issuer_in_force};
pub use load::{Loaded, Origin, Source};
pub use nats::{Intake, MirrorStream, Nats, OriginStream, Subjects};
pub use problem::{Error, Problem};

/// Everything that can be set. `config/default.toml` explains each key.
///
/// Serializing masks secrets, so that no output can carry one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Versions of the issuer of invoices.
    pub issuer: Vec<Issuer>,
    pub service: Service,
    pub nats: Nats,
    pub intake: Intake,
    pub database: Database,
    pub brands: Brands,
    pub ledger: Ledger,
    pub supervision: Supervision,
    pub audit: Audit,
    pub billing: Billing,
    pub api: Api,
    pub admin: Admin,
    pub telemetry: Telemetry,
}

/// The process as a whole.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Service {
    /// A label for people and logs; nothing is decided by it.
    pub environment: String,
    /// Milliseconds that an orderly stop may take.
    pub shutdown_grace_ms: u64,
}

/// How to reach the database.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// May carry a password. What `url_file` holds, if that is set.
    #[serde(serialize_with = "secret::serialize")]
    pub url: SecretString,
    #[serde(with = "secret::optional_file")]
    pub url_file: Option<PathBuf>,
    /// Connections of the pool that reads; the one writer and the lock have their own.
    pub connections_max: u32,
    pub migrate_on_start: bool,
    /// Milliseconds after which a commit's connection is closed and its outcome looked up.
    pub commit_timeout_ms: u64,
    /// Milliseconds to wait for a free connection of the pool.
    pub acquire_timeout_ms: u64,
}

/// What becomes of brands that are seen for the first time.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Brands {
    /// Whose calendar gives a new brand's usage days.
    pub default_zone: Tz,
    /// With this many brands, events of further ones are rejected.
    pub auto_create_max: usize,
    /// Milliseconds without work after which a brand's actor is ended until there is work again.
    pub passivate_after_ms: u64,
}

/// The ledger's segments.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// Entries in a segment; what the first engine of a database has said holds for ever.
    pub segment_entries: i64,
}

/// How often what fails is started again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervision {
    /// More failures than this within the window end the process.
    pub restarts_max: usize,
    pub restart_window_ms: u64,
    /// Milliseconds before the first restart; doubled with each further one within the window.
    pub backoff_ms_min: u64,
    /// A brand that fails this often on the same slice is parked.
    pub brand_tries_max: u32,
}

/// The audit beside the metering.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Hours from one audit to the next; 0 for none.
    pub every_hours: u32,
}

/// Prices.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Billing {
    /// The plan that brands without an assignment are put to, where no other is named.
    pub default_plan: String,
    /// Relative to the working directory.
    pub plans_dir: PathBuf,
    pub finalize: Finalize,
    /// Days after a period's end in which late receipts still come onto its invoice.
    pub grace_days: u16,
}

/// Who issues documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finalize {
    /// A person, who has seen the draft.
    #[default]
    ByHand,
    /// The engine, as soon as nothing speaks against it.
    Automatic,
}

/// The listener for health and metrics.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub listen: SocketAddr,
    /// Brands with a label of their own in metrics; the rest is `other`.
    pub metrics_brands_max: usize,
}

/// Logs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    pub log_format: LogFormat,
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub log_filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Service {
    fn default() -> Self {
        Self { environment: "development".to_owned(), shutdown_grace_ms: 30_000 }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "postgres://prooftally@127.0.0.1:5432/prooftally".into(),
            url_file: None,
            connections_max: 8,
            migrate_on_start: true,
            commit_timeout_ms: 30_000,
            acquire_timeout_ms: 5_000,
        }
    }
}

impl Default for Brands {
    fn default() -> Self {
        Self { default_zone: Tz::UTC, auto_create_max: 100_000, passivate_after_ms: 300_000 }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { segment_entries: 1_750_000 }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self { restarts_max: 5, restart_window_ms: 10_000, backoff_ms_min: 5, brand_tries_max: 3 }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { every_hours: 24 }
    }
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            default_plan: "zkdpp-standard".to_owned(),
            plans_dir: "config/plans".into(),
            finalize: Finalize::ByHand,
            grace_days: 3,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 9464).into(), metrics_brands_max: 1_000 }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log_filter: "info".to_owned() }
    }
}
