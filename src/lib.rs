//! prooftally: exact metering and billing of verified proofs.
#![forbid(unsafe_code)]

pub mod actors;
pub mod api;
pub mod bus;
pub mod cli;
pub mod config;
pub mod engine;
pub mod local;
pub mod store;
pub mod telemetry;
pub mod workload;
