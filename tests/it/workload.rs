//! The workload generator and the decoder agree on what cannot be counted.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use prooftally::bus::decode::{self, Limits};
use prooftally::workload::{Generator, Kind, Percent, Spec};

#[test]
fn every_fault_gets_the_reason_that_the_truth_says() {
    let limits = Limits { payload_bytes_max: 65_536, future_max: TimeDelta::minutes(5) };
    let malformed = Percent::from_basis_points(2_000);
    let spec = Spec { count: 2_000, malformed, ..Spec::default() };
    let mut generator = Generator::new(&spec).unwrap();
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(event) = generator.next_event() {
        let read = decode::receipt(event.payload, Utc::now(), &limits, |_| ());
        match (event.kind, read) {
            (Kind::Failed, _) | (_, Ok(())) if !matches!(event.kind, Kind::Malformed(_)) => {}
            (Kind::Malformed(expected), Err(refusal)) => {
                assert_eq!(refusal.reason.as_str(), expected, "{}", refusal.detail);
                *reasons.entry(expected.to_owned()).or_default() += 1;
            }
            (kind, read) => {
                panic!("{kind:?} was read as {read:?}")
            }
        }
    }
    assert_eq!(reasons, generator.truth().rejected);
    assert!(reasons.len() >= 18, "only {} reasons were made", reasons.len());
}
