#![allow(clippy::arithmetic_side_effects)]

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::assignment::{Assignment, Timeline, Version, Versions};
use crate::currency::Currency;
use crate::money;

mod zones;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn grid(cadence: Cadence, anchor: &str) -> Grid {
    let anchor = match anchor {
        "calendar" => Anchor::Calendar,
        day => Anchor::Anniversary(day.parse().unwrap()),
    };
    Grid { cadence, anchor }
}

/// The periods from a day on, as an open assignment has them.
fn from(first: NaiveDate, grid: Grid) -> Timeline {
    let version = Version { number: 1, effective_from: first, cadence: grid.cadence };
    let versions = Versions::from([("plan".to_owned(), vec![version])]);
    let one = Assignment {
        no: 1,
        plan: "plan".to_owned(),
        anchor: grid.anchor,
        change: Change::NextPeriod,
        from: first,
        until: None,
    };
    Timeline::new(vec![one], &versions).unwrap()
}

fn slots(timeline: &Timeline) -> impl Iterator<Item = Slot> {
    timeline.periods_before(NaiveDate::MAX).map(|one| one.slot)
}

#[expect(clippy::needless_pass_by_value, reason = "a table row reads better without borrows")]
fn check(timeline: &Timeline, periods: usize, expected: Expect) {
    let table: String = slots(timeline)
        .take(periods)
        .map(|slot| {
            let share = format!("{}/{}", slot.period.days(), slot.whole.days());
            let share = if slot.is_stub() { share } else { "whole".into() };
            format!("{} to {}  {share}\n", slot.period.start(), slot.period.last_day())
        })
        .collect();
    expected.assert_eq(&table);
}

#[test]
fn an_anchor_on_the_31st_never_drifts() {
    let timeline = from(day("2027-01-31"), grid(Cadence::Monthly, "2027-01-31"));
    check(
        &timeline,
        5,
        expect![[r#"
        2027-01-31 to 2027-02-27  whole
        2027-02-28 to 2027-03-30  whole
        2027-03-31 to 2027-04-29  whole
        2027-04-30 to 2027-05-30  whole
        2027-05-31 to 2027-06-29  whole
    "#]],
    );
}

#[test]
fn an_anchor_on_29_february_comes_back_in_leap_years() {
    let timeline = from(day("2024-02-29"), grid(Cadence::Annual, "2024-02-29"));
    check(
        &timeline,
        5,
        expect![[r#"
        2024-02-29 to 2025-02-27  whole
        2025-02-28 to 2026-02-27  whole
        2026-02-28 to 2027-02-27  whole
        2027-02-28 to 2028-02-28  whole
        2028-02-29 to 2029-02-27  whole
    "#]],
    );
}

#[test]
fn calendar_periods_begin_on_mondays_months_quarters_and_years() {
    for (cadence, expected) in [
        (
            Cadence::Weekly,
            expect![[r#"
            2026-09-20 to 2026-09-20  1/7
            2026-09-21 to 2026-09-27  whole
            2026-09-28 to 2026-10-04  whole
        "#]],
        ),
        (
            Cadence::Monthly,
            expect![[r#"
            2026-09-20 to 2026-09-30  11/30
            2026-10-01 to 2026-10-31  whole
            2026-11-01 to 2026-11-30  whole
        "#]],
        ),
        (
            Cadence::Quarterly,
            expect![[r#"
            2026-09-20 to 2026-09-30  11/92
            2026-10-01 to 2026-12-31  whole
            2027-01-01 to 2027-03-31  whole
        "#]],
        ),
        (
            Cadence::SemiAnnual,
            expect![[r#"
            2026-09-20 to 2026-12-31  103/184
            2027-01-01 to 2027-06-30  whole
            2027-07-01 to 2027-12-31  whole
        "#]],
        ),
        (
            Cadence::Annual,
            expect![[r#"
            2026-09-20 to 2026-12-31  103/365
            2027-01-01 to 2027-12-31  whole
            2028-01-01 to 2028-12-31  whole
        "#]],
        ),
    ] {
        let timeline = from(day("2026-09-20"), grid(cadence, "calendar"));
        check(&timeline, 3, expected);
    }
}

#[test]
fn a_period_is_half_open() {
    let period = Period::new(day("2026-09-20"), day("2026-10-01")).unwrap();
    let contained = |text| period.contains(day(text));
    assert!(contained("2026-09-20") && contained("2026-09-30"));
    assert!(!contained("2026-09-19") && !contained("2026-10-01") && !contained("2026-10-02"));
    assert_eq!((period.days(), period.last_day()), (11, day("2026-09-30")));
    assert_eq!(format!("{period:?}"), "[2026-09-20, 2026-10-01)");
    assert_eq!(format!("{:?}", Slot::whole(period)), "[2026-09-20, 2026-10-01) 11/11 days");
}

#[test]
fn days_outside_the_years_are_in_no_period() {
    let calendar = grid(Cadence::Monthly, "calendar");
    assert_eq!(calendar.whole_period(day("1969-12-31")), None);
    assert!(calendar.whole_period(day("1970-01-01")).is_some());
    assert!(calendar.whole_period(day("9999-12-31")).is_some());
    assert_eq!(calendar.whole_period(NaiveDate::MAX), None);
    let anchored = Grid { anchor: Anchor::Anniversary(NaiveDate::MIN), ..calendar };
    assert_eq!(anchored.whole_period(day("2026-01-01")), None);
}

/// The boundaries again, by walking day by day and asking of each whether a period begins on it.
fn begins(cadence: Cadence, anchor: NaiveDate, day: NaiveDate) -> bool {
    let every = match cadence {
        Cadence::Weekly => return day.weekday() == anchor.weekday(),
        Cadence::Monthly => 1,
        Cadence::Quarterly => 3,
        Cadence::SemiAnnual => 6,
        Cadence::Annual => 12,
    };
    let last_of_month = day.succ_opt().unwrap().day() == 1;
    let apart =
        (day.year() * 12 + day.month0() as i32) - (anchor.year() * 12 + anchor.month0() as i32);
    let on_its_day = day.day() == anchor.day() || (last_of_month && day.day() < anchor.day());
    apart.rem_euclid(every) == 0 && on_its_day
}

/// Every anchor day 1 to 31 (from a month that has it, and the leap day), every cadence, every day
/// of 12 years: one period, which begins where the naive rule says, and the next begins at its end.
#[test]
fn periods_tile_for_every_anchor_and_cadence() {
    let first = day("2023-11-01");
    let days: Vec<NaiveDate> = first.iter_days().take(12 * 366).collect();
    let january = (1..=31).map(|number| NaiveDate::from_ymd_opt(2025, 1, number).unwrap());
    for anchor in january.chain([day("2024-02-29"), day("2040-02-29")]) {
        for cadence in Cadence::ALL {
            let grid = Grid { cadence, anchor: Anchor::Anniversary(anchor) };
            let mut whole = grid.whole_period(first).unwrap();
            assert!(begins(cadence, anchor, whole.start()));
            for &day in &days {
                if day == whole.end() {
                    assert!(begins(cadence, anchor, day), "{grid:?} {day}");
                    whole = grid.whole_period(day).unwrap();
                    assert_eq!(whole.start(), day, "{grid:?}");
                } else if day != whole.start() {
                    assert!(!begins(cadence, anchor, day), "{grid:?} {day}");
                    // Asking on each day costs time; the first of a month and the days about
                    // it are where an answer could differ.
                    if day.day() < 3 || day.day() > 26 {
                        assert_eq!(grid.whole_period(day), Some(whole), "{grid:?} {day}");
                    }
                }
            }
        }
    }
}

fn any_day() -> impl Strategy<Value = NaiveDate> {
    (0_i64..12 * 365).prop_map(|days| day("2020-01-01") + TimeDelta::days(days))
}

fn any_grid() -> impl Strategy<Value = Grid> {
    let anchor = prop_oneof![Just(Anchor::Calendar), any_day().prop_map(Anchor::Anniversary)];
    (proptest::sample::select(&Cadence::ALL), anchor)
        .prop_map(|(cadence, anchor)| Grid { cadence, anchor })
}

#[test]
fn a_share_is_what_is_due_up_to_its_end_less_what_was_due_before() {
    let whole = grid(Cadence::Monthly, "calendar").whole_period(day("2026-09-01")).unwrap();
    let share = |amount: &str, first: &str, end: &str| {
        let slot = Slot { period: Period::new(day(first), day(end)).unwrap(), whole };
        slot.share(amount.parse().unwrap(), Currency::EUR).unwrap().to_string()
    };
    assert_eq!(share("99.00", "2026-09-20", "2026-10-01"), "36.30 EUR");
    assert_eq!(share("99.00", "2026-09-01", "2026-09-20"), "62.70 EUR");
    assert_eq!(share("99.00", "2026-09-01", "2026-10-01"), "99.00 EUR");
    // The cent is due from the half of the month on.
    assert_eq!(share("0.01", "2026-09-01", "2026-09-15"), "0.00 EUR");
    assert_eq!(share("0.01", "2026-09-01", "2026-09-16"), "0.01 EUR");
    assert_eq!(share("0.01", "2026-09-16", "2026-10-01"), "0.00 EUR");
}

proptest! {
    /// However a whole period is cut, its stubs pay for all of it, none of them less than nothing, and
    /// each what its days are worth, less than a cent off.
    #[test]
    fn shares_sum_to_the_whole_exactly(
        grid in any_grid(),
        first in any_day(),
        cuts in proptest::collection::btree_set(1_i64..366, 0..12),
        cents in 0_i64..10_000_000,
    ) {
        let whole = grid.whole_period(first).unwrap();
        let amount = rust_decimal::Decimal::new(cents, 2);
        let cuts = cuts.into_iter().map(|days| whole.start() + TimeDelta::days(days));
        let mut days: Vec<NaiveDate> = cuts.filter(|day| *day < whole.end()).collect();
        days.insert(0, whole.start());
        days.push(whole.end());
        let shares: Vec<_> = days
            .windows(2)
            .map(|pair| {
                let period = Period::new(pair[0], pair[1]).unwrap();
                (period, Slot { period, whole }.share(amount, Currency::EUR).unwrap())
            })
            .collect();
        for (period, share) in &shares {
            prop_assert!(!share.is_negative());
            // In cents x days, so that nothing is rounded here.
            let (paid, of_days) = (share.amount().mantissa(), i128::from(whole.days()));
            let off = paid * of_days - i128::from(cents) * i128::from(period.days());
            prop_assert!(off.abs() <= of_days, "{period}: {share}");
        }
        let sum = money::sum(Currency::EUR, shares.into_iter().map(|(_, share)| share)).unwrap();
        prop_assert_eq!(sum.amount(), amount);
    }

    /// The first start from a day on is the first day, walking on, that is the start of its period.
    #[test]
    fn the_first_start_is_found_by_walking(grid in any_grid(), first in any_day()) {
        let begins = |day: &NaiveDate| grid.whole_period(*day).unwrap().start() == *day;
        prop_assert_eq!(grid.first_start(first), first.iter_days().find(begins));
    }
}
