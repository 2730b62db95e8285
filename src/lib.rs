//! prooftally: exact metering and billing of verified proofs.
#![forbid(unsafe_code)]

pub mod actors;
pub mod api;
pub mod bus;
pub mod cli;
pub mod config;
pub mod engine;
mod failpoint;
pub mod local;
mod sheet;
pub mod store;
pub mod telemetry;
pub mod workload;

/// A chunk's parts are made by one thread and dropped by another, which the system's allocator is slow at: see
/// docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
