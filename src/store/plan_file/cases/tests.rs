use expect_test::{Expect, expect};

use super::*;
use crate::store::plan_file::verdict;

const STANDARD: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/plans/zkdpp-standard.toml"));
const STANDARD_CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/plans/zkdpp-standard.cases.toml"));

/// A plan with every step of the order of work, and a charge that counts products.
const FULL: &str = r#"
    [plan]
    name = "full"
    currency = "EUR"
    cadence = "monthly"
    fixed_fee = "99.00"
    minimum = "200.00"

    [[plan.charge]]
    name = "Products"
    predicate = "CERT_VALID@V1"
    meter = "distinct_products"
    model = "per_unit"
    unit_price = "0.30"

    [[plan.charge]]
    name = "Others"
    predicate = "CERT_VALID@V1"
    model = "graduated"
    tiers = [{ up_to = 10, unit_price = "0.05", flat_fee = "5.00" }, { unit_price = "0.045" }]

    [[plan.discount]]
    name = "Partner"
    percent = "10"
"#;

fn read(path: &str) -> Result<String, String> {
    (path == "zkdpp-standard.toml").then(|| STANDARD.to_owned()).ok_or("it is not there".to_owned())
}

fn differences(text: &str) -> Vec<String> {
    verdict::differences(&parse(text, &read).unwrap())
        .into_iter()
        .map(|found| format!("{}: {}: {} / {}", found.case, found.what, found.expected, found.got))
        .collect()
}

fn refused(text: &str, expected: Expect) {
    expected.assert_eq(&parse(text, &read).unwrap_err().to_string());
}

#[test]
fn the_cases_of_the_price_list_hold() {
    let cases = parse(STANDARD_CASES, &read).unwrap();
    assert_eq!((cases.prices.len(), cases.periods.len(), cases.usage_days.len()), (6, 4, 2));
    assert_eq!(verdict::differences(&cases), []);
}

/// The cases that `docs/billing.md` shows.
#[test]
fn the_cases_of_the_page_hold() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/billing.md"));
    let text = page.split("```toml\n").last().and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(parse(text, &read).unwrap().count(), 2);
    assert_eq!(differences(text), Vec::<String>::new());
}

/// Each amount by hand: 11 of 30 days of 99.00; 3 x 0.30; 5.00 + 10 x 0.05 + 2 x 0.045; a tenth of
/// 6.49; up to 11 of 30 days of 200.00.
#[test]
fn an_inline_plan_is_priced_in_the_order_of_work() {
    let case = r#"
        [[price]]
        case = "a stub"
        first_day = 2026-09-20
        usage = [
            { predicate = "CERT_VALID@V1", receipts = 4 },
            { predicate = "CERT_VALID@V1", product = false, result = false, receipts = 12 },
        ]
        distinct = [{ charge = 1, values = 3 }]
        tax = { category = "S", rate_percent = "19" }
        lines = [
            { key = "minimum", amount = "31.19" },
            { key = "fixed_fee", quantity = 1, amount = "36.3" },
            { key = "charge:1", quantity = 3, amount = "0.90" },
            { key = "charge:2", quantity = 12, amount = "5.59" },
            { key = "discount:1", amount = "-0.65" },
        ]
        net_total = "73.33"
        tax_total = "13.93"
        total = "87.26"
    "#;
    assert_eq!(differences(&format!("{FULL}{case}")), Vec::<String>::new());
}

#[test]
fn everything_that_differs_is_said() {
    let cases = r#"
        plan = "zkdpp-standard.toml"

        [[price]]
        case = "wrong"
        first_day = "2026-09-01"
        usage = [
            { predicate = "CERT_VALID@V1", receipts = 30 },
            { predicate = "CERT_VALID@V2", receipts = 4 },
            { predicate = "DUE_DILIGENCE_VALID@V1", receipts = 1 },
        ]
        tax = { category = "S", rate_percent = "19" }
        lines = [
            { key = "charge:4", quantity = 31, amount = "0.93" },
            { key = "charge:1", quantity = 1, amount = "0.05" },
        ]
        net_total = "0.98"
        tax_total = "0.19"
        total = "1.17"
        unpriced = 3

        [[period]]
        case = "a week begins on a Monday"
        cadence = "weekly"
        day = "2026-09-20"
        first_day = "2026-09-20"
        last_day = "2026-09-26"

        [[period]]
        case = "after the end"
        cadence = "monthly"
        assigned_from = "2026-09-20"
        assigned_until = "2026-10-15"
        day = "2026-10-15"
        first_day = "2026-10-01"
        last_day = "2026-10-14"

        [[usage_day]]
        case = "no zone is UTC by itself"
        instant = 2026-09-30T22:00:00Z
        zone = "Europe/Berlin"
        usage_day = "2026-09-30"
    "#;
    expect![[r#"
        wrong: charge:4 "Certificate" quantity: 31 / 30
        wrong: charge:4 "Certificate" amount: 0.93 / 0.90
        wrong: charge:1: 0.05 / no line
        wrong: charge:5 "Due diligence": no line / 0.03
        wrong: unpriced receipts: 3 / 4 CERT_VALID@V2
        wrong: net_total: 0.98 / 0.93
        wrong: tax_total: 0.19 / 0.18
        wrong: total: 1.17 / 1.11
        a week begins on a Monday: period of 2026-09-20: 2026-09-20 to 2026-09-26 / 2026-09-14 to 2026-09-20
        after the end: period of 2026-10-15: 2026-10-01 to 2026-10-14 / no period
        no zone is UTC by itself: usage day in Europe/Berlin: 2026-09-30 / 2026-10-01"#]].assert_eq(&differences(cases).join("\n"));
}

#[test]
fn a_count_that_is_missing_fails_its_case() {
    let case = r#"
        [[price]]
        case = "no count"
        first_day = "2026-09-01"
        usage = [{ predicate = "CERT_VALID@V1", receipts = 4 }]
        net_total = "1.20"
    "#;
    expect![[r#"no count: draft: one that can be computed / charge 1 "Products" counts distinct_products, but no count of them was given"#]].assert_eq(&differences(&format!("{FULL}{case}")).join("\n"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let head = "plan = \"zkdpp-standard.toml\"\n[[price]]\ncase = \"c\"\n";
    let with = |rest: &str| format!("{head}{rest}");
    refused(
        "",
        expect!["it has 0 cases; write 1 to 10000, each as [[price]], [[period]] or [[usage_day]]"],
    );
    refused(
        &with("first_day = \"2026-09-01\"\n"),
        expect![
            "line 3: it expects nothing, so it could never fail: write lines, net_total or total"
        ],
    );
    refused(
        &with("first_day = \"1 September\"\nnet_total = \"1\"\n"),
        expect!["line 4: `1 September` is no day: write YYYY-MM-DD"],
    );
    refused(
        &with("first_day = \"2026-09-01\"\nnet_total = 1.5\n"),
        expect![[r#"
        it is not TOML, or not of the form that cases have: TOML parse error at line 5, column 13
          |
        5 | net_total = 1.5
          |             ^^^
        invalid type: floating point `1.5`, expected an amount in quotes, for example "0.05"
    "#]],
    );
    refused(
        &with("first_day = \"2026-09-01\"\ntotal = \"1\"\n"),
        expect!["line 5: tax_total and total need tax = { category = …, rate_percent = … }"],
    );
    refused(
        &with("first_day = \"2026-09-01\"\nlast_day = \"2026-10-01\"\nnet_total = \"1\"\n"),
        expect!["line 5: the monthly period that 2026-09-01 is in ends on 2026-09-30"],
    );
    refused(
        &with("first_day = \"2026-09-02\"\nlast_day = \"2026-09-01\"\nnet_total = \"1\"\n"),
        expect!["line 5: the last day, 2026-09-01, is before 2026-09-02"],
    );
    refused(
        &with("first_day = \"2026-09-01\"\nlines = [{ key = \"charge:0\", amount = \"1\" }]\n"),
        expect![
            "line 5: `charge:0` is no line: write fixed_fee, charge:1, discount:1, minimum or maximum, with the number that the charge or discount has in its plan"
        ],
    );
    refused(
        &with(
            "first_day = \"2026-09-01\"\nusage = [{ predicate = \"X\", receipts = 1 }]\nlines = []\n",
        ),
        expect!["line 5: `X` is no predicate: write NAME@VERSION"],
    );
    refused(
        &with("first_dya = \"2026-09-01\"\n"),
        expect![[r#"
        it is not TOML, or not of the form that cases have: TOML parse error at line 4, column 1
          |
        4 | first_dya = "2026-09-01"
          | ^^^^^^^^^
        unknown field `first_dya`, expected one of `case`, `plan`, `anchor`, `first_day`, `last_day`, `usage`, `distinct`, `tax`, `lines`, `net_total`, `tax_total`, `total`, `unpriced`
    "#]],
    );
    refused(
        "[[usage_day]]\ncase = \"c\"\ninstant = \"noon\"\nzone = \"UTC\"\nusage_day = \"2026-09-01\"\n",
        expect!["line 3: `noon` is no moment: write it as 2026-09-30T22:00:00Z"],
    );
}

#[test]
fn what_stands_twice_or_for_nothing_is_refused() {
    let case = "[[price]]\ncase = \"c\"\nfirst_day = \"2026-09-01\"\nnet_total = \"1\"\n";
    let head = format!("plan = \"zkdpp-standard.toml\"\n{case}");
    refused(&format!("{head}{case}"), expect![[r#"line 7: another case is called "c" already"#]]);
    let lines =
        "lines = [\n{ key = \"minimum\", amount = \"1\" },\n{ key = \"minimum\", amount = \"1\" }]";
    refused(&format!("{head}{lines}"), expect!["line 8: the line `minimum` stands twice"]);
    for charge in ["1", "13"] {
        let distinct = format!("distinct = [{{ charge = {charge}, values = 1 }}]");
        let why = parse(&format!("{head}{distinct}"), &read).unwrap_err().to_string();
        let end = "of plan zkdpp-standard does not count products or suppliers";
        assert_eq!(why, format!("line 6: charge {charge} {end}"));
    }
}

#[test]
fn a_plan_that_cannot_be_used_is_named() {
    let case = "[[price]]\ncase = \"c\"\nfirst_day = \"2026-09-01\"\nnet_total = \"1\"\n";
    refused(
        case,
        expect![[
            r#"line 2: it has no plan: write plan = "FILE" or a plan's table, here or above the first case"#
        ]],
    );
    refused(
        &format!("plan = \"other.toml\"\n{case}"),
        expect![[r#"line 1: plan "other.toml" cannot be read: it is not there"#]],
    );
    refused(
        &format!("plan = 5\n{case}"),
        expect![[r#"
        it is not TOML, or not of the form that cases have: TOML parse error at line 1, column 8
          |
        1 | plan = 5
          |        ^
        invalid type: integer `5`, expected the path of a plan file, or a table with a plan
    "#]],
    );
    let currency = FULL.replace("EUR", "Euro");
    refused(
        &format!("{currency}\n{case}"),
        expect!["line 4: `Euro` is not an active ISO 4217 code with minor units"],
    );
    let minimum = FULL.replace("minimum = \"200.00\"", "minimum = \"200.005\"");
    refused(
        &format!("{minimum}\n{case}"),
        expect![
            "line 2: the plan cannot be priced: minimum: 200.005 is not in whole minor units; EUR has 2"
        ],
    );
}
