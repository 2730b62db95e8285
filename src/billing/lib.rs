//! The pure rules of prooftally: what a receipt is, which usage day it falls on, what a plan charges.
//!
//! Nothing here does IO, reads a clock, awaits, logs or uses a float; time is an argument. The crate
//! stands inside `src/` with its own manifest so that the compiler keeps it pure: what is not in
//! `src/billing/Cargo.toml` cannot be called here.
//!
//! Reading order: [`ids`], [`receipt`], [`usage`].
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::unwrap_used)]

pub mod assignment;
pub mod billed;
pub mod canonical;
pub mod completeness;
pub mod currency;
pub mod document;
pub mod draft;
pub mod evidence;
pub mod exact;
pub mod hash;
pub mod ids;
pub mod line;
pub mod money;
pub mod numbering;
pub mod party;
pub mod payment;
pub mod period;
pub mod plain;
pub mod plan;
pub mod pricing;
pub mod projection;
pub mod receipt;
pub mod tax;
pub mod usage;
