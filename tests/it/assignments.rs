//! Assignments, waivers, profiles and previews, through the command line.

use std::process::Output;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::World;
use crate::metering::receipt;

/// A monthly plan in euros: 30.00 a month, certificates at 0.10, due diligence by product.
const BASIC: &str = r#"
name = "basic"
currency = "EUR"
cadence = "monthly"
fixed_fee = "30.00"

[[charge]]
name = "Certificates"
predicate = "CERT_VALID@V1"
model = "graduated"
tiers = [{ up_to = 4, unit_price = "0.10" }, { unit_price = "0.08" }]

[[charge]]
name = "Products"
predicate = "DUE_DILIGENCE_VALID@V1"
meter = "distinct_products"
model = "per_unit"
unit_price = "2.00"
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn done(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stderr)
}

#[track_caller]
fn data(output: Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

#[track_caller]
fn refused(output: &Output, code: i32, says: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let why = text(&output.stderr);
    assert!(why.contains(says), "{why}");
}

struct Shop {
    world: World,
    folder: TempDir,
}

impl Shop {
    /// A brand `acme` with a receipt on each of these days, and three of due diligence with two
    /// products, of which one has none, on 2026-03-20.
    async fn with_receipts(days: &[&str]) -> Self {
        let world = World::new().await;
        let certificates = days.iter().enumerate().map(|(number, day)| {
            receipt(&format!("r-{number}"), "acme").replace("2026-03-01", day)
        });
        let products = [r#""p-1""#, r#""p-1""#, r#""p-2""#, "null"].into_iter().enumerate();
        let products = products.map(|(number, product)| {
            let mut event: Value =
                serde_json::from_str(&receipt(&format!("p-{number}"), "acme")).unwrap();
            event["predicateId"] = "DUE_DILIGENCE_VALID@V1".into();
            event["productRef"] = serde_json::from_str(product).unwrap();
            event.to_string().replace("2026-03-01", "2026-03-20")
        });
        world.publish_raw("proofs.verified", certificates.chain(products)).await;
        let engine = world.engine().await;
        world.wait_until_metered().await;
        engine.stop().await;
        let shop = Self { world, folder: tempfile::tempdir().unwrap() };
        shop.apply(BASIC, "2026-01-01");
        shop
    }

    fn run(&self, line: &str) -> Output {
        let arguments: Vec<&str> = line.split(' ').collect();
        self.world.prooftally(&arguments)
    }

    fn json(&self, line: &str) -> Value {
        data(self.run(&format!("{line} --output json")))
    }

    fn file(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    fn apply(&self, plan: &str, from: &str) {
        let file = self.file("plan.toml", plan);
        done(self.run(&format!("plans apply {file} --effective-from {from}")));
    }
}

/// The amounts of a preview by line.
fn amounts(preview: &Value) -> Value {
    let lines = preview["lines"].as_array().unwrap();
    lines.iter().map(|line| json!([line["key"], line["quantity"], line["amount"]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_pays_by_its_assignment() {
    let days = ["2026-03-10", "2026-03-11", "2026-03-12", "2026-03-20", "2026-03-31", "2026-04-02"];
    let shop = Shop::with_receipts(&days).await;
    let preview = "invoices preview --brand acme --period 2026-03";
    refused(&shop.run(preview), 4, "acme has no plan: give it one with `prooftally assignments");

    let create = "assignments create --brand acme --plan basic --from";
    refused(&shop.run(&format!("{create} 2026-03-09")), 5, "before 2026-03-10, the first day with");
    refused(
        &shop.run("assignments create --brand acme --plan gold --from 2026-03-10"),
        5,
        "plan gold was never applied",
    );
    refused(
        &shop.run("assignments create --brand nobody --plan basic --from 2026-03-10"),
        4,
        "there is no brand nobody",
    );
    done(shop.run(&format!("{create} 2026-03-11")));
    refused(&shop.run(&format!("{create} 2026-03-11")), 5, "assignment 1 begins on 2026-03-11");

    // From the 11th: 21 of 31 days of 30.00, four certificates, two products of three receipts; a
    // receipt without a product has no price.
    let found = shop.json("invoices preview --brand acme --period 2026-03-15");
    assert_eq!(
        amounts(&found),
        json!([["fixed_fee", "1", "20.32"], ["charge:1", "4", "0.40"], ["charge:2", "2", "4.00"]])
    );
    assert_eq!(found["period"]["first_day"], "2026-03-11");
    assert_eq!((&found["period"]["days"], &found["period"]["of_days"]), (&21.into(), &31.into()));
    assert_eq!((&found["net_total"], &found["total"]), (&"24.72".into(), &Value::Null));
    assert_eq!(
        found["unpriced"],
        json!([{"predicate": "DUE_DILIGENCE_VALID@V1", "result": true, "receipts": "1"}])
    );
    assert_eq!(found["reads_ledger"], true);
    refused(&shop.run("invoices preview --brand acme --period 2026-03-10"), 4, "no assignment on");

    done(shop.run("brands tax set acme --from 2026-01-01 --category S --rate 19"));
    let found = shop.json("invoices preview --brand acme --period 2026-03-15");
    assert_eq!((&found["tax_total"], &found["total"]), (&"4.70".into(), &"29.42".into()));
    let csv = shop.run("invoices preview --brand acme --period 2026-03-15 --output csv");
    let row = "acme,2026-03-11,2026-03-31,basic,1,tax:S,tax S,,19 % of 24.72 EUR,,4.70,EUR\r\n";
    assert!(text(&csv.stdout).contains(row), "{csv:?}");

    // The first day is back-dated by a second assignment before the first.
    done(shop.run(&format!("{create} 2026-03-10 --until 2026-03-11 --because contract")));
    let found = shop.json("invoices preview --brand acme --period 2026-03-10");
    assert_eq!((&found["period"]["days"], &found["period"]["of_days"]), (&1.into(), &31.into()));
    // 9.68 is due up to the tenth day, and 8.71 before it.
    assert_eq!(amounts(&found)[0], json!(["fixed_fee", "1", "0.97"]));
    // What comes after it is as it was, and the two stubs pay 30.00 in all but for the first nine days.
    let found = shop.json("invoices preview --brand acme --period 2026-03-15");
    assert_eq!(found["period"]["first_day"], "2026-03-11");
    assert_eq!(amounts(&found)[0], json!(["fixed_fee", "1", "20.32"]));
    let all = shop.json("invoices preview --all --month 2026-03");
    assert_eq!((&all[2]["brand"], &all[2]["currency"]), (&"all brands".into(), &"EUR".into()));
    let net = |row: &Value| -> Decimal { row["net_total"].as_str().unwrap().parse().unwrap() };
    assert_eq!(net(&all[2]), net(&all[0]) + net(&all[1]));
    let named = shop.run("invoices preview --brand acme --plan basic --period 2026-03-15");
    let said = text(&named.stderr);
    assert!(
        said.contains("the assignment of acme has the period 2026-03-11 to 2026-03-31"),
        "{said}"
    );
    let wrong = shop
        .run("assignments waive --brand acme --from=-9999-01-01 --until 2026-03-01 --because x");
    refused(&wrong, 2, "write a day as YYYY-MM-DD");
    let list = shop.json("assignments list --brand acme");
    let column = |name: &str| -> Value {
        list.as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    };
    assert_eq!(column("assignment"), json!([2, 1]));
    assert_eq!(column("because"), json!(["contract", null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_or_splits_and_the_history_stays() {
    let days = ["2026-03-10", "2026-03-20", "2026-04-05"];
    let shop = Shop::with_receipts(&days).await;
    shop.apply(&BASIC.replace("basic", "pro").replace("30.00", "60.00"), "2026-01-01");
    done(shop.run("assignments create --brand acme --plan basic --from 2026-03-10"));
    let fee = |day: &str| {
        let found = shop.json(&format!("invoices preview --brand acme --period {day}"));
        (found["plan"].clone(), found["lines"][0]["amount"].clone())
    };
    let said = done(
        shop.run("assignments create --brand acme --plan pro --from 2026-04-10 --because more"),
    );
    assert!(said.contains("assignment 1 ends there"), "{said}");
    assert_eq!(fee("2026-04-20"), ("basic".into(), "30.00".into()), "it waits");
    assert_eq!(fee("2026-05-01"), ("pro".into(), "60.00".into()));

    assert!(said.contains("the first day that it prices is 2026-05-01"), "{said}");

    // It is withdrawn, so the one before it goes on; and made again with a split.
    let said = done(shop.run("assignments end --brand acme --on 2026-04-10 --because wrong"));
    assert!(said.contains("assignment 1, of plan basic, goes on from 2026-04-10"), "{said}");
    assert_eq!(fee("2026-05-01"), ("basic".into(), "30.00".into()));
    done(shop.run("assignments create --brand acme --plan pro --from 2026-04-10 --split"));
    assert_eq!(fee("2026-04-09"), ("basic".into(), "9.00".into()));
    assert_eq!(fee("2026-04-10"), ("pro".into(), "42.00".into()));

    let history = shop.json("assignments history --brand acme");
    let acts: Value = history
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["act"], row["assignment"], row["until"], row["because"]]))
        .collect();
    assert_eq!(
        acts,
        json!([
            ["created", 1, null, null],
            ["created", 2, null, "more"],
            ["replaced", 1, "2026-04-10", null],
            ["withdrawn", 2, "2026-04-10", "wrong"],
            ["restored", 1, null, "wrong"],
            ["created", 3, null, null],
            ["replaced", 1, "2026-04-10", null],
        ])
    );
    for table in ["assignment", "assignment_end"] {
        let change = sqlx::query(sqlx::AssertSqlSafe(format!("delete from {table}")))
            .execute(shop.world.pool())
            .await;
        assert!(change.unwrap_err().to_string().contains("never changed or removed"));
    }
}

/// An assignment that waits for longer than it holds, and days before an assignment that stay by
/// themselves.
#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_prices_the_days_that_it_is_shown_with() {
    let shop = Shop::with_receipts(&["2026-03-10", "2026-03-20", "2026-04-05"]).await;
    shop.apply(&BASIC.replace("basic", "pro").replace("30.00", "60.00"), "2026-01-01");
    done(shop.run("assignments create --brand acme --plan basic --from 2026-03-20"));
    let short = "assignments create --brand acme --plan pro --from 2026-04-03 --until 2026-04-20";
    refused(&shop.run(short), 5, "it would price no day: it waits");
    let said = done(shop.run(&format!("{short} --split")));
    assert!(said.contains("from 2026-04-20 on acme has no plan"), "{said}");
    assert!(!said.contains("it waits"), "{said}");
    // The first days get a plan of their own; nothing that comes after them changes.
    let before = "assignments create --brand acme --plan pro --from 2026-03-10 --until 2026-03-20";
    done(shop.run(before));
    let list = || -> Value {
        let rows = shop.json("assignments list --brand acme");
        let row = |row: &Value| {
            json!([row["assignment"], row["plan"], row["first_priced_day"], row["last_priced_day"]])
        };
        rows.as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(
        list(),
        json!([
            [3, "pro", "2026-03-10", "2026-03-19"],
            [1, "basic", "2026-03-20", "2026-04-02"],
            [2, "pro", "2026-04-03", "2026-04-19"],
        ])
    );
    let said =
        done(shop.run("assignments end --brand acme --assignment 2 --on 2026-04-03 --because no"));
    let goes_on = "assignment 1, of plan basic, goes on from 2026-04-03 until 2026-04-20";
    assert!(said.contains(goes_on) && !said.contains("no plan"), "{said}");
    assert_eq!(list()[1], json!([1, "basic", "2026-03-20", "2026-04-19"]));
    assert_eq!(list()[2], json!([2, "pro", null, null]));
    // What took over from nobody gives its days to nobody.
    let said =
        done(shop.run("assignments end --brand acme --assignment 3 --on 2026-03-10 --because no"));
    assert!(said.contains("from 2026-03-10 on acme has no plan"), "{said}");
}

/// An end says what it does to others, and one that is withdrawn from the middle leaves no hole, however
/// many are.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_before_a_withdrawn_assignment_goes_on_to_the_next() {
    let shop = Shop::with_receipts(&["2026-03-10", "2026-03-20", "2026-04-05"]).await;
    shop.apply(&BASIC.replace("basic", "pro").replace("30.00", "60.00"), "2026-01-01");
    for from in ["2026-03-10", "2026-04-03", "2026-05-05"] {
        done(shop.run(&format!("assignments create --brand acme --plan basic --from {from}")));
    }
    let end = |no: i64, on: &str| {
        shop.run(&format!("assignments end --brand acme --assignment {no} --on {on} --because no"))
    };
    let said = done(end(2, "2026-04-03"));
    assert!(said.contains("goes on from 2026-04-03 until 2026-05-05"), "{said}");
    // Its end is that of the one that was withdrawn, and so is what it ends for.
    let said = done(end(3, "2026-05-05"));
    assert!(said.contains("assignment 1, of plan basic, goes on from 2026-05-05"), "{said}");
    assert!(!said.contains("no plan"), "{said}");

    // The first is withdrawn, and the second begins on its day; what is put before it would make it wait.
    done(shop.run("assignments create --brand acme --plan pro --from 2026-04-03"));
    let said = done(end(1, "2026-03-10"));
    assert!(said.contains("assignment 4 prices the days from 2026-04-03 on now"), "{said}");
    let early = "assignments create --brand acme --plan basic --from 2026-03-10 --until 2026-04-03";
    refused(&shop.run(early), 5, "assignment 4 follows on 2026-04-03 and would wait");
    done(end(4, "2026-04-03"));
    done(shop.run("assignments create --brand acme --plan pro --from 2026-04-03"));
    done(shop.run(early));
    // One that ends while it waits never prices a day, and the one that runs does until then.
    done(shop.run("assignments create --brand acme --plan basic --from 2026-04-10"));
    let said = done(end(7, "2026-04-20"));
    assert!(said.contains("assignment 7 prices no day now"), "{said}");
    assert!(
        said.contains("assignment 5 prices the days from 2026-04-03 until 2026-04-20 now"),
        "{said}"
    );
    assert!(said.contains("from 2026-04-20 on acme has no plan"), "{said}");
    let rows = shop.json("assignments list --brand acme");
    let days = |row: &Value| json!([row["first_priced_day"], row["last_priced_day"]]);
    let priced: Value = rows.as_array().unwrap().iter().map(days).collect();
    assert_eq!(
        priced,
        json!([
            [null, null],
            ["2026-03-10", "2026-04-02"],
            [null, null],
            [null, null],
            ["2026-04-03", "2026-04-19"],
            [null, null],
            [null, null],
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unassigned_usage_is_closed_by_an_assignment_or_a_waiver() {
    let days = ["2026-03-10", "2026-03-11", "2026-03-13", "2026-03-25"];
    let shop = Shop::with_receipts(&days).await;
    let rows = |line: &str| shop.json(line);
    assert_eq!(
        rows("assignments unassigned"),
        json!([{"brand": "acme", "first_day": "2026-03-10", "last_day": "2026-03-25", "receipts": 8}])
    );
    done(
        shop.run(
            "assignments create --brand acme --plan basic --from 2026-03-12 --until 2026-03-21",
        ),
    );
    assert_eq!(
        rows("assignments unassigned --brand acme"),
        json!([
            {"brand": "acme", "first_day": "2026-03-10", "last_day": "2026-03-11", "receipts": 2},
            {"brand": "acme", "first_day": "2026-03-25", "last_day": "2026-03-25", "receipts": 1},
        ])
    );
    let waive =
        |days: &str| shop.run(&format!("assignments waive --brand acme {days} --because trial"));
    refused(&waive("--from 2026-03-10 --until 2026-03-13"), 5, "assignment 1 holds on 2026-03-12");
    done(waive("--from 2026-03-10 --until 2026-03-12"));
    refused(&waive("--from 2026-03-11 --until 2026-03-12"), 5, "waiver 1 has the days");
    refused(
        &shop.run("assignments create --brand acme --plan basic --from 2026-03-10"),
        5,
        "waiver 1 has the days",
    );
    assert_eq!(
        rows("assignments coverage"),
        json!([{"brand": "acme", "counted": 8, "assigned": 5, "waived": 2, "unassigned": 1}])
    );
    done(waive("--withdraw 1"));
    assert_eq!(waive("--withdraw 1").status.code(), Some(4));
    done(shop.run("assignments create --brand acme --plan basic --from 2026-03-21"));
    done(
        shop.run(
            "assignments create --brand acme --plan basic --from 2026-03-10 --until 2026-03-12",
        ),
    );
    assert_eq!(rows("assignments unassigned"), json!([]));
    assert_eq!(rows("assignments waivers")[0]["withdrawn_because"], "trial");
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_project_cut_and_compare() {
    let days = ["2026-03-10", "2026-03-11", "2026-03-12", "2026-03-25"];
    let shop = Shop::with_receipts(&days).await;
    done(shop.run("assignments create --brand acme --plan basic --from 2026-03-10"));
    let at = |more: &str| shop.json(&format!("invoices preview --brand acme {more}"));
    let cut = at("--at 2026-03-11");
    assert_eq!((&cut["receipts"], &cut["usage_until"]), (&"2".into(), &"2026-03-11".into()));
    assert_eq!(cut["lines"][1]["amount"], "0.20");
    // 2 receipts in 2 of 22 days: 22 in all, of which 4 cost 0.10 and 18 cost 0.08.
    let projected = at("--at 2026-03-11 --projected");
    assert_eq!((&projected["receipts"], &projected["projected"]), (&"22".into(), &true.into()));
    assert_eq!(projected["lines"][1]["amount"], "1.84");
    assert_eq!(
        projected["lines"][1]["steps"],
        json!([
            {"tier": 1, "first": "1", "up_to": "4", "units": "4", "unit_price": "0.10",
             "flat_fee": "0", "amount": "0.40"},
            {"tier": 2, "first": "5", "up_to": null, "units": "18", "unit_price": "0.08",
             "flat_fee": "0", "amount": "1.44"},
        ])
    );
    // Certificates alone do not need the ledger.
    assert_eq!(cut["reads_ledger"], false);

    let dearer = BASIC.replace("0.10", "0.20").replace("Products", "Goods");
    let file = shop.file("dearer.toml", &dearer);
    let diff = shop.json(&format!(
        "invoices preview --brand acme --period 2026-03-10 --diff --plan-file {file}"
    ));
    let row = |line: &str, what: &str, before: &str, after: &str, difference: &str| {
        json!({"line": line, "what": what, "before": before, "after": after,
               "difference": difference, "currency": "EUR"})
    };
    assert_eq!(
        diff,
        json!([
            row("fixed_fee", "Fixed fee", "21.29", "21.29", "0.00"),
            row("charge:1", "Certificates", "0.40", "0.80", "0.40"),
            row("charge:2", "Products -> Goods", "4.00", "4.00", "0.00"),
            {"line": "unpriced", "what": "receipts that no charge takes", "before": 1, "after": 1,
             "difference": null, "currency": null},
            row("net_total", "net total, before tax", "25.69", "26.09", "0.40"),
        ])
    );
    // What its own plan does not price is listed by its assignment, whatever the default plan prices.
    assert_eq!(
        shop.json("plans unpriced"),
        json!([{"brand": "acme", "predicate": "DUE_DILIGENCE_VALID@V1", "result": true, "receipts": 1,
                "first_day": "2026-03-20", "last_day": "2026-03-20"}])
    );
    assert_eq!(shop.json("plans unpriced --plan zkdpp-standard"), json!([]));
    // A version that is not in force yet is compared with by itself.
    shop.apply(&dearer, "2026-04-01");
    let all = shop.json("invoices preview --all --period 2026-03-10 --diff");
    assert_eq!((&all[0]["brand"], &all[0]["difference"]), (&"acme".into(), &"0.40".into()));
    let sum = json!([all[1]["brand"], all[1]["after"], all[1]["unpriced_after"]]);
    assert_eq!(sum, json!(["all brands", "26.09", 1]));
    // A month has every period that has days in it, also one that begins in its middle.
    for period in ["--period 2026-03-10", "--month 2026-03"] {
        let all = shop.json(&format!("invoices preview --all {period}"));
        assert_eq!((&all[0]["brand"], &all[0]["net_total"]), (&"acme".into(), &"25.69".into()));
        let one = shop.json(&format!("invoices preview --brand acme {period}"));
        assert_eq!(
            (&one["net_total"], &one["period"]["first_day"]),
            (&"25.69".into(), &"2026-03-10".into())
        );
    }
    let yearly = shop.file("yearly.toml", &BASIC.replace("monthly", "annual"));
    refused(
        &shop.run(&format!(
            "invoices preview --brand acme --period 2026-03-10 --diff --plan-file {yearly}"
        )),
        5,
        "only prices for the same periods and money can be compared",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_has_versions_and_says_what_is_missing() {
    let shop = Shop::with_receipts(&["2026-03-10"]).await;
    refused(&shop.run("brands profile show acme"), 4, "acme has no profile");
    refused(
        &shop.run("brands profile set acme country=UK vat_id=12"),
        5,
        "country is no country code of ISO 3166-1 (two capital letters, such as DE) (country_unknown); \
         vat_id must begin with a country code (EL for Greece, XI for Northern Ireland) (vat_prefix)",
    );
    let file = shop.file(
        "acme.toml",
        "legal_name = \"Acme GmbH\"\nstreet = \"Ring 1\"\ncity = \"Köln\"\npostcode = \"50667\"\n\
         country = \"DE\"\nelectronic_scheme = \"EM\"\nelectronic_address = \"in@acme.example\"\n\
         terms_days = 14\n",
    );
    done(shop.run(&format!("brands profile set acme -f {file}")));
    let said = done(shop.run(&format!("brands profile set acme -f {file}")));
    assert!(said.contains("nothing to change"), "{said}");
    done(shop.run("brands profile set acme city=Bonn registration_id=HRB1"));
    let shown = shop.run("brands profile show acme --output csv");
    assert!(text(&shown.stdout).contains("\r\ncity,Bonn\r\n"), "{shown:?}");
    assert_eq!(
        text(&shown.stderr),
        "missing for an invoice: buyer_reference or purchase_order\n\
         missing for an invoice: how it is taxed (`prooftally brands tax set`)\n"
    );
    let history = shop.json("brands profile history acme");
    let changes: Vec<&Value> =
        history.as_array().unwrap().iter().filter(|row| row["version"] == 2).collect();
    assert_eq!(changes.len(), 2);
    assert_eq!(
        (&changes[0]["field"], &changes[0]["before"], &changes[0]["after"]),
        (&"city".into(), &"Köln".into(), &"Bonn".into())
    );

    let tax = |rest: &str| shop.run(&format!("brands tax set acme --from 2026-01-01 {rest}"));
    refused(&tax("--category X"), 5, "there is no VAT category X");
    refused(&tax("--category AE"), 5, "needs an exemption text");
    refused(&tax("--category Z --rate 7"), 5, "category Z has a rate of 0 %, not 7");
    let long = tax(&format!("--category E --exemption {}", "x".repeat(3000)));
    refused(&long, 2, "a reason has 1 to 1000 characters, not 3000");
    done(tax("--category S --rate 16"));
    done(tax("--category S --rate 19.0"));
    let list = shop.json("brands tax list acme");
    let rows: Value = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["rate_percent"], row["holds"]]))
        .collect();
    assert_eq!(rows, json!([["16", false], ["19", true]]));
}
