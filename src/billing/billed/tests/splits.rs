//! Whatever happens in whatever order, the documents of a period sum to what one document would be.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::document::tests::percent;
use crate::document::{Document, Kind};
use crate::draft::{Input, draft};
use crate::pricing::tests::any_model;

/// What happens to the book.
#[derive(Clone, Debug)]
enum Event {
    /// Receipts of A or B are counted in period 0 or 1.
    Count(usize, bool, i64),
    /// As many are voided, as far as there are any.
    Void(usize, bool, i64),
    /// Whatever is owed goes on a document, which is regular for the period if it has none.
    Bill(usize),
    /// The last document that was not taken back yet is taken back whole.
    TakeBack,
}

fn any_event() -> impl Strategy<Value = Event> {
    let (period, name) = (0..2_usize, any::<bool>());
    prop_oneof![
        4 => (period.clone(), name, 1..40_i64).prop_map(|(at, a, n)| Event::Count(at, a, n)),
        2 => (period.clone(), name, 1..40_i64).prop_map(|(at, a, n)| Event::Void(at, a, n)),
        4 => period.prop_map(Event::Bill),
        1 => Just(Event::TakeBack),
    ]
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let money = || proptest::option::of((0_i64..5_000).prop_map(|cents| Decimal::new(cents, 2)));
    let limits = (money(), money(), money());
    (any_model(), any_model(), limits, 1..100_u32).prop_map(
        |(a, b, (fixed_fee, one, other), off)| {
            let (minimum, maximum) = match (one, other) {
                (Some(one), Some(other)) => (Some(one.min(other)), Some(one.max(other))),
                limits => limits,
            };
            let mut charges = vec![per_unit("A", "0"), per_unit("B", "0")];
            (charges[0].model, charges[1].model) = (a, b);
            charges[1].free_units = 3;
            let discounts = vec![percent("Partner", &off.to_string())];
            Terms { fixed_fee, discounts, minimum, maximum, ..terms(charges) }
        },
    )
}

const FIRSTS: [&str; 2] = [SEPTEMBER, OCTOBER];

#[derive(Default)]
struct World {
    book: Book,
    /// Receipts of A and B that stand in each period: the second ledger.
    counts: [[i64; 2]; 2],
    standing: Vec<Document>,
}

impl World {
    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Count(at, a, receipts) => self.count(at, a, receipts),
            Event::Void(at, a, receipts) => {
                let there = self.counts[at][usize::from(a)];
                self.count(at, a, -receipts.min(there));
            }
            Event::Bill(at) => self.bill(at),
            Event::TakeBack => {
                if let Some(document) = self.standing.pop() {
                    self.book.unbill(&document);
                }
            }
        }
    }

    fn count(&mut self, at: usize, a: bool, receipts: i64) {
        self.counts[at][usize::from(a)] += receipts;
        self.book.count(FIRSTS[at], if a { "A" } else { "B" }, receipts);
    }

    fn bill(&mut self, at: usize) {
        let document = self.book.bill(Some(FIRSTS[at]), "2026-12-01").clone();
        self.standing.push(document);
    }

    /// Net cents, quantity and receipts by period and line key, from the documents alone.
    fn summed_documents(&self) -> BTreeMap<(String, String), (i128, i64, i64)> {
        let mut sums: BTreeMap<_, (i128, i64, i64)> = BTreeMap::new();
        for document in &self.standing {
            let sign = if document.kind == Kind::CreditNote { -1 } else { 1 };
            for line in &document.lines {
                let place = (line.period.unwrap().to_string(), line.key.unwrap().to_string());
                let sum = sums.entry(place).or_default();
                sum.0 += line.amount.mantissa() * i128::from(sign);
                sum.1 += line.quantity * sign;
                sum.2 += line.receipts * sign;
            }
        }
        sums.retain(|_, sum| *sum != (0, 0, 0));
        sums
    }

    /// The same, of one document for each period.
    fn at_once(&self) -> BTreeMap<(String, String), (i128, i64, i64)> {
        let mut sums = BTreeMap::new();
        for (first, account) in &self.book.accounts {
            let usage = account.usage();
            let slot = account.slot;
            let plan = &account.plan;
            let input = Input { plan, slot, usage: &usage, distinct: &[], tax: None };
            for line in draft(&input).unwrap().lines {
                let place = (first.to_string(), line.key.to_string());
                let [quantity, receipts] =
                    [line.quantity, line.receipts].map(|count| i64::try_from(count).unwrap());
                sums.insert(place, (line.amount.amount().mantissa(), quantity, receipts));
            }
        }
        sums
    }
}

proptest! {
    #[test]
    fn any_splitting_sums_to_the_same_money(
        plans in (any_terms(), any_terms()),
        events in proptest::collection::vec(any_event(), 1..25),
    ) {
        let mut world = World::default();
        world.book.open(SEPTEMBER, 1, plans.0, "19");
        world.book.open(OCTOBER, 2, plans.1, "20");
        for event in &events {
            world.happen(event);
        }
        // What is owed then closes both periods, and nothing is owed after it.
        world.bill(0);
        world.bill(1);
        prop_assert_eq!(world.summed_documents(), world.at_once());
        for (at, account) in world.book.accounts.values().enumerate() {
            prop_assert_eq!(account.owed(), Vec::new());
            // counted - voided = billed, to the unit.
            let billed: i64 = account.billed.iter().map(|row| row.receipts).sum();
            prop_assert_eq!(billed, world.counts[at].iter().sum::<i64>());
        }
    }
}
