//! Days on the command line: one form and one range for all of them.

pub use crate::store::forms::day;
