//! A brand's book: periods with usage, documents and what they billed. It stands in for the store.
#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use chrono::{DateTime, Days};
use expect_test::{expect, expect_file};

use super::compose::{Parts, PeriodPart, compose};
use super::*;
use crate::billed::{self, owed};
use crate::draft::{self, Input, Usage};
use crate::evidence::leaf::{Leaf, Source};
use crate::evidence::merkle::Tree;
use crate::ids::Predicate;
use crate::numbering::{Prefix, Series};
use crate::period::{Anchor, Cadence, Grid, Period, Slot};
use crate::plan::{
    Charge, Discount, Meter, Model, Plan, Reduction, Results, Selector, Terms, Tier, UsageKind,
};
use crate::tax::Treatment;

mod checking;
mod crediting;

pub(crate) fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

pub(crate) fn eur(text: &str) -> Money {
    Money::new(decimal(text), Currency::EUR).unwrap()
}

pub(crate) fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "a field reads better without its wrapping")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(crate) fn issuer() -> Party {
    Party {
        legal_name: some("Zero Knowledge Passports GmbH"),
        street: some("Hauptstraße 1"),
        city: some("Berlin"),
        postcode: some("10115"),
        country: some("DE"),
        vat_id: some("DE123456789"),
        registration_id: some("HRB 1234"),
        electronic_address: Some(ElectronicAddress {
            scheme: "9930".to_owned(),
            id: "DE123456789".to_owned(),
        }),
        contact: Some(Contact { name: some("Billing"), telephone: None, email: some("b@zkp.eu") }),
        iban: some("DE89370400440532013000"),
        ..Party::default()
    }
}

pub(crate) fn buyer() -> Party {
    Party {
        legal_name: some("ACME \"Batteries\" S.A."),
        city: some("Lyon"),
        country: some("FR"),
        vat_id: some("FR12345678901"),
        buyer_reference: some("PO-77"),
        ..Party::default()
    }
}

pub(crate) fn per_unit(name: &str, unit_price: &str) -> Charge {
    Charge {
        name: name.to_owned(),
        selector: Selector::parse(&format!("{name}@*"), Results::Any).unwrap(),
        meter: Meter::Receipts,
        free_units: 0,
        model: Model::PerUnit { unit_price: decimal(unit_price) },
    }
}

/// 0.10 each up to 100 units, 0.05 for all of them above.
pub(crate) fn volume(name: &str) -> Charge {
    let tier =
        |up_to, price: &str| Tier { up_to, unit_price: decimal(price), flat_fee: Decimal::ZERO };
    Charge {
        model: Model::Volume(vec![tier(Some(100), "0.10"), tier(None, "0.05")]),
        ..per_unit(name, "0")
    }
}

pub(crate) fn terms(charges: Vec<Charge>) -> Terms {
    Terms {
        name: "test".to_owned(),
        currency: Currency::EUR,
        cadence: Cadence::Monthly,
        fixed_fee: None,
        charges,
        discounts: Vec::new(),
        minimum: None,
        maximum: None,
    }
}

pub(crate) fn percent(name: &str, percent: &str) -> Discount {
    Discount { name: name.to_owned(), reduction: Reduction::Percent(decimal(percent)) }
}

pub(crate) fn vat(rate: &str) -> Treatment {
    Treatment::new(Category::Standard, decimal(rate), None).unwrap()
}

/// The part of a calendar month from `first` on, or all of it.
pub(crate) fn month(first: &str) -> Slot {
    let grid = Grid { cadence: Cadence::Monthly, anchor: Anchor::Calendar };
    let whole = grid.whole_period(day(first)).unwrap();
    Slot { period: Period::new(day(first), whole.end()).unwrap(), whole }
}

/// A period with its plan and tax, and its entries in the ledger.
pub(crate) struct Account {
    pub slot: Slot,
    pub version: u64,
    pub plan: Plan,
    pub tax: Treatment,
    /// Entry, its leaf, its predicate's name, and whether it counts or takes back.
    entries: Vec<(u64, Vec<u8>, &'static str, bool)>,
    pub billed: Vec<Charged>,
    pub cutoff: u64,
    /// A document has closed it.
    pub closed: bool,
}

/// All of one brand.
#[derive(Default)]
pub(crate) struct Book {
    pub accounts: BTreeMap<NaiveDate, Account>,
    pub documents: Vec<Document>,
    entry: u64,
    counters: BTreeMap<Series, u64>,
    last_issued: BTreeMap<Prefix, NaiveDate>,
}

impl Book {
    pub fn open(&mut self, first: &str, version: u64, terms: Terms, rate: &str) {
        let (plan, tax, slot) = (Plan::new(terms).unwrap(), vat(rate), month(first));
        let account = Account {
            slot,
            version,
            plan,
            tax,
            entries: vec![],
            billed: vec![],
            cutoff: 0,
            closed: false,
        };
        self.accounts.insert(day(first), account);
    }

    /// Counts receipts, or voids some that were counted.
    pub fn count(&mut self, first: &str, predicate: &'static str, receipts: i64) {
        let account = self.accounts.get_mut(&day(first)).unwrap();
        for _ in 0..receipts.abs() {
            self.entry += 1;
            let receipt_id = format!("r-{}", self.entry);
            let void = receipts < 0;
            let leaf = Leaf {
                entry: self.entry,
                epoch: 1,
                sequence: 1000 + self.entry,
                source: if void { Source::Void } else { Source::Stream },
                brand: "ACME",
                receipt_id: &receipt_id,
                predicate: Predicate::new(predicate, "V1").unwrap(),
                supplier: Some("SUP-1"),
                product: None,
                result: Some(true),
                verified_at: DateTime::from_timestamp_micros(1_790_000_000_000_000).unwrap(),
                expires_at: None,
                usage_day: account.slot.period.start(),
                of_entry: void.then_some(1),
            };
            account.entries.push((self.entry, leaf.to_bytes().unwrap(), predicate, !void));
        }
    }

    /// Issues the document of `regular`, or of late usage alone, with all that billed periods owe.
    pub fn bill(&mut self, regular: Option<&str>, issued: &str) -> &Document {
        let regular = regular.map(day);
        let mut parts = Vec::new();
        for (start, account) in &self.accounts {
            let owed = account.owed();
            if Some(*start) == regular || (account.closed && !owed.is_empty()) {
                parts.push(account.part(owed, self.entry));
            }
        }
        // Composing puts them in order.
        parts.reverse();
        let document = compose(Parts {
            brand: "ACME",
            currency: Currency::EUR,
            zone: "Europe/Paris",
            issuer: &issuer(),
            buyer: &buyer(),
            regular: regular.is_some(),
            periods: parts,
            issue_date: day(issued),
            terms_days: 30,
            overrides: Vec::new(),
            billing_version: self.documents.len() as u64,
            previous: self.documents.last().map(|last| last.hash().unwrap()),
        });
        self.issue(document.unwrap())
    }

    /// Numbers, checks, writes, reads back and records a document.
    pub fn issue(&mut self, mut document: Document) -> &Document {
        if !document.total.is_zero() || !document.net_total.is_zero() {
            let series = Series::of(document.kind, document.issue_date);
            let counter = self.counters.entry(series).or_default();
            let number = series.next(*counter).unwrap();
            *counter = number.sequence;
            document.number = Some(number.to_string());
            let last = self.last_issued.insert(series.prefix, document.issue_date);
            assert!(last <= Some(document.issue_date));
        }
        check(&document).unwrap_or_else(|refused| panic!("{refused}\n{document:#?}"));
        let bytes = document.to_bytes().unwrap();
        let read = Document::read(&bytes).unwrap();
        assert_eq!(read, document);
        assert_eq!(read.hash().unwrap(), Hash::of(&[&bytes]));
        for row in read.charged().unwrap() {
            self.accounts.get_mut(&row.period).unwrap().billed.push(row);
        }
        for period in &read.periods {
            let account = self.accounts.get_mut(&period.start).unwrap();
            (account.cutoff, account.closed) = (period.cutoff, true);
        }
        self.documents.push(read);
        self.documents.last().unwrap()
    }

    /// Takes back from `billed` what a document charged.
    pub fn unbill(&mut self, document: &Document) {
        for row in billed::opposites(&document.charged().unwrap()).unwrap() {
            self.accounts.get_mut(&row.period).unwrap().billed.push(row);
        }
    }
}

impl Account {
    pub fn usage(&self) -> Vec<Usage<'static>> {
        let mut counts: BTreeMap<&'static str, i64> = BTreeMap::new();
        for (_, _, predicate, counts_up) in &self.entries {
            *counts.entry(predicate).or_default() += if *counts_up { 1 } else { -1 };
        }
        let kind = |name| UsageKind {
            predicate: Predicate::new(name, "V1").unwrap(),
            result: true,
            has_product: true,
            has_supplier: true,
        };
        let row =
            |(name, count)| Usage { kind: kind(name), receipts: u64::try_from(count).unwrap() };
        counts.into_iter().map(row).collect()
    }

    pub fn owed(&self) -> Vec<billed::Owed> {
        let (usage, plan) = (self.usage(), &self.plan);
        let input =
            Input { plan, slot: self.slot, usage: &usage, distinct: &[], tax: Some(&self.tax) };
        owed(plan, &draft::draft(&input).unwrap(), &self.billed).unwrap()
    }

    pub fn part(&self, owed: Vec<billed::Owed>, cutoff: u64) -> PeriodPart<'_> {
        let mut tree = Tree::new();
        for leaf in self.leaves(self.cutoff, cutoff) {
            tree.push(leaf);
        }
        PeriodPart {
            slot: self.slot,
            plan: &self.plan.terms().name,
            plan_version: self.version,
            tax: &self.tax,
            after: self.cutoff,
            cutoff,
            root: tree.root(),
            size: tree.size(),
            owed,
        }
    }

    pub fn leaves(&self, after: u64, cutoff: u64) -> impl Iterator<Item = &Vec<u8>> {
        let within = move |entry: u64| entry > after && entry <= cutoff;
        self.entries.iter().filter(move |entry| within(entry.0)).map(|(_, leaf, ..)| leaf)
    }
}

/// A document as an accountant reads it.
pub(crate) fn render(document: &Document) -> String {
    let kind = format!("{:?} {:?}", document.kind, document.cause).to_lowercase();
    let number = document.number.as_deref().unwrap_or("without a number");
    let mut text = format!("{kind} {number} of {}\n", document.issue_date);
    for line in &document.lines {
        let period = line.period.map(|period| period.format("%Y-%m").to_string());
        let key = line.key.map(|key| key.to_string());
        let credits =
            line.credits.as_ref().map(|to| format!("credits line {} of {}", to.line, to.number));
        let what: Vec<String> = [period, key, credits].into_iter().flatten().collect();
        text += &format!(
            "{}. {} {}: {} for {} at {} {} %\n",
            line.line,
            what.join(" "),
            line.label,
            line.quantity,
            line.amount,
            line.tax_category.code(),
            line.tax_rate_percent,
        );
        if let Some(Adjustment { billed_quantity, billed_amount, owed_quantity, owed_amount }) =
            &line.adjustment
        {
            text += &format!(
                "   billed {billed_quantity} for {billed_amount}, \
                 owed {owed_quantity} for {owed_amount}\n"
            );
        }
        for step in &line.explanation {
            text += &format!("   {step}\n");
        }
    }
    for group in &document.tax_groups {
        let code = group.category.code();
        text +=
            &format!("tax {code} {} % of {}: {}\n", group.rate_percent, group.taxable, group.tax);
    }
    text + &format!(
        "net {} + tax {} = {}\n",
        document.net_total, document.tax_total, document.total
    )
}

/// A stub of September with fixed fee, tiers, packages and a discount.
pub(crate) fn sample() -> Book {
    let mut certificates = per_unit("CERT_VALID", "0.03");
    certificates.free_units = 2;
    let packages = Charge {
        model: Model::Package { size: 5, price: decimal("4.00") },
        ..per_unit("PACKAGED", "0")
    };
    let mut book = Book::default();
    let terms = Terms {
        fixed_fee: Some(decimal("99.00")),
        discounts: vec![percent("Partner", "10")],
        ..terms(vec![certificates, volume("CARBON"), packages, per_unit("PLAIN", "0.5")])
    };
    book.open("2026-09-20", 7, terms, "19");
    book.count("2026-09-20", "CERT_VALID", 12);
    book.count("2026-09-20", "CARBON", 101);
    book.count("2026-09-20", "PACKAGED", 6);
    book.count("2026-09-20", "PLAIN", 3);
    book.bill(Some("2026-09-20"), "2026-10-04");
    book
}

/// These bytes are for ever: a document that was issued must verify with any later version.
#[test]
fn the_bytes_of_a_document() {
    let book = sample();
    let document = &book.documents[0];
    let text = String::from_utf8(document.to_bytes().unwrap()).unwrap();
    expect_file!["tests/invoice.json"].assert_eq(&text);
    expect!["9c16ab54bf0f123bbee27d6cd326d79be0e52eb1b9e43e8ff8eacb590f859ba8"]
        .assert_eq(&document.hash().unwrap().to_string());
    expect![[r#"
        invoice periods INV-2026-000001 of 2026-10-04
        1. 2026-09 fixed_fee Fixed fee: 1 for 36.30 at S 19 %
           11 of 30 days of 99.00
        2. 2026-09 charge:1 CERT_VALID: 12 for 0.30 at S 19 %
           2 free
           10 x 0.03 = 0.30
        3. 2026-09 charge:2 CARBON: 101 for 5.05 at S 19 %
           tier 2 (101 and up): 101 x 0.05 = 5.05
        4. 2026-09 charge:3 PACKAGED: 6 for 8.00 at S 19 %
           6 in packages of 5: 2 x 4.00 = 8.00
        5. 2026-09 charge:4 PLAIN: 3 for 1.50 at S 19 %
           3 x 0.5 = 1.5
        6. 2026-09 discount:1 Partner: 1 for -1.49 at S 19 %
           10 % of 14.85 EUR
        tax S 19 % of 49.66: 9.44
        net 49.66 + tax 9.44 = 59.10
    "#]]
    .assert_eq(&render(document));
}

#[test]
fn one_changed_byte_is_found() {
    let book = sample();
    let bytes = book.documents[0].to_bytes().unwrap();
    let hash = Hash::of(&[&bytes]);
    // Every byte, in a way that often leaves good JSON behind.
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        if let Ok(document) = Document::read(&changed) {
            assert_ne!(document.hash().unwrap(), hash);
            assert_eq!(document.to_bytes().unwrap(), changed, "what is read is written again");
        }
    }
}

#[test]
fn only_the_one_spelling_is_read() {
    let book = sample();
    let text = String::from_utf8(book.documents[0].to_bytes().unwrap()).unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Document::read(text.replacen(from, to, 1).as_bytes()).map(|_| ()).unwrap_err().to_string()
    };
    for (from, to) in [
        (r#""currency":"EUR""#, r#""currency":"EURO""#),
        (r#""quantity":"12""#, r#""quantity":12"#),
        (r#""quantity":"12""#, r#""quantity":"+12""#),
        (r#""quantity":"12""#, r#""quantity":"012""#),
        (r#""unit_price":"0.5""#, r#""unit_price":"0.5e0""#),
        (r#""unit_price":"0.5""#, r#""unit_price":0.5"#),
        (r#""note":null,"#, ""),
        (r#""note":null,"#, r#""note":null,"note2":null,"#),
        (r#""note":null,"#, r#""note":null,"note":null,"#),
        (r#"prooftally.document/1"#, "prooftally.document/2"),
        (r#""issue_date":"2026-10-04""#, r#""issue_date":"2026-10-4""#),
        (r#""key":"charge:1""#, r#""key":"charge:01""#),
    ] {
        replaced(from, to);
    }
    Document::read(text.as_bytes()).unwrap();
}

#[test]
fn documents_of_a_brand_are_chained() {
    let mut book = sample();
    book.count("2026-09-20", "PLAIN", 1);
    book.bill(None, "2026-10-05");
    let hashes: Vec<_> = book.documents.iter().map(|document| document.hash().unwrap()).collect();
    assert_eq!(book.documents[0].previous, None);
    assert_eq!(book.documents[1].previous, Some(hashes[0]));
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn dates_follow_from_periods_and_terms() {
    let document = &sample().documents[0];
    assert_eq!(document.tax_point, day("2026-09-30"));
    assert_eq!(document.due_date, Some(day("2026-10-04") + Days::new(30)));
}

/// An auditor of later years reads the file as it was written.
#[test]
fn the_invoice_of_the_file_is_read() {
    let document = Document::read(include_bytes!("tests/invoice.json")).unwrap();
    assert_eq!(document, sample().documents[0]);
    assert_eq!(check(&document), Ok(()));
}

#[test]
fn a_difference_is_named_by_its_place() {
    type Change = fn(&mut Document);
    let document = sample().documents.remove(0);
    assert_eq!(document.differs_at(&document).unwrap(), None);
    let changes: [(&str, Change); 6] = [
        ("/total", |document| document.total = decimal("59.11")),
        ("/lines/2/amount", |document| document.lines[2].amount = decimal("5.06")),
        ("/lines/5", |document| {
            document.lines.pop();
        }),
        ("/lines/6", |document| document.lines.push(document.lines[0].clone())),
        ("/periods/0/root", |document| document.periods[0].root = Hash::of(&[])),
        ("/buyer/contact", |document| document.buyer.contact = document.issuer.contact.clone()),
    ];
    for (place, change) in changes {
        let mut changed = document.clone();
        change(&mut changed);
        assert_eq!(document.differs_at(&changed).unwrap().as_deref(), Some(place));
    }
}
