//! Actors and what they share. Thin: mailboxes, order, life and death.
//!
//! ```text
//! EngineSupervisor            ends the process when its restart budget is spent
//! ├── BrandSupervisor         restarts one brand at a time
//! │   └── BrandActor …        one per active brand
//! └── LedgerActor             the one commit, then keys, acknowledgement, release; beside it the sealer
//!                             and the usage keeper
//! ```
//!
//! Read in this order: [`chunk`], [`brand`], [`flight`], [`assembly`], [`ledger`]; then who keeps them
//! alive: [`brand_supervisor`], [`engine_supervisor`], [`restart`]. What was counted before is in [`keys`]
//! and, once its segment is sealed by the [`sealer`], behind a [`filter`] of the [`archive`].
//! Usage that commits leave behind is brought after them by the [`usage_keeper`].

pub mod archive;
pub mod assembly;
pub mod beside;
pub mod biller;
pub mod brand;
pub mod brand_supervisor;
pub mod chunk;
pub mod directory;
pub mod engine_supervisor;
pub mod flight;
pub mod keys;
pub mod ledger;
mod outcome;
pub mod recollection;
pub mod refusals;
pub mod restart;
pub mod sealer;
pub mod usage_keeper;
