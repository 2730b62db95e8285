//! Tests on real servers: each test has its own nats-server and its own database, and the same
//! engine that `prooftally serve` runs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod harness;

mod api;
mod assignments;
mod audit;
mod command_line;
mod corrections;
mod crashes;
mod documents;
mod evidence;
mod faults;
mod gaps;
mod metering;
mod ordeal;
mod peers;
mod plans;
mod replay;
mod requests;
mod segments;
mod tidy;
mod usage_follows;
mod workload;
