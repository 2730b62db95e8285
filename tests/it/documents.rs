//! Documents through the command line: finalization, late usage, what opposes a document, and the rules of
//! the database.

mod cancelled;
mod cases;
mod late;
mod numbers;
mod payments;
mod reports;
mod rules;
mod run;
mod served;
mod together;
mod walk;
mod year;

use std::process::Output;

use prooftally::config::Config;
use prooftally::engine::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{World, wait_for};
use crate::metering::receipt;

/// 30.00 a month; receipts at 1.00, and all of them at 0.50 from the fifth on.
pub const VOLUME: &str = r#"
name = "volume"
currency = "EUR"
cadence = "monthly"
fixed_fee = "30.00"

[[charge]]
name = "Certificates"
predicate = "CERT_VALID@V1"
model = "volume"
tiers = [{ up_to = 4, unit_price = "1.00" }, { unit_price = "0.50" }]
"#;

pub const ISSUER: &str = r#"
[[issuer]]
from = "2026-01-01"
zone = "Europe/Berlin"
legal_name = "Passport Network eG"
street = "Hafen 1"
city = "Hamburg"
postcode = "20457"
country = "DE"
vat_id = "DE123456789"
electronic_scheme = "EM"
electronic_address = "billing@network.example"
contact_name = "Billing"
contact_email = "billing@network.example"
contact_phone = "+49 40 1"
iban = "DE89370400440532013000"
"#;

pub const PROFILE: &str = "legal_name = \"Acme GmbH\"\nstreet = \"Ring 1\"\ncity = \"Bonn\"\n\
    postcode = \"53111\"\ncountry = \"DE\"\nvat_id = \"DE987654321\"\nelectronic_scheme = \"EM\"\n\
    electronic_address = \"in@acme.example\"\nbuyer_reference = \"PO-77\"\nterms_days = 14\n";

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn done(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stderr)
}

#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let why = text(&output.stderr);
    assert!(why.contains(says), "{why}");
}

/// A world with an engine, an issuer, and brands that have a plan.
pub struct Till {
    pub world: World,
    /// Until a test takes it.
    engine: tokio::sync::Mutex<Option<Engine>>,
    folder: TempDir,
}

impl Till {
    /// `receipts` are pairs of brand and day; each brand pays by `VOLUME` in March and April.
    pub async fn with(receipts: &[(&str, &str)]) -> Self {
        Self::with_engine(receipts, |_| ()).await
    }

    /// With other settings of the engine.
    pub async fn with_engine(
        receipts: &[(&str, &str)],
        change: impl FnOnce(&mut prooftally::engine::Config),
    ) -> Self {
        // Of the same issuer as the command line, so that both have the same day.
        let issuers = toml::from_str::<Config>(ISSUER).expect("it is a configuration").issuer;
        let world = World::configured(|config| config.issuer = issuers).await;
        let engine = world.engine_with(change).await;
        let till = Self {
            world,
            engine: tokio::sync::Mutex::new(Some(engine)),
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::write(till.folder.path().join("config.toml"), ISSUER).unwrap();
        till.count("r", receipts).await;
        let plan = till.file("plan.toml", VOLUME);
        done(till.run(&format!("plans apply {plan} --effective-from 2026-01-01")));
        let mut brands: Vec<&str> = receipts.iter().map(|(brand, _)| *brand).collect();
        brands.sort_unstable();
        brands.dedup();
        let profile = till.file("profile.toml", PROFILE);
        for brand in brands {
            till.assign(brand, "volume", "2026-03-01 --until 2026-05-01");
            done(till.run(&format!("brands profile set {brand} -f {profile}")));
            done(
                till.run(&format!(
                    "brands tax set {brand} --from 2026-01-01 --category S --rate 19"
                )),
            );
        }
        till
    }

    pub fn assign(&self, brand: &str, plan: &str, from: &str) {
        done(self.run(&format!("assignments create --brand {brand} --plan {plan} --from {from}")));
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Lets receipts be counted, and waits until the engine has said that it had everything.
    pub async fn count(&self, prefix: &str, receipts: &[(&str, &str)]) {
        let events = receipts.iter().enumerate().map(|(number, (brand, day))| {
            receipt(&format!("{prefix}-{number}"), brand).replace("2026-03-01", day)
        });
        self.world.publish_raw("proofs.verified", events).await;
        self.world.wait_until_metered().await;
        let last = self.world.position().await;
        wait_for("the engine notes that it had everything", async || {
            let at: i64 = sqlx::query_scalar("select sequence from caught_up")
                .fetch_one(self.world.pool())
                .await
                .unwrap();
            (at >= last).then_some(())
        })
        .await;
    }

    /// Stops the engine.
    pub async fn stop(&self) {
        if let Some(engine) = self.engine.lock().await.take() {
            engine.stop().await;
        }
    }

    /// Runs a statement as somebody whom no rule stops.
    pub async fn by_force(&self, statement: &str) {
        let mut connection = self.world.store.connect().await.unwrap();
        let no_rules = "set session_replication_role = replica";
        sqlx::raw_sql(no_rules).execute(&mut connection).await.unwrap();
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    pub fn run(&self, line: &str) -> Output {
        let config = self.folder.path().join("config.toml").display().to_string();
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--config", config.as_str()]);
        self.world.prooftally(&arguments)
    }

    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --output json"));
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
    }

    /// Issues what is expected to have this total, and returns its number.
    #[track_caller]
    pub fn finalize(&self, brand: &str, which: &str, total: &str) -> String {
        let issued =
            self.json(&format!("invoices finalize --brand {brand} {which} --total {total}"));
        issued[0]["number"].as_str().unwrap_or_default().to_owned()
    }

    /// Its lines: period, key, quantity and amount.
    #[track_caller]
    fn lines(&self, number: &str) -> Value {
        let shown = self.json(&format!("invoices show {number}"));
        let lines = shown["document"]["lines"].as_array().unwrap().clone();
        let row =
            |line: &Value| json!([line["period"], line["key"], line["quantity"], line["amount"]]);
        lines.iter().map(row).collect()
    }

    pub async fn scalar<T>(&self, sql: &'static str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql).fetch_one(self.world.pool()).await.unwrap()
    }

    /// What documents have billed of each period: receipts and net.
    async fn billed(&self) -> Vec<(String, i64, String)> {
        sqlx::query_as(
            "select period_start::text, sum(receipts)::bigint, sum(amount)::text from billed \
             group by 1 order by 1",
        )
        .fetch_all(self.world.pool())
        .await
        .unwrap()
    }
}

fn row(period: &str, receipts: i64, amount: &str) -> (String, i64, String) {
    (period.to_owned(), receipts, amount.to_owned())
}

pub const MARCH: &str = "--period 2026-03";
pub const APRIL: &str = "--period 2026-04";

/// The example of docs/billing.md, figure by figure.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn late_usage_and_corrections_are_as_the_page_says() {
    let march = [("acme", "2026-03-01"); 4];
    let april = [("acme", "2026-04-02"); 3];
    let till = Till::with(&[march.as_slice(), &april].concat()).await;
    let due = till.json("periods list --brand acme");
    assert_eq!((&due[0]["total"], &due[0]["reasons"]), (&"40.46".into(), &"".into()));
    assert_eq!(due[1]["reasons"], "earlier_period");
    refused(
        &till.run("invoices finalize --brand acme --period 2026-03 --total 40.47"),
        5,
        "what was approved has changed: the draft's total is now 40.46",
    );
    refused(
        &till.run("invoices finalize --brand acme --period 2026-04 --total 39.27"),
        5,
        "earlier_period: the period from 2026-03-01 has no document yet",
    );
    let first = till.finalize("acme", MARCH, "40.46");
    assert_eq!(first, "INV-2026-000001");
    assert_eq!(
        till.lines(&first),
        json!([["2026-03-01", "fixed_fee", "1", "30.00"], ["2026-03-01", "charge:1", "4", "4.00"]])
    );
    let frozen = till.run(&format!("invoices show {first} --raw")).stdout;

    // Two receipts of March come late. All six cost 0.50: April's invoice gives 1.00 back.
    till.count("late", &[("acme", "2026-03-30"); 2]).await;
    let second = till.finalize("acme", APRIL, "38.08");
    assert_eq!(
        till.lines(&second),
        json!([
            ["2026-03-01", "charge:1", "2", "-1.00"],
            ["2026-04-01", "fixed_fee", "1", "30.00"],
            ["2026-04-01", "charge:1", "3", "3.00"],
        ])
    );
    assert_eq!(till.billed().await, [row("2026-03-01", 6, "33.00"), row("2026-04-01", 3, "33.00")]);

    // Two of March are voided. Four at 1.00 are 1.00 more than six at 0.50, on an adjustment.
    done(till.run("receipts void acme r-0 r-1 --because test"));
    let third = till.finalize("acme", "--adjustment", "1.19");
    assert_eq!(till.lines(&third), json!([["2026-03-01", "charge:1", "-2", "1.00"]]));

    // A favour changes nothing that is billed; then the invoice is sent, and cancelled for the rest.
    done(till.run(&format!("credit-notes create {second} --line 2=10.00 --because delay")));
    refused(
        &till.run(&format!("credit-notes create {second} --line 2=20.01 --because more")),
        5,
        "line 2 of 30.00 EUR: 10.00 EUR is credited, so 20.01 EUR more is not possible",
    );
    done(till.run(&format!("invoices sent {second}")));
    refused(&till.run(&format!("invoices void {second} --because wrong")), 5, "was delivered");
    let said = done(till.run(&format!("invoices cancel {second} --because wrong")));
    assert!(said.contains("is cancelled by CN-2026-000002 of 26.18"), "{said}");
    refused(
        &till.run(&format!("invoices cancel {second} --because again")),
        5,
        "cancelled already",
    );
    assert_eq!(till.billed().await, [row("2026-03-01", 2, "35.00"), row("2026-04-01", 0, "0.00")]);

    // April is open again, and its new invoice says what March owes once more: 34.00 in all.
    let fourth = till.finalize("acme", APRIL, "38.08");
    assert_eq!(
        till.lines(&fourth),
        json!([
            ["2026-03-01", "charge:1", "2", "-1.00"],
            ["2026-04-01", "fixed_fee", "1", "30.00"],
            ["2026-04-01", "charge:1", "3", "3.00"],
        ])
    );
    assert_eq!(till.billed().await, [row("2026-03-01", 4, "34.00"), row("2026-04-01", 3, "33.00")]);
    assert_eq!(till.run(&format!("invoices show {first} --raw")).stdout, frozen);

    done(till.run(&format!("invoices pay {fourth} --amount 30.00 --on 2026-05-20 --reference B1")));
    done(till.run(&format!("invoices pay {fourth} --amount 30 --on 2026-05-20 --reference B1")));
    let listed = till.json("invoices list --brand acme");
    let states: Value = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["number"], row["kind"], row["state"], row["due"], row["payment"]]))
        .collect();
    assert_eq!(
        states,
        json!([
            ["INV-2026-000004", "invoice", "finalized", "8.08", "partly_paid"],
            ["INV-2026-000003", "adjustment", "finalized", "1.19", "unpaid"],
            ["INV-2026-000002", "invoice", "cancelled", "0.00", "paid"],
            ["INV-2026-000001", "invoice", "finalized", "40.46", "unpaid"],
        ])
    );
    assert!(till.json("periods list")[0]["state"] == "invoiced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voided_invoice_opens_its_period_and_negative_nets_are_credit_notes() {
    let till = Till::with(&[("acme", "2026-03-01"), ("acme", "2026-04-02")]).await;
    let first = till.finalize("acme", MARCH, "36.89");
    done(till.run(&format!("invoices void {first} --because wrong")));
    refused(&till.run(&format!("invoices void {first} --because again")), 5, "voided or cancelled");
    refused(&till.run(&format!("invoices sent {first}")), 5, "is voided");
    let again = till.finalize("acme", MARCH, "36.89");
    assert_eq!(again, "INV-2026-000002");
    till.finalize("acme", APRIL, "36.89");

    done(till.run("receipts void acme r-1 --because test"));
    let note = till.finalize("acme", "--adjustment", "1.19");
    assert_eq!(note, "CN-2026-000001");
    assert_eq!(till.lines(&note), json!([["2026-04-01", "charge:1", "1", "1.00"]]));
    assert_eq!(till.billed().await, [row("2026-03-01", 1, "31.00"), row("2026-04-01", 0, "30.00")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_speaks_against_an_invoice_is_listed_and_kept_when_it_is_answered_for() {
    let till = Till::with(&[("acme", "2026-03-01"), ("bolt", "2026-03-01")]).await;
    // A conflict of acme; and a hold on bolt.
    let other = receipt("r-0", "acme").replace("CERT_VALID", "DUE_DILIGENCE_VALID");
    till.world.publish_raw("proofs.verified", [other]).await;
    till.count("unpriced", &[]).await;
    done(till.run("holds set bolt --because dispute"));
    let reasons =
        |brand: &str| till.json(&format!("periods list --brand {brand}"))[0]["reasons"].clone();
    assert_eq!((reasons("acme"), reasons("bolt")), ("conflicts".into(), "hold".into()));
    let run = till.run("invoices finalize --all --unapproved --period 2026-03");
    refused(&run, 5, "0 issued, 2 refused");
    let over = "periods override acme --period 2026-03 --because known";
    let early = "nothing of gap speaks against";
    refused(&till.run(&format!("{over} --reason gap")), 5, early);
    refused(&till.run(&format!("{over} --reason hold")), 5, "hold cannot be overridden");
    refused(&till.run(&format!("{over} --reason other")), 5, "there is no reason other");
    let cases = till.json("periods show acme --period 2026-03")[0]["cases"].clone();
    let cases = cases.as_str().unwrap();
    let others = format!("{over} --reason conflicts --cases {}", "0".repeat(64));
    refused(&till.run(&others), 5, &format!("other cases now than were seen, named {cases}"));
    done(till.run(&format!("{over} --reason conflicts --cases {cases}")));
    // One brand's trouble does not stop the other.
    let run = till.run("invoices finalize --all --unapproved --period 2026-03");
    refused(&run, 5, "1 issued, 1 refused");
    let shown = till.json("invoices show INV-2026-000001");
    assert_eq!(shown["document"]["overrides"][0]["reason"], "conflicts");
    assert_eq!(shown["document"]["overrides"][0]["because"], "known");
    done(till.run("holds clear 1 --because settled"));
    assert_eq!(till.run("holds clear 1 --because settled").status.code(), Some(4));
    let run = till.run("invoices finalize --all --unapproved --period 2026-03");
    assert!(done(run).contains("1 issued, 0 refused"));
}
