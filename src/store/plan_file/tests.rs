use billing::draft::{Input, Usage, draft};
use billing::ids::Predicate;
use billing::period::{Anchor, Grid, Slot};
use billing::plan::UsageKind;
use expect_test::{Expect, expect};

use super::*;

const STANDARD: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/plans/zkdpp-standard.toml"));

/// The network's price list as it is published, not as the file has it.
const PRICES: [(&str, &str); 12] = [
    ("RECYCLED_CONTENT_GTE", "0.05"),
    ("CARBON_FOOTPRINT_LTE", "0.05"),
    ("BATTERY_CAPACITY_GTE", "0.05"),
    ("BATTERY_CHEMISTRY_IN_SET", "0.05"),
    ("ENERGY_DENSITY_RANGE", "0.05"),
    ("STATE_OF_HEALTH_GTE", "0.05"),
    ("RECYCLING_EFFICIENCY_GTE", "0.05"),
    ("CERT_VALID", "0.03"),
    ("DUE_DILIGENCE_VALID", "0.03"),
    ("SUBSTANCE_NOT_IN_LIST", "0.08"),
    ("COBALT_ORIGIN_NOT_IN", "0.08"),
    ("CARBON_FOOTPRINT_LIFECYCLE", "0.10"),
];

#[test]
fn the_standard_plan_is_the_networks_price_list() {
    let plan = parse(STANDARD).unwrap();
    let terms = plan.terms();
    assert_eq!((terms.currency, terms.cadence), (Currency::EUR, Cadence::Monthly));
    assert_eq!(terms.charges.len(), PRICES.len());
    for (name, price) in PRICES {
        for result in [true, false] {
            let kind = |version| UsageKind {
                predicate: Predicate::new(name, version).unwrap(),
                result,
                has_product: false,
                has_supplier: false,
            };
            let number = plan.charge_for(&kind("V1")).unwrap();
            let (_, charge) = plan.numbered_charges().find(|(found, _)| *found == number).unwrap();
            let unit_price = Decimal::from_str_exact(price).unwrap();
            assert_eq!(charge.model, Model::PerUnit { unit_price }, "{name}");
            assert_eq!(plan.charge_for(&kind("V2")), None);
        }
    }
}

/// The plan that `docs/billing.md` shows, priced for its October.
#[test]
fn the_plan_of_the_worked_example_gives_its_numbers() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/billing.md"));
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let plan = parse(text).unwrap();

    let october = "2026-10-01".parse().unwrap();
    let grid = Grid { cadence: plan.terms().cadence, anchor: Anchor::Calendar };
    let slot = Slot::whole(grid.whole_period(october).unwrap());
    let usage = [
        ("CERT_VALID@V1", 1277),
        ("RECYCLED_CONTENT_GTE@V1", 2345),
        ("CARBON_FOOTPRINT_LIFECYCLE@V1", 61),
    ]
    .map(|(predicate, receipts)| {
        let predicate = Predicate::parse(predicate).unwrap();
        let kind = UsageKind { predicate, result: true, has_product: true, has_supplier: true };
        Usage { kind, receipts }
    });
    let input = Input { plan: &plan, slot, usage: &usage, distinct: &[], tax: None };
    let net_total = draft(&input).unwrap().net_total;
    assert_eq!(net_total.to_string(), "239.96 EUR");
    assert!(page.contains("| **Net total** | | **239.96** |"));
}

const EVERYTHING: &str = r#"
name = "everything"
currency = "JPY"
cadence = "semi_annual"
fixed_fee = "9900"
minimum = "10000"
maximum = "2000000"

[[charge]]
name = "Products"
predicate = "CARBON_*@*"
result = "true"
meter = "distinct_products"
free_units = 10
model = "volume"
tiers = [{ up_to = 1000, unit_price = "5.5", flat_fee = "500" }, { unit_price = "4.0000000001" }]

[[charge]]
name = "Suppliers"
predicate = "*@V1"
meter = "distinct_suppliers"
model = "package"
package_size = 100
package_price = "250"

[[charge]]
name = "The rest"
predicate = "*@*"
model = "graduated"
tiers = [{ unit_price = "1" }]

[[discount]]
name = "Partner"
percent = "12.5"

[[discount]]
name = "Launch"
amount = "500"
"#;

#[test]
#[expect(clippy::too_many_lines, reason = "one plan with every key, and what it is read as")]
fn every_key_is_read() {
    let plan = parse(EVERYTHING).unwrap();
    expect![[r#"
        Terms {
            name: "everything",
            currency: JPY,
            cadence: SemiAnnual,
            fixed_fee: Some(
                9900,
            ),
            charges: [
                Charge {
                    name: "Products",
                    selector: Selector {
                        name: Pattern {
                            text: "CARBON_",
                            open: true,
                        },
                        version: Pattern {
                            text: "",
                            open: true,
                        },
                        results: True,
                    },
                    meter: DistinctProducts,
                    free_units: 10,
                    model: Volume(
                        [
                            Tier {
                                up_to: Some(
                                    1000,
                                ),
                                unit_price: 5.5,
                                flat_fee: 500,
                            },
                            Tier {
                                up_to: None,
                                unit_price: 4.0000000001,
                                flat_fee: 0,
                            },
                        ],
                    ),
                },
                Charge {
                    name: "Suppliers",
                    selector: Selector {
                        name: Pattern {
                            text: "",
                            open: true,
                        },
                        version: Pattern {
                            text: "V1",
                            open: false,
                        },
                        results: Any,
                    },
                    meter: DistinctSuppliers,
                    free_units: 0,
                    model: Package {
                        size: 100,
                        price: 250,
                    },
                },
                Charge {
                    name: "The rest",
                    selector: Selector {
                        name: Pattern {
                            text: "",
                            open: true,
                        },
                        version: Pattern {
                            text: "",
                            open: true,
                        },
                        results: Any,
                    },
                    meter: Receipts,
                    free_units: 0,
                    model: Graduated(
                        [
                            Tier {
                                up_to: None,
                                unit_price: 1,
                                flat_fee: 0,
                            },
                        ],
                    ),
                },
            ],
            discounts: [
                Discount {
                    name: "Partner",
                    reduction: Percent(
                        12.5,
                    ),
                },
                Discount {
                    name: "Launch",
                    reduction: Absolute(
                        500,
                    ),
                },
            ],
            minimum: Some(
                10000,
            ),
            maximum: Some(
                2000000,
            ),
        }"#]]
    .assert_eq(&format!("{:#?}", plan.terms()));
}

/// The standard head and one charge with `keys`.
fn with_charge(keys: &str) -> String {
    format!(
        "name = \"p\"\ncurrency = \"EUR\"\ncadence = \"monthly\"\n[[charge]]\nname = \"C\"\n\
         predicate = \"A@V1\"\n{keys}\n"
    )
}

#[expect(clippy::needless_pass_by_value, reason = "a case reads better without borrows")]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(parse(text).unwrap_err().to_string().trim_end());
}

#[test]
fn an_amount_without_quotes_is_refused() {
    check(
        &with_charge("model = \"per_unit\"\nunit_price = 0.05"),
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 14
          |
        8 | unit_price = 0.05
          |              ^^^^
        invalid type: floating point `0.05`, expected an amount in quotes, for example "0.05""#]],
    );
    check(
        &with_charge("model = \"per_unit\"\nunit_price = 1"),
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 14
          |
        8 | unit_price = 1
          |              ^
        invalid type: integer `1`, expected an amount in quotes, for example "0.05""#]],
    );
}

#[test]
fn an_amount_is_a_plain_decimal() {
    for text in ["", "1e3", "1_000", "1,5", "+1", ".5", "5.", "--1", "1.2.3", " 1", "NaN", "1 EUR"]
    {
        let text = with_charge(&format!("model = \"per_unit\"\nunit_price = \"{text}\""));
        assert!(matches!(parse(&text), Err(Error::Toml(_))), "{text}");
    }
    // More digits than a decimal holds: refused, not rounded.
    let digits = "0.00000000000000000000000000001";
    let text = with_charge(&format!("model = \"per_unit\"\nunit_price = \"{digits}\""));
    check(
        &text,
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 14
          |
        8 | unit_price = "0.00000000000000000000000000001"
          |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        invalid value: string "0.00000000000000000000000000001", expected an amount in quotes, for example "0.05""#]],
    );
}

#[test]
fn a_number_of_units_is_whole() {
    check(
        &with_charge("model = \"per_unit\"\nfree_units = -1\nunit_price = \"0.05\""),
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 14
          |
        8 | free_units = -1
          |              ^^
        invalid value: integer `-1`, expected a whole number of units, 0 or more"#]],
    );
}

#[test]
fn an_unknown_key_is_refused() {
    check(
        &with_charge("model = \"per_unit\"\nunit_prize = \"0.05\""),
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 1
          |
        8 | unit_prize = "0.05"
          | ^^^^^^^^^^
        unknown field `unit_prize`, expected one of `name`, `predicate`, `result`, `meter`, `free_units`, `model`, `unit_price`, `tiers`, `package_size`, `package_price`"#]],
    );
    check(
        "name = \"p\"\ncadense = \"monthly\"",
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 2, column 1
          |
        2 | cadense = "monthly"
          | ^^^^^^^
        unknown field `cadense`, expected one of `name`, `currency`, `cadence`, `fixed_fee`, `minimum`, `maximum`, `charge`, `discount`"#]],
    );
    let tier = "model = \"volume\"\ntiers = [{ upto = 5, unit_price = \"1\" }]";
    check(
        &with_charge(tier),
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 12
          |
        8 | tiers = [{ upto = 5, unit_price = "1" }]
          |            ^^^^
        unknown field `upto`, expected one of `up_to`, `unit_price`, `flat_fee`"#]],
    );
}

#[test]
fn a_wrong_word_is_refused_with_its_line() {
    check(
        "name = \"p\"\ncurrency = \"XAU\"\ncadence = \"monthly\"",
        expect!["line 2: `XAU` is not an active ISO 4217 code with minor units"],
    );
    check(
        "name = \"p\"\ncurrency = \"EUR\"\ncadence = \"daily\"",
        expect!["line 3: `daily` is not one of weekly, monthly, quarterly, semi_annual, annual"],
    );
    check(
        &with_charge("model = \"flat\""),
        expect!["line 7: `flat` is not one of per_unit, graduated, volume, package"],
    );
    let per_unit = "model = \"per_unit\"\nunit_price = \"1\"\n";
    check(
        &with_charge(&format!("{per_unit}result = \"yes\"")),
        expect!["line 9: `yes` is not one of any, true, false"],
    );
    check(
        &with_charge(&format!("{per_unit}meter = \"bytes\"")),
        expect!["line 9: `bytes` is not one of receipts, distinct_products, distinct_suppliers"],
    );
    check(
        &with_charge(per_unit).replace("A@V1", "A"),
        expect![
            "line 6: `A` does not select predicates; write NAME@VERSION, for example `CERT_VALID@V1`, where either may end with a `*` that stands for anything"
        ],
    );
}

#[test]
fn the_keys_of_another_model_are_refused() {
    check(
        &with_charge("model = \"per_unit\""),
        expect!["line 7: a price by `per_unit` needs unit_price and nothing else"],
    );
    check(
        &with_charge("model = \"volume\"\nunit_price = \"1\"\ntiers = [{ unit_price = \"1\" }]"),
        expect!["line 7: a price by `volume` needs tiers and nothing else"],
    );
    check(
        &with_charge("model = \"package\"\npackage_size = 5"),
        expect![
            "line 7: a price by `package` needs package_size and package_price and nothing else"
        ],
    );
    let both = "model = \"per_unit\"\nunit_price = \"1\"\n[[discount]]\nname = \"D\"\n";
    check(&with_charge(both), expect!["line 9: a discount has either percent or amount"]);
    let both = format!("{both}percent = \"1\"\namount = \"1\"");
    check(&with_charge(&both), expect!["line 9: a discount has either percent or amount"]);
}

#[test]
fn what_cannot_be_priced_is_refused_with_its_charge() {
    check(
        &with_charge("model = \"per_unit\"\nunit_price = \"-1\""),
        expect![[
            r#"the plan cannot be priced: charge 1 "C": unit price -1 is negative; amounts are lowered by discounts"#
        ]],
    );
    let tiers = "model = \"graduated\"\ntiers = [{ up_to = 5, unit_price = \"1\" }]";
    check(
        &with_charge(tiers),
        expect![[
            r#"the plan cannot be priced: charge 1 "C": quantities above 5 have no tier; leave out the last up_to"#
        ]],
    );
    check(
        "name = \"p\"\ncurrency = \"EUR\"\ncadence = \"monthly\"",
        expect![
            "the plan cannot be priced: charges: there are none, so all usage would be unpriced; if usage is free, write one with predicate `*@*` and unit price 0"
        ],
    );
}

#[test]
fn what_is_no_toml_is_refused() {
    check(
        "name = \"p",
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 1, column 10
          |
        1 | name = "p
          |          ^
        invalid basic string, expected `"`"#]],
    );
    let twice = with_charge("model = \"volume\"\nmodel = \"volume\"");
    check(
        &twice,
        expect![[r#"
        the plan file cannot be read: TOML parse error at line 8, column 1
          |
        8 | model = "volume"
          | ^^^^^
        duplicate key"#]],
    );
    let long = "#".repeat(FILE_BYTES_MAX + 1);
    check(&long, expect!["the plan file has 1048577 bytes, more than 1048576"]);
}
