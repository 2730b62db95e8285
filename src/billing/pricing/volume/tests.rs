use expect_test::expect;

use crate::plan::Model;
use crate::pricing::tests::{check, tiers};

#[test]
fn a_quantity_at_a_bound_is_in_the_lower_tier() {
    let model =
        Model::Volume(tiers(&[("100", "0.05", "0"), ("200", "0.04", "1"), ("inf", "0.03", "2")]));
    check(
        &model,
        &[0, 1, 99, 100, 101, 200, 201, 1000],
        expect![[r#"
        0 units: 0  [tier 1 (1 to 100): 0 x 0.05 = 0]
        1 units: 0.05  [tier 1 (1 to 100): 1 x 0.05 = 0.05]
        99 units: 4.95  [tier 1 (1 to 100): 99 x 0.05 = 4.95]
        100 units: 5  [tier 1 (1 to 100): 100 x 0.05 = 5.00]
        101 units: 5.04  [tier 2 (101 to 200): 101 x 0.04 + 1 flat = 5.04]
        200 units: 9  [tier 2 (101 to 200): 200 x 0.04 + 1 flat = 9.00]
        201 units: 8.03  [tier 3 (201 and up): 201 x 0.03 + 2 flat = 8.03]
        1000 units: 32  [tier 3 (201 and up): 1000 x 0.03 + 2 flat = 32.00]
    "#]],
    );
}

/// <https://docs.stripe.com/subscriptions/pricing-models/tiered-pricing>, "Volume-based pricing":
/// 7, 35, 39, 120 and 150 USD.
#[test]
fn as_stripe_publishes_it() {
    let model = Model::Volume(tiers(&[("5", "7", "0"), ("10", "6.5", "0"), ("inf", "6", "0")]));
    check(
        &model,
        &[1, 5, 6, 20, 25],
        expect![[r#"
        1 units: 7  [tier 1 (1 to 5): 1 x 7 = 7]
        5 units: 35  [tier 1 (1 to 5): 5 x 7 = 35]
        6 units: 39  [tier 2 (6 to 10): 6 x 6.5 = 39.0]
        20 units: 120  [tier 3 (11 and up): 20 x 6 = 120]
        25 units: 150  [tier 3 (11 and up): 25 x 6 = 150]
    "#]],
    );
}

/// The same page, "Volume-based pricing flat rate example": 12 cost 66 USD, and none cost 10 USD.
#[test]
fn with_flat_fees_as_stripe_publishes_it() {
    let model = Model::Volume(tiers(&[
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
        12 units: 66  [tier 3 (11 to 15): 12 x 3 + 30 flat = 66]
    "#]],
    );
}

/// <https://getlago.com/docs/guide/plans/charges/charge-models/volume>: 65,000 calls cost 49.
#[test]
fn as_lago_publishes_it() {
    let model = Model::Volume(tiers(&[
        ("10000", "0.0010", "10"),
        ("50000", "0.0008", "10"),
        ("100000", "0.0006", "10"),
        ("inf", "0.0004", "10"),
    ]));
    check(
        &model,
        &[65_000],
        expect![[r#"
        65000 units: 49  [tier 3 (50001 to 100000): 65000 x 0.0006 + 10 flat = 49.0000]
    "#]],
    );
}

/// `app/metering-and-billing/pricing-models.md` of github.com/Kong/developer.konghq.com
/// (OpenMeter's models), "Volume pricing": 6,000 units cost 600.
#[test]
fn as_openmeter_publishes_it() {
    let model =
        Model::Volume(tiers(&[("1000", "0.3", "0"), ("5000", "0.2", "0"), ("inf", "0.1", "0")]));
    check(
        &model,
        &[6000],
        expect![[r#"
        6000 units: 600  [tier 3 (5001 and up): 6000 x 0.1 = 600.0]
    "#]],
    );
}

/// `openmeter/billing/rating/service/rate/tieredvolume_test.go` of
/// github.com/openmeterio/openmeter: 0, 3 and 5 units cost 100; 14 cost 140, 15 cost 150, 16 cost
/// 80, 100 cost 500.
#[test]
fn as_openmeter_tests_it() {
    let model = Model::Volume(tiers(&[
        ("5", "0", "100"),
        ("10", "0", "150"),
        ("15", "10", "0"),
        ("inf", "5", "0"),
    ]));
    check(
        &model,
        &[0, 3, 5, 14, 15, 16, 100],
        expect![[r#"
        0 units: 100  [tier 1 (1 to 5): 0 x 0 + 100 flat = 100]
        3 units: 100  [tier 1 (1 to 5): 3 x 0 + 100 flat = 100]
        5 units: 100  [tier 1 (1 to 5): 5 x 0 + 100 flat = 100]
        14 units: 140  [tier 3 (11 to 15): 14 x 10 = 140]
        15 units: 150  [tier 3 (11 to 15): 15 x 10 = 150]
        16 units: 80  [tier 4 (16 and up): 16 x 5 = 80]
        100 units: 500  [tier 4 (16 and up): 100 x 5 = 500]
    "#]],
    );
}
