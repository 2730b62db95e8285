//! Properties, against a second implementation that walks day by day.

use super::*;

/// The days that are looked at.
const DAYS: u64 = 500;

fn first_day() -> NaiveDate {
    day("2026-01-01")
}

fn nth(days: u64) -> NaiveDate {
    first_day() + Days::new(days)
}

/// Assignments one after the other, some with days between, over plans of all cadences.
fn any_assignments() -> impl Strategy<Value = Vec<Assignment>> {
    let anchor = prop_oneof![
        Just(Anchor::Calendar),
        (0_u64..1000).prop_map(|days| Anchor::Anniversary(nth(days))),
    ];
    let change = prop_oneof![Just(Change::NextPeriod), Just(Change::Split)];
    let gap = prop_oneof![3 => Just(0_u64), 1 => 1_u64..40];
    let row = (0_usize..5, anchor, change, gap, 0_u64..90);
    (proptest::collection::vec(row, 1..6), any::<bool>()).prop_map(|(rows, open)| {
        let (mut at, last) = (0, rows.len() - 1);
        rows.into_iter()
            .enumerate()
            .map(|(index, (plan, anchor, change, gap, days))| {
                let from = nth(at + gap);
                at += gap + days;
                let until = (index != last || !open).then(|| nth(at));
                let plan = Cadence::ALL[plan].as_str().to_owned();
                Assignment { no: index as i64, plan, anchor, change, from, until }
            })
            .collect()
    })
}

/// Versions of each cadence's plan, of which the first is always in force.
fn any_versions() -> impl Strategy<Value = Versions> {
    let later = proptest::collection::btree_set(1_u64..DAYS, 0..4);
    proptest::collection::vec((later, proptest::collection::vec(0_usize..5, 4)), 5).prop_map(
        |plans| {
            let plan = |(name, (days, cadences)): (Cadence, (_, Vec<usize>))| {
                let first = Version { number: 1, effective_from: first_day(), cadence: name };
                let days: std::collections::BTreeSet<u64> = days;
                let later =
                    days.into_iter().zip(cadences).zip(2..).map(|((days, cadence), number)| {
                        Version {
                            number,
                            effective_from: nth(days),
                            cadence: Cadence::ALL[cadence],
                        }
                    });
                (name.as_str().to_owned(), std::iter::once(first).chain(later).collect())
            };
            Cadence::ALL.into_iter().zip(plans).map(plan).collect()
        },
    )
}

/// What holds on a day: number of the assignment, version, and the first day of its period.
type Day = Option<(i64, i32, NaiveDate)>;

fn holding(assignments: &[Assignment], day: NaiveDate) -> Option<&Assignment> {
    assignments.iter().find(|one| one.from <= day && one.until.is_none_or(|until| day < until))
}

fn in_force(versions: &Versions, plan: &str, day: NaiveDate) -> Version {
    let all = &versions[plan];
    *all.iter().rfind(|version| version.effective_from <= day).unwrap()
}

/// Walks day by day and keeps the running period: it ends at its grid's boundary, at a split, or where
/// no assignment holds; then the next begins under what holds on that day.
fn naive(assignments: &[Assignment], versions: &Versions) -> Vec<Day> {
    let mut running: Option<(i64, i32, NaiveDate, NaiveDate)> = None;
    (0..DAYS)
        .map(|days| {
            let today = nth(days);
            let Some(holds) = holding(assignments, today) else {
                running = None;
                return None;
            };
            let is_split = holds.change == Change::Split && holds.from == today;
            match running {
                Some((no, version, start, end)) if today < end && !is_split => {
                    return Some((no, version, start));
                }
                _ => {}
            }
            let Version { number, cadence, .. } = in_force(versions, &holds.plan, today);
            let whole = Grid { cadence, anchor: holds.anchor }.whole_period(today).unwrap();
            running = Some((holds.no, number, today, whole.end()));
            Some((holds.no, number, today))
        })
        .collect()
}

proptest! {
    #[test]
    fn each_day_has_the_period_that_walking_gives_it(
        assignments in any_assignments(), versions in any_versions(),
    ) {
        let timeline = Timeline::new(assignments.clone(), &versions).unwrap();
        let walked = naive(&assignments, &versions);
        for (days, expected) in (0..DAYS).zip(walked) {
            let found = timeline.period_of(nth(days)).map(|one| {
                (one.assignment.no, one.version, one.slot.period.start())
            });
            prop_assert_eq!(found, expected, "on {}", nth(days));
            let reigns = timeline.reigns().filter(|one| {
                one.from <= nth(days) && one.until.is_none_or(|until| until > nth(days))
            });
            let reigns: Vec<_> = reigns.map(|one| (one.assignment.no, one.version)).collect();
            let priced: Vec<_> = expected.map(|(no, version, _)| (no, version)).into_iter().collect();
            prop_assert_eq!(reigns, priced);
        }
    }

    /// The periods are listed in order, apart from each other; a day is in one of them or unassigned,
    /// and it is unassigned exactly if no assignment holds.
    #[test]
    fn periods_tile_the_days_that_are_assigned(
        assignments in any_assignments(), versions in any_versions(),
    ) {
        let timeline = Timeline::new(assignments.clone(), &versions).unwrap();
        let periods: Vec<_> = timeline.periods_before(nth(DAYS)).collect();
        prop_assert!(periods.len() <= DAYS as usize);
        for pair in periods.windows(2) {
            prop_assert!(pair[0].slot.period.end() <= pair[1].slot.period.start());
        }
        for today in (0..DAYS).map(nth) {
            let containing: Vec<_> =
                periods.iter().filter(|one| one.slot.period.contains(today)).collect();
            let expected = usize::from(holding(&assignments, today).is_some());
            prop_assert_eq!(containing.len(), expected, "{}", today);
            prop_assert_eq!(timeline.period_of(today), containing.first().copied().copied());
        }
    }

    /// The order in which assignments are given does not matter.
    #[test]
    fn order_does_not_matter(assignments in any_assignments(), versions in any_versions()) {
        let mut turned = assignments.clone();
        turned.reverse();
        prop_assert_eq!(
            Timeline::new(assignments, &versions).unwrap(),
            Timeline::new(turned, &versions).unwrap()
        );
    }

    /// What an assignment prices is what walking gives it, in one stretch.
    #[test]
    fn an_assignment_prices_the_days_that_walking_gives_it(
        assignments in any_assignments(), versions in any_versions(),
    ) {
        let timeline = Timeline::new(assignments.clone(), &versions).unwrap();
        let walked = naive(&assignments, &versions);
        for one in &assignments {
            let its: Vec<NaiveDate> = (0..DAYS)
                .zip(&walked)
                .filter(|(_, day)| day.is_some_and(|(no, ..)| no == one.no))
                .map(|(days, _)| nth(days))
                .collect();
            match timeline.priced(one.no) {
                None => prop_assert!(its.is_empty()),
                Some((first, end)) => {
                    // All of them lie within the days that are walked, but an open end and a period
                    // that begins after them.
                    let end = end.unwrap_or(nth(DAYS)).min(nth(DAYS));
                    let days: Vec<NaiveDate> =
                        first.iter_days().take_while(|day| *day < end).collect();
                    prop_assert_eq!(its, days);
                }
            }
        }
    }

    /// A plan by the calendar begins with the first whole period of a version, and then goes on as an
    /// assignment of it would.
    #[test]
    fn a_plan_by_the_calendar_is_an_assignment(versions in any_versions(), plan in 0_usize..5) {
        let name = Cadence::ALL[plan].as_str();
        let timeline = Timeline::of_plan(name, &versions).unwrap();
        let first = timeline.first_day().unwrap();
        let mut one = assignment(0, name, &first.to_string(), "");
        one.change = Change::Split;
        prop_assert_eq!(&timeline, &Timeline::new(vec![one], &versions).unwrap());
        let start = timeline.periods_before(NaiveDate::MAX).next().unwrap().slot;
        prop_assert_eq!(start.period.start(), first);
        if versions[name].len() == 1 {
            prop_assert_eq!(start.period, start.whole);
        }
    }
}
