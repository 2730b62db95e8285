use expect_test::{Expect, expect};

use super::*;

fn decimal(text: &str) -> Decimal {
    Decimal::from_str_exact(text).unwrap()
}

fn charge(name: &str, predicate: &str, results: Results) -> Charge {
    Charge {
        name: name.to_owned(),
        selector: Selector::parse(&format!("{predicate}@V1"), results).unwrap(),
        meter: Meter::Receipts,
        free_units: 0,
        model: Model::PerUnit { unit_price: decimal("0.05") },
    }
}

fn good() -> Terms {
    Terms {
        name: "plan-1".to_owned(),
        currency: Currency::EUR,
        cadence: Cadence::Monthly,
        fixed_fee: None,
        charges: vec![charge("Certificates", "CERT_VALID", Results::Any)],
        discounts: Vec::new(),
        minimum: None,
        maximum: None,
    }
}

fn with_model(model: Model) -> Terms {
    let mut terms = good();
    terms.charges[0].model = model;
    terms
}

fn tier(up_to: Option<u64>, unit_price: &str, flat_fee: &str) -> Tier {
    Tier { up_to, unit_price: decimal(unit_price), flat_fee: decimal(flat_fee) }
}

#[expect(clippy::needless_pass_by_value, reason = "a case reads better without borrows")]
fn check(terms: Terms, expected: Expect) {
    let answer = match Plan::new(terms) {
        Ok(_) => "good".to_owned(),
        Err(Refused(faults)) => faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"),
    };
    expected.assert_eq(&answer);
}

#[test]
fn a_good_plan_is_taken() {
    check(good(), expect!["good"]);
}

#[test]
fn tiers_that_leave_a_quantity_without_a_price_are_refused() {
    check(
        with_model(Model::Graduated(vec![])),
        expect![[r#"charge 1 "Certificates": it has 0 tiers, not 1 to 100"#]],
    );
    check(
        with_model(Model::Volume(vec![tier(Some(5), "1", "0")])),
        expect![[
            r#"charge 1 "Certificates": quantities above 5 have no tier; leave out the last up_to"#
        ]],
    );
    let rows = vec![tier(Some(5), "1", "0"), tier(Some(5), "1", "0"), tier(None, "1", "0")];
    check(
        with_model(Model::Graduated(rows)),
        expect![[r#"charge 1 "Certificates", tier 2: up_to 5 is not above 5, where it begins"#]],
    );
    let rows = vec![tier(Some(9), "1", "0"), tier(Some(3), "1", "0"), tier(None, "1", "0")];
    check(
        with_model(Model::Volume(rows)),
        expect![[r#"charge 1 "Certificates", tier 2: up_to 3 is not above 9, where it begins"#]],
    );
    let rows = vec![tier(None, "1", "0"), tier(Some(3), "1", "0")];
    check(
        with_model(Model::Volume(rows)),
        expect![[
            r#"charge 1 "Certificates", tier 2: it follows an open tier; only the last has no `up_to`"#
        ]],
    );
    let rows = vec![tier(Some(0), "1", "0"), tier(None, "1", "0")];
    check(
        with_model(Model::Graduated(rows)),
        expect![[r#"charge 1 "Certificates", tier 1: up_to 0 is not above 0, where it begins"#]],
    );
    let rows = |count: u64| {
        (1..=count).map(|n| tier((n < count).then_some(n), "1", "0")).collect::<Vec<_>>()
    };
    check(with_model(Model::Graduated(rows(100))), expect!["good"]);
    check(
        with_model(Model::Graduated(rows(101))),
        expect![[r#"charge 1 "Certificates": it has 101 tiers, not 1 to 100"#]],
    );
}

#[test]
fn prices_that_cannot_be_are_refused() {
    let per_unit = |price| with_model(Model::PerUnit { unit_price: decimal(price) });
    check(
        per_unit("-0.05"),
        expect![[
            r#"charge 1 "Certificates": unit price -0.05 is negative; amounts are lowered by discounts"#
        ]],
    );
    check(
        per_unit("0.00000000001"),
        expect![[r#"charge 1 "Certificates": unit price 0.00000000001 has more than 10 decimals"#]],
    );
    check(per_unit("0.05000000000"), expect!["good"]);
    check(
        per_unit("1000000000000"),
        expect![[
            r#"charge 1 "Certificates": unit price 1000000000000 is not below 1000000000000"#
        ]],
    );
    check(
        with_model(Model::Package { size: 0, price: decimal("-1") }),
        expect![[r#"
            charge 1 "Certificates": a package has 0 units; it has at least 1
            charge 1 "Certificates": price -1 is negative; amounts are lowered by discounts"#]],
    );
    let rows = vec![tier(Some(5), "-1", "0"), tier(None, "1", "-2")];
    check(
        with_model(Model::Graduated(rows)),
        expect![[r#"
            charge 1 "Certificates", tier 1: unit price -1 is negative; amounts are lowered by discounts
            charge 1 "Certificates", tier 2: flat fee -2 is negative; amounts are lowered by discounts"#]],
    );
}

#[test]
fn amounts_are_in_whole_minor_units() {
    check(
        Terms {
            fixed_fee: Some(decimal("99.005")),
            minimum: Some(decimal("-1")),
            maximum: Some(decimal("100.500")),
            ..good()
        },
        expect![[r#"
            fixed_fee: 99.005 is not in whole minor units; EUR has 2
            minimum: amount -1 is negative; amounts are lowered by discounts"#]],
    );
    let currency = Currency::from_code("JPY").unwrap();
    check(
        Terms { currency, fixed_fee: Some(decimal("99.5")), ..good() },
        expect!["fixed_fee: 99.5 is not in whole minor units; JPY has 0"],
    );
}

#[test]
fn a_minimum_above_the_maximum_is_refused() {
    let limits = |minimum, maximum| Terms {
        minimum: Some(decimal(minimum)),
        maximum: Some(decimal(maximum)),
        ..good()
    };
    check(limits("10.01", "10.00"), expect!["minimum: 10.01 is above the maximum of 10.00"]);
    check(limits("10.00", "10.00"), expect!["good"]);
}

#[test]
fn names_and_counts_have_limits() {
    check(
        Terms { name: "a plan".to_owned(), ..good() },
        expect!["name: `a plan` is not 1 to 64 of `A-Z a-z 0-9 _ -`"],
    );
    check(
        Terms { charges: Vec::new(), ..good() },
        expect![
            "charges: there are none, so all usage would be unpriced; if usage is free, write one with predicate `*@*` and unit price 0"
        ],
    );
    let twice = vec![
        charge("Certificates", "CERT_VALID", Results::Any),
        charge("Certificates", "OTHER", Results::Any),
    ];
    check(
        Terms { charges: twice, ..good() },
        expect![[
            r#"charge 2 "Certificates": an earlier charge has this name; lines could not be told apart"#
        ]],
    );
    check(
        Terms { charges: vec![charge("a\nb", "A", Results::Any)], ..good() },
        expect![[r#"charge 1 "a\nb": its name is not 1 to 100 printable characters"#]],
    );
    let long = "ü".repeat(100);
    check(Terms { charges: vec![charge(&long, "A", Results::Any)], ..good() }, expect!["good"]);
    let many = |count: usize| {
        (0..count).map(|n| charge(&format!("C{n}"), &format!("P{n}"), Results::Any)).collect()
    };
    check(Terms { charges: many(100), ..good() }, expect!["good"]);
    check(Terms { charges: many(101), ..good() }, expect!["charges: there are 101, more than 100"]);
}

#[test]
fn discounts_come_percentages_first() {
    let discount = |name: &str, reduction| Discount { name: name.to_owned(), reduction };
    let percent = |text: &str| discount(text, Reduction::Percent(decimal(text)));
    let absolute = |text: &str| discount(text, Reduction::Absolute(decimal(text)));
    let many = |count| (1..=count).map(|n| percent(&format!("{n}"))).collect();
    check(
        Terms { discounts: vec![absolute("5.00"), percent("10")], ..good() },
        expect![[r#"discount 2 "10": it follows an absolute discount; percentages come first"#]],
    );
    check(
        Terms {
            discounts: vec![percent("0"), percent("100"), percent("100.01"), absolute("0.001")],
            ..good()
        },
        expect![[r#"
            discount 1 "0": 0 % is not above 0 and at most 100
            discount 3 "100.01": 100.01 % is not above 0 and at most 100
            discount 4 "0.001": 0.001 is not in whole minor units; EUR has 2"#]],
    );
    check(
        Terms { discounts: vec![percent("1"), percent("1")], ..good() },
        expect![[
            r#"discount 2 "1": another discount has this name; differences are told by name"#
        ]],
    );
    check(Terms { discounts: many(20), ..good() }, expect!["good"]);
    check(
        Terms { discounts: many(21), ..good() },
        expect!["discounts: there are 21, more than 20"],
    );
}

#[test]
fn a_charge_that_never_takes_usage_is_refused() {
    let plan = |charges: Vec<Charge>| Terms { charges, ..good() };
    let covered = |first: &str, first_results, second: &str, second_results| {
        plan(vec![charge("First", first, first_results), charge("Second", second, second_results)])
    };
    check(
        covered("*", Results::Any, "CERT_VALID", Results::Any),
        expect![[
            r#"charge 2 "Second": it never takes any usage; all of it goes to charge 1 "First""#
        ]],
    );
    check(
        covered("C*", Results::Any, "CERT*", Results::True),
        expect![[
            r#"charge 2 "Second": it never takes any usage; all of it goes to charge 1 "First""#
        ]],
    );
    check(covered("CERT*", Results::Any, "C*", Results::Any), expect!["good"]);
    check(covered("CERT", Results::Any, "CERT*", Results::Any), expect!["good"]);
    check(covered("*", Results::True, "CERT_VALID", Results::Any), expect!["good"]);
    check(covered("*", Results::True, "CERT_VALID", Results::False), expect!["good"]);
    check(
        plan(vec![
            charge("Held", "C*", Results::True),
            charge("Failed", "*", Results::False),
            charge("Both", "CERT_VALID", Results::Any),
        ]),
        expect![[
            r#"charge 3 "Both": it never takes any usage; all of it goes to charge 1 "Held" and charge 2 "Failed""#
        ]],
    );
    let mut other_version = charge("Second", "CERT_VALID", Results::Any);
    other_version.selector = Selector::parse("CERT_VALID@V*", Results::Any).unwrap();
    check(plan(vec![charge("First", "CERT_VALID", Results::Any), other_version]), expect!["good"]);
}

#[test]
fn a_distinct_meter_leaves_receipts_without_its_field() {
    let plan = |first, second| {
        let mut charges =
            vec![charge("First", "*", Results::Any), charge("Second", "A", Results::Any)];
        charges[0].meter = first;
        charges[1].meter = second;
        Terms { charges, ..good() }
    };
    check(plan(Meter::DistinctProducts, Meter::Receipts), expect!["good"]);
    check(plan(Meter::DistinctProducts, Meter::DistinctSuppliers), expect!["good"]);
    check(
        plan(Meter::DistinctProducts, Meter::DistinctProducts),
        expect![[
            r#"charge 2 "Second": it never takes any usage; all of it goes to charge 1 "First""#
        ]],
    );
    check(
        plan(Meter::Receipts, Meter::DistinctSuppliers),
        expect![[
            r#"charge 2 "Second": it never takes any usage; all of it goes to charge 1 "First""#
        ]],
    );

    let plan = Plan::new(plan(Meter::DistinctSuppliers, Meter::Receipts)).unwrap();
    let kind = |has_product, has_supplier| UsageKind {
        predicate: Predicate::parse("A@V1").unwrap(),
        result: true,
        has_product,
        has_supplier,
    };
    assert_eq!(plan.charge_for(&kind(false, true)), Some(1));
    assert_eq!(plan.charge_for(&kind(true, false)), Some(2));
}

#[test]
fn a_selector_names_predicates_or_their_beginning() {
    let matches = |selector: &str, predicate, result| {
        let predicate = Predicate::parse(predicate).unwrap();
        let kind = UsageKind { predicate, result, has_product: true, has_supplier: true };
        Selector::parse(selector, Results::True).unwrap().matches(&kind)
    };
    for selector in ["*@*", "A*@V*", "AB*@V1*", "AB@V1.5*", "AB@V1.5", "AB@*"] {
        assert!(matches(selector, "AB@V1.5", true), "{selector}");
        assert!(!matches(selector, "AB@V1.5", false), "{selector}");
    }
    for selector in ["A@*", "ABC*@*", "ab@*", "AB@V1", "AB@V1.50", "B*@*"] {
        assert!(!matches(selector, "AB@V1.5", true), "{selector}");
    }
}

#[test]
fn what_matches_no_predicate_is_no_selector() {
    let parse = |text: &str| Selector::parse(text, Results::Any);
    for text in
        ["", "A", "*", "@V1", "A@", "**@*", "*A@*", "A*B@*", "A B@*", "Ä@*", "A.B@*", "A@V1@V2"]
    {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse(&format!("{}@*", "A".repeat(65))).is_err());
    assert!(parse(&format!("*@{}", "1".repeat(17))).is_err());
    let longest = format!("{}*@{}*", "A".repeat(64), "1".repeat(16));
    assert_eq!(parse(&longest).unwrap().to_string(), longest);
    expect!["`A B` does not select predicates; write NAME@VERSION, for example `CERT_VALID@V1`, where either may end with a `*` that stands for anything"].assert_eq(&parse("A B").unwrap_err().to_string());
}

#[test]
fn names_are_read_as_they_are_written() {
    for meter in Meter::ALL {
        assert_eq!(Meter::from_name(meter.as_str()), Some(meter));
    }
    for results in Results::ALL {
        assert_eq!(Results::from_name(results.as_str()), Some(results));
    }
    for cadence in Cadence::ALL {
        assert_eq!(Cadence::from_name(cadence.as_str()), Some(cadence));
    }
    let (size, price) = (1, Decimal::ONE);
    let models = [
        Model::PerUnit { unit_price: price },
        Model::Graduated(Vec::new()),
        Model::Volume(Vec::new()),
        Model::Package { size, price },
    ];
    let names = models.map(|model| model.as_str());
    assert_eq!(names, ["per_unit", "graduated", "volume", "package"]);
}

#[test]
fn a_refusal_says_all_that_is_wrong() {
    let terms = Terms { name: String::new(), minimum: Some(decimal("-1")), ..good() };
    expect!["the plan cannot be priced: name: `` is not 1 to 64 of `A-Z a-z 0-9 _ -`; minimum: amount -1 is negative; amounts are lowered by discounts"].assert_eq(&Plan::new(terms).unwrap_err().to_string());
}

#[test]
fn a_label_is_what_it_looks_like() {
    let mut terms = good();
    terms.charges[0].name = "Certificates\u{202e}".to_owned();
    let reduction = Reduction::Percent(decimal("10"));
    terms.discounts.push(Discount { name: "Part\u{200b}ner".to_owned(), reduction });
    check(
        terms.clone(),
        expect![[r#"
            charge 1 "Certificates\u{202e}": its name has U+202E, which cannot be seen or turns the text around
            discount 1 "Part\u{200b}ner": its name has U+200B, which cannot be seen or turns the text around"#]],
    );
    // A version that was applied before anybody asked is priced as it was.
    assert!(Plan::stored(terms).is_ok());
    assert!(Plan::stored(Terms { name: "a b".to_owned(), ..good() }).is_err());
}
