use expect_test::expect;

use crate::plan::Model;
use crate::pricing::tests::{check, tiers};

#[test]
fn a_quantity_at_a_bound_is_in_the_lower_tier() {
    let model = Model::Graduated(tiers(&[
        ("100", "0.05", "0"),
        ("200", "0.04", "1"),
        ("inf", "0.03", "2"),
    ]));
    check(
        &model,
        &[0, 1, 99, 100, 101, 200, 201, 1000],
        expect![[r#"
        0 units: 0  [tier 1 (1 to 100): 0 x 0.05 = 0]
        1 units: 0.05  [tier 1 (1 to 100): 1 x 0.05 = 0.05]
        99 units: 4.95  [tier 1 (1 to 100): 99 x 0.05 = 4.95]
        100 units: 5  [tier 1 (1 to 100): 100 x 0.05 = 5.00]
        101 units: 6.04  [tier 1 (1 to 100): 100 x 0.05 = 5.00; tier 2 (101 to 200): 1 x 0.04 + 1 flat = 1.04]
        200 units: 10  [tier 1 (1 to 100): 100 x 0.05 = 5.00; tier 2 (101 to 200): 100 x 0.04 + 1 flat = 5.00]
        201 units: 12.03  [tier 1 (1 to 100): 100 x 0.05 = 5.00; tier 2 (101 to 200): 100 x 0.04 + 1 flat = 5.00; tier 3 (201 and up): 1 x 0.03 + 2 flat = 2.03]
        1000 units: 36  [tier 1 (1 to 100): 100 x 0.05 = 5.00; tier 2 (101 to 200): 100 x 0.04 + 1 flat = 5.00; tier 3 (201 and up): 800 x 0.03 + 2 flat = 26.00]
    "#]],
    );
}

#[test]
fn one_open_tier_is_a_price_per_unit() {
    check(
        &Model::Graduated(tiers(&[("inf", "0.05", "0")])),
        &[0, 7],
        expect![[r#"
        0 units: 0  [tier 1 (1 and up): 0 x 0.05 = 0]
        7 units: 0.35  [tier 1 (1 and up): 7 x 0.05 = 0.35]
    "#]],
    );
}

#[test]
fn the_greatest_quantity_ends_in_the_last_tier() {
    let model = Model::Graduated(tiers(&[("18446744073709551614", "0", "0"), ("inf", "1", "0")]));
    check(
        &model,
        &[u64::MAX],
        expect![[r#"
        18446744073709551615 units: 1  [tier 1 (1 to 18446744073709551614): 18446744073709551614 x 0 = 0; tier 2 (18446744073709551615 and up): 1 x 1 = 1]
    "#]],
    );
}

/// <https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing>, "Graduated pricing": 7,
/// 35, 41.5, 127.5 and 157.5 USD.
#[test]
fn as_stripe_publishes_it() {
    let model = Model::Graduated(tiers(&[("5", "7", "0"), ("10", "6.5", "0"), ("inf", "6", "0")]));
    check(
        &model,
        &[1, 5, 6, 20, 25],
        expect![[r#"
        1 units: 7  [tier 1 (1 to 5): 1 x 7 = 7]
        5 units: 35  [tier 1 (1 to 5): 5 x 7 = 35]
        6 units: 41.5  [tier 1 (1 to 5): 5 x 7 = 35; tier 2 (6 to 10): 1 x 6.5 = 6.5]
        20 units: 127.5  [tier 1 (1 to 5): 5 x 7 = 35; tier 2 (6 to 10): 5 x 6.5 = 32.5; tier 3 (11 and up): 10 x 6 = 60]
        25 units: 157.5  [tier 1 (1 to 5): 5 x 7 = 35; tier 2 (6 to 10): 5 x 6.5 = 32.5; tier 3 (11 and up): 15 x 6 = 90]
    "#]],
    );
}

/// The same page, "Graduated pricing flat rate example": 12 cost 111 USD; "if `quantity` is `0`,
/// the total amount is 10 USD".
#[test]
fn with_flat_fees_as_stripe_publishes_it() {
    let model = Model::Graduated(tiers(&[
        ("5", "5", "10"),
        ("10", "4", "20"),
        ("15", "3", "30"),
        ("20", "2", "40"),
        ("inf", "1", "50"),
    ]));
    check(
        &model,
        &[0, 12],
        expect![[r#"
        0 units: 10  [tier 1 (1 to 5): 0 x 5 + 10 flat = 10]
        12 units: 111  [tier 1 (1 to 5): 5 x 5 + 10 flat = 35; tier 2 (6 to 10): 5 x 4 + 20 flat = 40; tier 3 (11 to 15): 2 x 3 + 30 flat = 36]
    "#]],
    );
}

/// <https://getlago.com/docs/guide/plans/charges/charge-models/graduated>: 1 a unit for the first
/// 100, 0.50 for the next 100, 0.10 for any more. The page gives prices and no totals; these follow
/// from them.
#[test]
fn as_lago_publishes_it() {
    let model =
        Model::Graduated(tiers(&[("100", "1", "0"), ("200", "0.50", "0"), ("inf", "0.10", "0")]));
    check(
        &model,
        &[100, 200, 250],
        expect![[r#"
        100 units: 100  [tier 1 (1 to 100): 100 x 1 = 100]
        200 units: 150  [tier 1 (1 to 100): 100 x 1 = 100; tier 2 (101 to 200): 100 x 0.50 = 50.00]
        250 units: 155  [tier 1 (1 to 100): 100 x 1 = 100; tier 2 (101 to 200): 100 x 0.50 = 50.00; tier 3 (201 and up): 50 x 0.10 = 5.00]
    "#]],
    );
}

/// `app/metering-and-billing/pricing-models.md` of github.com/Kong/developer.konghq.com
/// (OpenMeter's models), "Graduated pricing": 6,000 units cost 1,200.
#[test]
fn as_openmeter_publishes_it() {
    let model =
        Model::Graduated(tiers(&[("1000", "0.3", "0"), ("5000", "0.2", "0"), ("inf", "0.1", "0")]));
    check(
        &model,
        &[6000],
        expect![[r#"
        6000 units: 1200  [tier 1 (1 to 1000): 1000 x 0.3 = 300.0; tier 2 (1001 to 5000): 4000 x 0.2 = 800.0; tier 3 (5001 and up): 1000 x 0.1 = 100.0]
    "#]],
    );
}

/// The same page, "Flat prices in tiers": 2,000 units cost 600 in both plans; nothing costs 500 in
/// the first and 0 in the second.
#[test]
fn with_flat_fees_as_openmeter_publishes_it() {
    let overage = Model::Graduated(tiers(&[("1000", "0", "500"), ("inf", "0.1", "0")]));
    check(
        &overage,
        &[0, 2000],
        expect![[r#"
        0 units: 500  [tier 1 (1 to 1000): 0 x 0 + 500 flat = 500]
        2000 units: 600  [tier 1 (1 to 1000): 1000 x 0 + 500 flat = 500; tier 2 (1001 and up): 1000 x 0.1 = 100.0]
    "#]],
    );
    let nothing_for_nothing =
        Model::Graduated(tiers(&[("1", "500", "0"), ("1000", "0", "0"), ("inf", "0.1", "0")]));
    check(
        &nothing_for_nothing,
        &[0, 2000],
        expect![[r#"
        0 units: 0  [tier 1 (1 to 1): 0 x 500 = 0]
        2000 units: 600  [tier 1 (1 to 1): 1 x 500 = 500; tier 2 (2 to 1000): 999 x 0 = 0; tier 3 (1001 and up): 1000 x 0.1 = 100.0]
    "#]],
    );
}

/// `openmeter/billing/rating/service/rate/tieredgraduated_test.go` of
/// github.com/openmeterio/openmeter, "single period multiple tier usage": 22 units cost 100 + 50 +
/// 25 + 7.
#[test]
fn as_openmeter_tests_it() {
    let model = Model::Graduated(tiers(&[
        ("5", "0", "100"),
        ("10", "0", "50"),
        ("15", "5", "0"),
        ("inf", "1", "0"),
    ]));
    check(
        &model,
        &[22],
        expect![[r#"
        22 units: 182  [tier 1 (1 to 5): 5 x 0 + 100 flat = 100; tier 2 (6 to 10): 5 x 0 + 50 flat = 50; tier 3 (11 to 15): 5 x 5 = 25; tier 4 (16 and up): 7 x 1 = 7]
    "#]],
    );
}
