#![allow(clippy::arithmetic_side_effects)]

use chrono::Days;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

mod naive;
mod placing;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn version(number: i32, from: &str, cadence: Cadence) -> Version {
    Version { number, effective_from: day(from), cadence }
}

fn versions(plans: &[(&str, &[Version])]) -> Versions {
    plans.iter().map(|(name, all)| ((*name).to_owned(), all.to_vec())).collect()
}

/// Of the plan `plan`, by the calendar, without a split.
fn assignment(no: i64, plan: &str, from: &str, until: &str) -> Assignment {
    let until = (!until.is_empty()).then(|| day(until));
    let (anchor, change) = (Anchor::Calendar, Change::NextPeriod);
    Assignment { no, plan: plan.to_owned(), anchor, change, from: day(from), until }
}

fn split(mut assignment: Assignment) -> Assignment {
    assignment.change = Change::Split;
    assignment
}

fn render(timeline: &Timeline, before: &str) -> String {
    timeline
        .periods_before(day(before))
        .map(|one| {
            let Slot { period, whole } = one.slot;
            let share = format!("{} of {} days", period.days(), whole.days());
            let share = if one.slot.is_stub() { share } else { "whole".to_owned() };
            let Assignment { no, plan, .. } = one.assignment;
            let version = one.version;
            let (start, last) = (period.start(), period.last_day());
            format!("{start} to {last}  {no} {plan} v{version}  {share}\n")
        })
        .collect()
}

fn check(assignments: &[Assignment], versions: &Versions, before: &str, expected: Expect) {
    let timeline = Timeline::new(assignments.to_vec(), versions).unwrap();
    expected.assert_eq(&render(&timeline, before));
}

fn one_plan() -> Versions {
    versions(&[
        ("basic", &[version(1, "2026-01-01", Cadence::Monthly)]),
        ("pro", &[version(1, "2026-01-01", Cadence::Monthly)]),
        ("yearly", &[version(1, "2026-01-01", Cadence::Quarterly)]),
    ])
}

#[test]
fn the_first_period_begins_on_the_day_of_the_assignment_and_the_last_ends_with_it() {
    check(
        &[assignment(1, "basic", "2026-09-20", "2026-11-11")],
        &one_plan(),
        "2027-01-01",
        expect![[r#"
            2026-09-20 to 2026-09-30  1 basic v1  11 of 30 days
            2026-10-01 to 2026-10-31  1 basic v1  whole
            2026-11-01 to 2026-11-10  1 basic v1  10 of 30 days
        "#]],
    );
}

#[test]
fn periods_before_a_day_leave_out_the_one_that_begins_on_it() {
    let timeline =
        Timeline::new(vec![assignment(1, "basic", "2026-09-20", "")], &one_plan()).unwrap();
    let starts = |end: &str| -> Vec<String> {
        let periods = timeline.periods_before(day(end));
        periods.map(|one| one.slot.period.start().to_string()).collect()
    };
    assert_eq!(starts("2026-09-20"), [""; 0]);
    assert_eq!(starts("2026-10-01"), ["2026-09-20"]);
    assert_eq!(starts("2026-10-02"), ["2026-09-20", "2026-10-01"]);
}

#[test]
fn one_that_is_overtaken_while_it_waits_prices_no_day() {
    let all = vec![
        assignment(1, "basic", "2026-09-20", "2026-10-05"),
        assignment(2, "pro", "2026-10-05", "2026-10-10"),
        assignment(3, "basic", "2026-10-10", ""),
    ];
    let timeline = Timeline::new(all, &one_plan()).unwrap();
    assert_eq!(timeline.priced(1), Some((day("2026-09-20"), Some(day("2026-11-01")))));
    assert_eq!(timeline.priced(2), None);
    assert_eq!(timeline.priced(3), Some((day("2026-11-01"), None)));
    assert_eq!(timeline.reigns().count(), 2);
}

#[test]
fn another_plan_waits_for_the_next_period() {
    check(
        &[
            assignment(1, "basic", "2026-09-01", "2026-09-10"),
            assignment(2, "pro", "2026-09-10", ""),
        ],
        &one_plan(),
        "2026-10-15",
        expect![[r#"
            2026-09-01 to 2026-09-30  1 basic v1  whole
            2026-10-01 to 2026-10-31  2 pro v1  whole
        "#]],
    );
}

#[test]
fn a_split_ends_the_running_period_there() {
    check(
        &[
            assignment(1, "basic", "2026-09-01", "2026-09-10"),
            split(assignment(2, "pro", "2026-09-10", "")),
        ],
        &one_plan(),
        "2026-10-15",
        expect![[r#"
            2026-09-01 to 2026-09-09  1 basic v1  9 of 30 days
            2026-09-10 to 2026-09-30  2 pro v1  21 of 30 days
            2026-10-01 to 2026-10-31  2 pro v1  whole
        "#]],
    );
}

#[test]
fn days_that_are_back_dated_change_nothing_after_them() {
    // What took over from nobody is a split, so the early days end where it begins.
    check(
        &[
            split(assignment(1, "basic", "2026-03-20", "")),
            split(assignment(2, "pro", "2026-03-10", "2026-03-20")),
        ],
        &one_plan(),
        "2026-04-02",
        expect![[r#"
            2026-03-10 to 2026-03-19  2 pro v1  10 of 31 days
            2026-03-20 to 2026-03-31  1 basic v1  12 of 31 days
            2026-04-01 to 2026-04-30  1 basic v1  whole
        "#]],
    );
}

#[test]
fn a_change_of_cadence_makes_one_stub() {
    check(
        &[
            assignment(1, "basic", "2026-09-01", "2026-10-05"),
            assignment(2, "yearly", "2026-10-05", ""),
        ],
        &one_plan(),
        "2027-02-01",
        expect![[r#"
            2026-09-01 to 2026-09-30  1 basic v1  whole
            2026-10-01 to 2026-10-31  1 basic v1  whole
            2026-11-01 to 2026-12-31  2 yearly v1  61 of 92 days
            2027-01-01 to 2027-03-31  2 yearly v1  whole
        "#]],
    );
}

#[test]
fn a_gap_between_assignments_is_in_no_period() {
    let assignments = [
        assignment(1, "basic", "2026-09-20", "2026-10-10"),
        assignment(2, "pro", "2026-10-12", ""),
    ];
    check(
        &assignments,
        &one_plan(),
        "2026-11-02",
        expect![[r#"
            2026-09-20 to 2026-09-30  1 basic v1  11 of 30 days
            2026-10-01 to 2026-10-09  1 basic v1  9 of 31 days
            2026-10-12 to 2026-10-31  2 pro v1  20 of 31 days
            2026-11-01 to 2026-11-30  2 pro v1  whole
        "#]],
    );
    let timeline = Timeline::new(assignments.to_vec(), &one_plan()).unwrap();
    for unassigned in ["2026-09-19", "2026-10-10", "2026-10-11"] {
        assert_eq!(timeline.period_of(day(unassigned)), None, "{unassigned}");
    }
}

#[test]
fn a_version_waits_for_the_period_after_it_takes_effect() {
    let plans = versions(&[(
        "basic",
        &[
            version(1, "2026-01-01", Cadence::Monthly),
            version(2, "2026-09-15", Cadence::Monthly),
            version(3, "2026-09-16", Cadence::Quarterly),
            version(4, "2026-11-01", Cadence::Quarterly),
        ],
    )]);
    // Version 2 is overtaken while it waits; version 4 waits for the end of the stub.
    check(
        &[assignment(1, "basic", "2026-09-01", "")],
        &plans,
        "2027-02-01",
        expect![[r#"
            2026-09-01 to 2026-09-30  1 basic v1  whole
            2026-10-01 to 2026-12-31  1 basic v3  whole
            2027-01-01 to 2027-03-31  1 basic v4  whole
        "#]],
    );
}

#[test]
fn what_is_overtaken_or_withdrawn_while_it_waits_never_holds() {
    let first = assignment(1, "basic", "2026-09-01", "2026-09-10");
    let never = assignment(2, "pro", "2026-09-10", "2026-09-20");
    check(
        &[first.clone(), never.clone(), split(assignment(3, "yearly", "2026-09-20", ""))],
        &one_plan(),
        "2026-10-15",
        expect![[r#"
            2026-09-01 to 2026-09-19  1 basic v1  19 of 30 days
            2026-09-20 to 2026-09-30  3 yearly v1  11 of 92 days
            2026-10-01 to 2026-12-31  3 yearly v1  whole
        "#]],
    );
    // The end of the last one ends the running period, whosesoever it is.
    check(
        &[first, never, assignment(4, "pro", "2026-12-01", "2026-12-01")],
        &one_plan(),
        "2027-01-01",
        expect![[r#"
            2026-09-01 to 2026-09-19  1 basic v1  19 of 30 days
        "#]],
    );
}

#[test]
fn an_anniversary_is_kept_over_a_change_of_plan() {
    let anchored = |mut one: Assignment| {
        one.anchor = Anchor::Anniversary(day("2026-01-31"));
        one
    };
    check(
        &[
            anchored(assignment(1, "basic", "2026-01-31", "2026-03-05")),
            anchored(assignment(2, "pro", "2026-03-05", "")),
        ],
        &one_plan(),
        "2026-05-01",
        expect![[r#"
            2026-01-31 to 2026-02-27  1 basic v1  whole
            2026-02-28 to 2026-03-30  1 basic v1  whole
            2026-03-31 to 2026-04-29  2 pro v1  whole
            2026-04-30 to 2026-05-30  2 pro v1  whole
        "#]],
    );
}

#[test]
fn there_is_no_timeline_without_prices() {
    let new = |one: Assignment| Timeline::new(vec![one], &one_plan()).unwrap_err().to_string();
    expect!["plan gold was never applied: `prooftally plans apply` does it"]
        .assert_eq(&new(assignment(1, "gold", "2026-09-01", "")));
    expect![
        "no version of plan basic is in force on 2025-12-31: the first takes effect on 2026-01-01"
    ]
    .assert_eq(&new(assignment(1, "basic", "2025-12-31", "")));
    let two = [assignment(7, "basic", "2026-09-01", ""), assignment(8, "basic", "2026-09-02", "")]
        .to_vec();
    expect!["assignments 7 and 8 hold on the same days"]
        .assert_eq(&Timeline::new(two, &one_plan()).unwrap_err().to_string());
}
