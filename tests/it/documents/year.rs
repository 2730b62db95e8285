//! A year of ten brands, made up from a seed: price and tax changes, late usage, voids, favours and
//! cancellations. Whatever happened, every document is computed again to the byte, all documents of a period
//! sum to what one would have been, and every receipt is where it belongs.

use std::collections::BTreeMap;
use std::str::FromStr;

use billing::document::Document;
use billing::document::credit::Amounts;
use billing::draft::{self, Input};
use billing::money::Money;
use billing::period::{Period, Slot};
use billing::usage::usage_day;
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use prooftally::engine::billing_terms;
use prooftally::store::billing_run::{self, Which};
use prooftally::store::documents::{self, Filter, Listed};
use prooftally::store::verification::{self, Which as Verified};
use prooftally::store::{brands, catalog, due, issue, period_usage};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::RngCore;
use rust_decimal::Decimal;

use super::*;

const SEEDS: [u64; 2] = [1, 2];
const YEAR: i32 = 2024;
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York"];
const PREDICATES: [&str; 3] =
    ["CERT_VALID@V1", "DUE_DILIGENCE_VALID@V1", "CARBON_FOOTPRINT_LTE@V1"];
/// Left on 1 September.
const LEFT: usize = 9;
/// Nobody pays for its May.
const WAIVED: usize = 8;

/// Five plans, and what their prices are multiplied by from July on.
fn plans(factor: u32) -> [(&'static str, String); 5] {
    let price = |cents: u32| format!("\"{}\"", Decimal::new(i64::from(cents * factor), 2));
    let rest = |name: &str| {
        format!(
            "\n[[charge]]\nname = \"{name}\"\npredicate = \"*@*\"\nmodel = \"per_unit\"\nunit_price = {}\n",
            price(7)
        )
    };
    let head = |name: &str, cadence: &str, terms: &str| {
        format!(
            "name = \"{name}\"\ncurrency = \"EUR\"\ncadence = \"{cadence}\"\n{terms}\n\n[[charge]]\n\
            name = \"Certificates\"\npredicate = \"CERT_VALID@V1\"\n"
        )
    };
    let volume = format!(
        "{}model = \"volume\"\ntiers = [{{ up_to = 4, unit_price = {} }}, {{ unit_price = {} }}]\n{}",
        head("y-volume", "monthly", "fixed_fee = \"30.00\""),
        price(100),
        price(50),
        rest("Rest")
    );
    let bounded = format!(
        "{}model = \"graduated\"\ntiers = [{{ up_to = 3, unit_price = {} }}, {{ unit_price = {} }}]\n{}",
        head("y-bounded", "monthly", "minimum = \"3.00\"\nmaximum = \"6.50\""),
        price(99),
        price(33),
        rest("Rest")
    );
    let package = format!(
        "{}model = \"package\"\npackage_size = 5\npackage_price = {}\n{}",
        head("y-package", "quarterly", "fixed_fee = \"99.00\""),
        price(400),
        rest("Rest")
    );
    let discounted = format!(
        "{}model = \"per_unit\"\nunit_price = {}\nfree_units = 2\n{}\n[[discount]]\nname = \"Loyalty\"\n\
            percent = \"12.5\"\n",
        head("y-discounted", "monthly", "fixed_fee = \"10.00\""),
        price(133),
        rest("Rest")
    );
    let distinct = format!(
        "{}meter = \"distinct_products\"\nmodel = \"per_unit\"\nunit_price = {}\n{}",
        head("y-distinct", "monthly", ""),
        price(250),
        rest("Rest")
    );
    [
        ("y-volume", volume),
        ("y-bounded", bounded),
        ("y-package", package),
        ("y-discounted", discounted),
        ("y-distinct", distinct),
    ]
}

/// A receipt as the test knows it, beside all that the database says.
#[derive(Clone)]
struct Receipt {
    id: String,
    brand: usize,
    predicate: usize,
    result: bool,
    day: NaiveDate,
    is_voided: bool,
}

/// By predicate and result: counted, billed, waived, voided, unbilled.
type Settled = BTreeMap<(String, bool), (i64, i64, i64, i64, i64)>;

struct Year {
    till: Till,
    terms: due::Terms,
    random: Pcg64Mcg,
    receipts: Vec<Receipt>,
    favours: u32,
    cancels: u32,
    voids: u32,
}

fn brand(number: usize) -> String {
    format!("year-{number}")
}

fn zone(number: usize) -> Tz {
    Tz::from_str(ZONES[number % ZONES.len()]).unwrap()
}

impl Year {
    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        let engine = world.engine_with(|config| config.segment_entries = 300).await;
        let till = Till {
            world,
            engine: tokio::sync::Mutex::new(Some(engine)),
            folder: tempfile::tempdir().unwrap(),
        };
        till.file("config.toml", &ISSUER.replace("2026-01-01", "2020-01-01"));
        let file = Some(till.folder.path().join("config.toml"));
        let source = prooftally::config::Source { file, environment_variables: std::iter::empty() };
        let terms = billing_terms(&prooftally::config::Config::load(source).unwrap().config);
        let random = Pcg64Mcg::new(u128::from(seed));
        let receipts = Vec::new();
        let mut year = Self { till, terms, random, receipts, favours: 0, cancels: 0, voids: 0 };
        // The first receipt of each brand, at a moment that is 1 January everywhere.
        let noon = Utc.with_ymd_and_hms(YEAR, 1, 1, 14, 0, 0).unwrap();
        let first = (0..10).map(|number| year.receipt(number, noon)).collect();
        year.count(first).await;
        year.set_up();
        year
    }

    /// Zones, plans with two prices, taxes with two rates, assignments, a waiver.
    fn set_up(&self) {
        let till = &self.till;
        let profile = till.file("profile.toml", PROFILE);
        for (factor, from) in [(1, "2024-01-01"), (2, "2024-07-01")] {
            for (name, text) in plans(factor) {
                let file = till.file(&format!("{name}.toml"), &text);
                done(till.run(&format!("plans apply {file} --effective-from {from}")));
            }
        }
        for number in 0..10 {
            let (brand, plan) = (brand(number), plans(1)[number % 5].0);
            done(till.run(&format!("brands set {brand} --zone {}", zone(number))));
            done(till.run(&format!("brands profile set {brand} -f {profile}")));
            for (from, rate) in [("2024-01-01", "19"), ("2024-07-01", "16")] {
                done(till.run(&format!(
                    "brands tax set {brand} --from {from} --category S --rate {rate}"
                )));
            }
            match number {
                LEFT => till.assign(&brand, plan, "2024-01-01 --until 2024-09-01"),
                WAIVED => {
                    till.assign(&brand, plan, "2024-01-01 --until 2024-05-01");
                    till.assign(&brand, plan, "2024-06-01 --until 2025-01-01");
                    done(till.run(&format!(
                        "assignments waive --brand {brand} --from 2024-05-01 --until 2024-06-01 \
                         --because trial"
                    )));
                }
                _ => till.assign(&brand, plan, "2024-01-01 --until 2025-01-01"),
            }
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }

    /// Makes up a receipt, and the event that carries it.
    fn receipt(&mut self, number: usize, at: DateTime<Utc>) -> String {
        let (predicate, result) = (self.pick(3), self.below(4) > 0);
        let product = format!("product-{}", self.below(6));
        let id = format!("y-{}", self.receipts.len());
        let event = receipt(&id, &brand(number))
            .replace("2026-03-01T10:00:00Z", &at.format("%Y-%m-%dT%H:%M:%SZ").to_string())
            .replace("CERT_VALID@V1", PREDICATES[predicate])
            .replace("shirt", &product)
            .replace("true", if result { "true" } else { "false" });
        let day = usage_day(at, zone(number));
        self.receipts.push(Receipt { id, brand: number, predicate, result, day, is_voided: false });
        event
    }

    /// Usage of a month, and some of the months before it; brands without a plan get none that would
    /// keep their invoices back.
    fn month(&mut self, month: u32) -> Vec<String> {
        let mut events = Vec::new();
        for number in 0..10 {
            for _ in 0..2 + self.below(9) {
                events.push(self.within(number, month));
            }
            for _ in 0..self.below(4) {
                let earlier = 1 + u32::try_from(self.below(u64::from(month))).unwrap();
                events.push(self.within(number, earlier));
            }
        }
        events
    }

    fn within(&mut self, number: usize, month: u32) -> String {
        let first = Utc.with_ymd_and_hms(YEAR, month, 1, 0, 0, 0).unwrap();
        let seconds = i64::try_from(self.below(28 * 86_400)).unwrap();
        // A day in, so that no zone takes it out of the month that it is for.
        let at = first + chrono::TimeDelta::seconds(86_400 + seconds.min(27 * 86_400 - 1));
        self.receipt(number, at)
    }

    async fn count(&self, events: Vec<String>) {
        self.till.world.publish_raw("proofs.verified", events).await;
        self.till.count("none", &[]).await;
    }

    async fn issue(&self, now: DateTime<Utc>) {
        let (store, which) = (&self.till.world.store, Which::default());
        let done = billing_run::issue_all(store, &self.terms, &which, now, "test", |_, _| {});
        let done = done.await.unwrap();
        for refused in &done.refused {
            let (brand, refused) = (&refused.brand, refused.why.to_string());
            // The brand that left has usage that nobody pays for.
            assert!(
                brand.id.as_str() == self::brand(LEFT) && refused.contains("no_plan"),
                "{refused}"
            );
        }
    }

    /// Takes receipts back, some on documents and some not yet.
    fn void_receipts(&mut self) {
        let mut of_brand: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for _ in 0..4 {
            let place = self.pick(self.receipts.len());
            let chosen = &mut self.receipts[place];
            if !chosen.is_voided {
                chosen.is_voided = true;
                of_brand.entry(chosen.brand).or_default().push(chosen.id.clone());
            }
        }
        for (number, ids) in of_brand {
            let ids = ids.join(" ");
            done(self.till.run(&format!("receipts void {} {ids} --because test", brand(number))));
        }
    }

    async fn standing(&self) -> Vec<Listed> {
        let filter = Filter {
            credit_notes: Some(false),
            state: Some("finalized".to_owned()),
            limit: 1_000,
            ..Filter::default()
        };
        documents::list(self.till.world.pool(), &filter).await.unwrap()
    }

    /// A favour on one invoice, and a cancellation or a void of another.
    async fn correct(&mut self, now: DateTime<Utc>) {
        let listed = self.standing().await;
        let (pool, issuers) = (self.till.world.pool().clone(), self.terms.issuers.clone());
        let favoured = &listed[self.pick(listed.len())];
        let body = documents::body(&pool, favoured.document_no).await.unwrap();
        let document = Document::read(&body).unwrap();
        let line = document.lines.iter().find(|line| line.amount > Decimal::ONE);
        if let (Some(line), Some(_)) = (line, &favoured.number) {
            let amount = Money::new(Decimal::new(13, 2), document.currency).unwrap();
            let amounts = Amounts::Goodwill(vec![(line.line, amount)]);
            issue::favour(&pool, &issuers, favoured, &amounts, "favour", now, "test")
                .await
                .unwrap();
            self.favours += 1;
        }
        let other = &listed[self.pick(listed.len())];
        if other.document_no == favoured.document_no {
            return;
        }
        if self.below(2) == 0 && issue::void(&pool, other, "wrong", "test").await.is_ok() {
            self.voids += 1;
        } else {
            let cancelled = issue::cancel(&pool, &issuers, other, "wrong", now, "test").await;
            self.cancels += u32::from(cancelled.unwrap().is_some());
        }
    }

    /// Each period's documents sum to what one document would have been: computed from nothing but the
    /// receipts that are left, by the recorded plan and days.
    async fn assert_sums(&self) -> usize {
        type Row = (String, NaiveDate, NaiveDate, NaiveDate, NaiveDate, String, i32, i64, Decimal);
        let rows: Vec<Row> = sqlx::query_as(
            "select b.brand_id, p.period_start, p.period_end, p.whole_start, p.whole_end, p.plan_name, \
                p.plan_version, sum(i.receipts)::bigint, sum(i.amount) \
             from standing_invoice s join document_period p using (document_no, period_start) \
             join brand b on b.brand_no = s.brand_no \
             join billed i on i.brand_no = s.brand_no and i.period_start = s.period_start \
             group by 1, 2, 3, 4, 5, 6, 7",
        )
        .fetch_all(self.till.world.pool())
        .await
        .unwrap();
        let mut connection = self.till.world.store.connect().await.unwrap();
        let catalog = catalog::read(&mut connection).await.unwrap();
        for (id, start, end, whole_start, whole_end, plan, version, receipts, amount) in &rows {
            let period = Period::new(*start, *end).unwrap();
            let slot = Slot { period, whole: Period::new(*whole_start, *whole_end).unwrap() };
            let july = NaiveDate::from_ymd_opt(YEAR, 7, 1).unwrap();
            assert_eq!(*version, if *start < july { 1 } else { 2 }, "{id} {period}");
            let plan = catalog.plan(plan, *version).unwrap();
            let known = brands::all(&mut connection).await.unwrap();
            let known = known.into_iter().find(|known| known.id.as_str() == id).unwrap();
            let usage = period_usage::read(&mut connection, &known, period, plan).await.unwrap();
            let rows = usage.usage().unwrap();
            let input = Input { plan, slot, usage: &rows, distinct: &usage.distinct, tax: None };
            let whole = draft::draft(&input).unwrap();
            assert_eq!(whole.net_total.amount(), *amount, "{id} {period}");
            let left = self.left(id, period);
            assert_eq!((whole.receipts, *receipts), (left, left.cast_signed()), "{id} {period}");
        }
        rows.len()
    }

    /// Receipts of a brand on these days that were not taken back.
    fn left(&self, id: &str, period: Period) -> u64 {
        let of =
            |one: &&Receipt| brand(one.brand) == id && !one.is_voided && period.contains(one.day);
        self.receipts.iter().filter(of).count() as u64
    }

    /// Counted = billed + waived + voided + unbilled for each predicate and result, by what the test has
    /// published on one side and by what the database says on the other.
    async fn assert_conserved(&self) {
        type Row = (String, bool, i64, i64, i64, i64, i64);
        let rows: Vec<Row> = sqlx::query_as(
            "select p.name || '@' || p.version, u.result, sum(u.receipts)::bigint, \
                coalesce(sum(u.receipts - u.voided) filter (where s.is_billed), 0)::bigint, \
                coalesce(sum(u.receipts - u.voided) filter (where w.is_waived), 0)::bigint, \
                sum(u.voided)::bigint, \
                coalesce(sum(u.receipts - u.voided) \
                    filter (where not s.is_billed and not w.is_waived), 0)::bigint \
             from usage_day u join predicate p using (predicate_no) \
             cross join lateral (select exists (select from standing_invoice s \
                where s.brand_no = u.brand_no and s.period_start <= u.usage_day \
                    and u.usage_day < s.period_end) as is_billed) s \
             cross join lateral (select exists (select from waiver_now w \
                where w.brand_no = u.brand_no and w.from_day <= u.usage_day \
                    and u.usage_day < w.until_day) as is_waived) w \
             group by 1, 2 order by 1, 2",
        )
        .fetch_all(self.till.world.pool())
        .await
        .unwrap();
        let september = NaiveDate::from_ymd_opt(YEAR, 9, 1).unwrap();
        let mut expected = Settled::new();
        for one in &self.receipts {
            let key = (PREDICATES[one.predicate].to_owned(), one.result);
            let of = expected.entry(key).or_default();
            of.0 += 1;
            let is_waived = one.brand == WAIVED && one.day.month() == 5;
            let is_unbilled = one.brand == LEFT && one.day >= september;
            match (one.is_voided, is_waived, is_unbilled) {
                (true, ..) => of.3 += 1,
                (_, true, _) => of.2 += 1,
                (.., true) => of.4 += 1,
                _ => of.1 += 1,
            }
        }
        let found: Settled = rows
            .into_iter()
            .map(|(name, result, a, b, c, d, e)| ((name, result), (a, b, c, d, e)))
            .collect();
        assert_eq!(found, expected, "counted, billed, waived, voided, unbilled");
        for (counted, billed, waived, voided, unbilled) in found.values() {
            assert_eq!(*counted, billed + waived + voided + unbilled);
            assert!(*billed > 0 && *unbilled >= 0);
        }
    }

    async fn assert_kinds(&self) {
        let kinds: Vec<(String, String, i64)> =
            sqlx::query_as("select kind, cause, count(*) from document group by 1, 2")
                .fetch_all(self.till.world.pool())
                .await
                .unwrap();
        let count = |kind: &str, cause: &str| {
            let of = kinds.iter().find(|(k, c, _)| (k.as_str(), c.as_str()) == (kind, cause));
            of.map_or(0, |(.., count)| *count)
        };
        assert!(count("invoice", "periods") >= 90, "{kinds:?}");
        assert_eq!(count("credit_note", "goodwill"), i64::from(self.favours));
        assert_eq!(count("credit_note", "cancel"), i64::from(self.cancels));
        assert!(count("adjustment", "periods") + count("credit_note", "periods") > 0, "{kinds:?}");
        assert!(self.favours > 0 && self.cancels > 0 && self.voids > 0, "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_up_year_is_exact_and_computed_again_to_the_byte() {
    for seed in SEEDS {
        let mut year = Year::new(seed).await;
        for month in 1..=12 {
            let events = year.month(month);
            year.count(events).await;
            year.void_receipts();
            let first = NaiveDate::from_ymd_opt(YEAR, month, 1).unwrap();
            let later = first.checked_add_months(chrono::Months::new(1)).unwrap() + Days::new(5);
            let now = later.and_hms_opt(12, 0, 0).unwrap().and_utc();
            year.issue(now).await;
            year.correct(now).await;
        }
        // After the last invoice more comes late, and more is taken back: adjustments.
        let after = Utc.with_ymd_and_hms(YEAR + 1, 2, 3, 12, 0, 0).unwrap();
        year.issue(after).await;
        for month in [2, 6, 11] {
            let late = (0..10).map(|number| year.within(number, month)).collect();
            year.count(late).await;
        }
        year.void_receipts();
        year.issue(after).await;

        // Six by months, two by quarters, one without its May, and one that left after eight months.
        let periods = year.assert_sums().await;
        assert_eq!(periods, 6 * 12 + 2 * 4 + 11 + 8, "seed {seed}");
        year.assert_conserved().await;
        year.assert_kinds().await;
        let mut connection = year.till.world.store.connect().await.unwrap();
        let report = verification::verify(&mut connection, &Verified::All, |_| ()).await.unwrap();
        let report = report.unwrap();
        assert_eq!(report.differences, [], "seed {seed}");
        assert!(report.documents > 120, "{report:?}");
        let verified = year.till.run("invoices verify --all");
        assert!(verified.status.success(), "{verified:?}");
        assert_eq!(year.till.run("audit").status.code(), Some(0));
        let engine = year.till.engine.lock().await.take();
        engine.unwrap().stop().await;
    }
}
