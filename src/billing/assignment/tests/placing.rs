//! What may be placed where, and what the refusals say.

use super::*;

const LIMITS: Limits = Limits {
    earliest: match NaiveDate::from_ymd_opt(2026, 9, 4) {
        Some(day) => day,
        None => unreachable!(),
    },
    open_from: None,
};

fn waiver(no: i64, from: &str, until: &str) -> Stretch {
    Stretch { no, from: day(from), until: Some(day(until)) }
}

fn new(
    assignments: &[Assignment],
    waivers: &[Stretch],
    from: &str,
    until: &str,
) -> Result<Option<i64>, Refusal> {
    let until = (!until.is_empty()).then(|| day(until));
    check_new(&Taken { assignments, waivers }, day(from), until, LIMITS)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Refusal>, name: &str, text: Expect) {
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.name(), name);
    text.assert_eq(&refusal.to_string());
}

#[test]
fn an_open_assignment_is_taken_over_from() {
    let open = assignment(3, "basic", "2026-09-04", "");
    assert_eq!(new(&[], &[], "2026-09-04", ""), Ok(None));
    assert_eq!(new(std::slice::from_ref(&open), &[], "2026-09-05", ""), Ok(Some(3)));
    let withdrawn = assignment(4, "basic", "2026-10-01", "2026-10-01");
    assert_eq!(new(&[open, withdrawn], &[], "2026-09-05", ""), Ok(Some(3)));
    let ended = assignment(5, "basic", "2026-09-04", "2026-09-20");
    assert_eq!(new(&[ended], &[], "2026-09-20", ""), Ok(None));
    let later = assignment(6, "basic", "2026-10-01", "");
    assert_eq!(new(&[later], &[], "2026-09-10", "2026-10-01"), Ok(None));
}

#[test]
fn what_cannot_be_assigned_says_what_to_do() {
    refused(
        new(&[], &[], "2026-09-05", "2026-09-05"),
        "empty",
        expect![
            "2026-09-05 is not after 2026-09-05: the day given as until is the first that is not in it"
        ],
    );
    refused(
        new(&[], &[], "2026-09-03", ""),
        "before_first_usage",
        expect![
            "2026-09-03 is before 2026-09-04, the first day with usage to bill (or today, without any): begin on 2026-09-04 or later"
        ],
    );
    refused(
        new(&[assignment(6, "basic", "2026-10-01", "")], &[], "2026-09-10", "2026-10-02"),
        "overlaps_later",
        expect![
            "assignment 6 begins on 2026-10-01: let this one end there (until 2026-10-01), or withdraw that one by ending it on 2026-10-01"
        ],
    );
    refused(
        new(&[assignment(6, "basic", "2026-10-01", "2026-11-01")], &[], "2026-10-31", ""),
        "overlaps_ended",
        expect![
            "assignment 6 holds from 2026-10-01 until 2026-11-01: begin on 2026-11-01, or end it earlier first"
        ],
    );
    refused(
        new(&[], &[waiver(2, "2026-09-10", "2026-09-12")], "2026-09-04", ""),
        "waived",
        expect![
            "waiver 2 has the days from 2026-09-10 until 2026-09-12: leave them out, or withdraw it first"
        ],
    );
    let limits = Limits { open_from: Some(day("2026-10-01")), ..LIMITS };
    refused(
        check_new(&Taken { assignments: &[], waivers: &[] }, day("2026-09-30"), None, limits),
        "finalized",
        expect![
            "days before 2026-10-01 are on finalized invoices: choose 2026-10-01 or later, or cancel those invoices first"
        ],
    );
    let taken = Taken { assignments: &[], waivers: &[] };
    for from in ["2026-10-01", "2026-10-02"] {
        assert_eq!(check_new(&taken, day(from), None, limits), Ok(None), "{from} is open");
    }
}

#[test]
fn a_new_assignment_must_price_a_day() {
    let first = assignment(1, "basic", "2026-11-02", "2026-11-03");
    let priced = |second: Assignment| {
        let (no, from, until) = (second.no, second.from, second.until);
        let timeline = Timeline::new(vec![first.clone(), second], &one_plan()).unwrap();
        check_priced(&timeline, no, from, until)
    };
    refused(
        priced(assignment(2, "pro", "2026-11-03", "2026-11-20")),
        "prices_nothing",
        expect![
            "it would price no day: it waits for the end of the period that is running on 2026-11-03, and ends on 2026-11-20, before that: say --split to begin on 2026-11-03, or let it end later"
        ],
    );
    refused(
        priced(assignment(2, "pro", "2026-11-03", "2026-12-01")),
        "prices_nothing",
        expect![
            "it would price no day: it waits for the end of the period that is running on 2026-11-03, and ends on 2026-12-01, before that: say --split to begin on 2026-11-03, or let it end later"
        ],
    );
    let from = |text| Ok((day(text), Some(day("2026-12-02"))));
    assert_eq!(priced(assignment(2, "pro", "2026-11-03", "2026-12-02")), from("2026-12-01"));
    assert_eq!(priced(split(assignment(2, "pro", "2026-11-03", "2026-12-02"))), from("2026-11-03"));
}

#[test]
fn days_that_are_added_before_change_none_after_them() {
    let added = assignment(2, "pro", "2026-03-10", "2026-03-20");
    let place = |after: Assignment| {
        let before = Timeline::new(vec![after.clone()], &one_plan()).unwrap();
        let with = Timeline::new(vec![after, added.clone()], &one_plan()).unwrap();
        check_later_days(&before, &with, day("2026-03-20"))
    };
    // It took over from one that was withdrawn since, and would wait again.
    refused(
        place(assignment(1, "basic", "2026-03-20", "")),
        "reaches_later",
        expect![
            "it would price days after its end: assignment 1 follows on 2026-03-20 and would wait for the end of its period. Withdraw 1 by ending it on 2026-03-20 and make it again: where it takes over from nobody, it begins on its day"
        ],
    );
    let ended = assignment(1, "basic", "2026-03-20", "2026-06-15");
    assert_eq!(place(ended.clone()).unwrap_err().name(), "reaches_later");
    assert_eq!(place(split(ended)), Ok(()));
    assert_eq!(place(split(assignment(1, "basic", "2026-03-20", ""))), Ok(()));
    assert_eq!(place(assignment(1, "basic", "2026-03-21", "")), Ok(()), "a day lies between");
}

#[test]
fn an_end_may_be_moved_as_long_as_nothing_is_in_the_way() {
    let assignments = [
        assignment(1, "basic", "2026-09-04", "2026-09-20"),
        assignment(2, "pro", "2026-10-01", ""),
    ];
    let waivers = [waiver(1, "2026-09-22", "2026-09-25")];
    let end = |no, until| {
        check_end(&Taken { assignments: &assignments, waivers: &waivers }, no, day(until), LIMITS)
    };
    assert_eq!(end(1, "2026-09-21"), Ok(()));
    assert_eq!(end(1, "2026-09-04"), Ok(()), "it is withdrawn");
    assert_eq!(end(2, "2026-12-24"), Ok(()));
    refused(
        end(1, "2026-09-03"),
        "ends_before_it_begins",
        expect!["assignment 1 begins on 2026-09-04 and cannot end before that"],
    );
    refused(end(1, "2026-09-20"), "unchanged", expect!["assignment 1 ends on 2026-09-20 already"]);
    refused(
        end(1, "2026-09-23"),
        "waived",
        expect![
            "waiver 1 has the days from 2026-09-22 until 2026-09-25: leave them out, or withdraw it first"
        ],
    );
    refused(
        end(9, "2026-09-23"),
        "unknown_assignment",
        expect!["there is no assignment 9 of this brand"],
    );
    let taken = Taken { assignments: &assignments, waivers: &[] };
    refused(
        check_end(&taken, 1, day("2026-10-02"), LIMITS),
        "overlaps_later",
        expect![
            "assignment 2 begins on 2026-10-01: let this one end there (until 2026-10-01), or withdraw that one by ending it on 2026-10-01"
        ],
    );
    assert_eq!(check_end(&taken, 1, day("2026-10-01"), LIMITS), Ok(()), "up to the next one");
    // The earlier of the old end and the new one counts.
    let limits = Limits { open_from: Some(day("2026-09-21")), ..LIMITS };
    for until in ["2026-09-30", "2026-09-10"] {
        let refusal = check_end(&taken, 1, day(until), limits).unwrap_err();
        assert_eq!(refusal.name(), "finalized", "{until}");
    }
}

#[test]
fn only_days_without_an_assignment_can_be_waived() {
    let assignments = [
        assignment(1, "basic", "2026-09-10", "2026-09-20"),
        assignment(2, "pro", "2026-10-01", ""),
    ];
    let waivers = [waiver(1, "2026-09-22", "2026-09-25")];
    let taken = Taken { assignments: &assignments, waivers: &waivers };
    let waive = |from, until| check_waiver(&taken, day(from), day(until));
    assert_eq!(waive("2026-09-04", "2026-09-10"), Ok(()));
    assert_eq!(waive("2026-09-20", "2026-09-22"), Ok(()));
    assert_eq!(waive("2026-09-25", "2026-10-01"), Ok(()));
    assert_eq!(waive("2026-09-22", "2026-09-23").unwrap_err().name(), "waived");
    assert_eq!(waive("2026-09-26", "2026-09-26").unwrap_err().name(), "empty");
    refused(
        waive("2026-09-19", "2026-09-22"),
        "assigned",
        expect![
            "assignment 1 holds on 2026-09-19, so its usage is billed and cannot be waived: only days without an assignment can"
        ],
    );
    assert_eq!(waive("2026-09-25", "2026-10-02").unwrap_err().name(), "assigned");
}
