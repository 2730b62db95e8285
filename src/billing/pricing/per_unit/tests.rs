use expect_test::expect;

use crate::plan::Model;
use crate::pricing::tests::{check, decimal};

#[test]
fn each_unit_costs_the_same() {
    let model = Model::PerUnit { unit_price: decimal("0.05") };
    check(
        &model,
        &[0, 1, 999, 1_000_000, 10_000_000_000],
        expect![[r#"
        0 units: 0  [0 x 0.05 = 0]
        1 units: 0.05  [1 x 0.05 = 0.05]
        999 units: 49.95  [999 x 0.05 = 49.95]
        1000000 units: 50000  [1000000 x 0.05 = 50000.00]
        10000000000 units: 500000000  [10000000000 x 0.05 = 500000000.00]
    "#]],
    );
}

#[test]
fn a_price_of_ten_decimals_stays_exact() {
    let model = Model::PerUnit { unit_price: decimal("0.0000000001") };
    check(
        &model,
        &[1, 3, 123_456_789, u64::MAX],
        expect![[r#"
        1 units: 0.0000000001  [1 x 0.0000000001 = 0.0000000001]
        3 units: 0.0000000003  [3 x 0.0000000001 = 0.0000000003]
        123456789 units: 0.0123456789  [123456789 x 0.0000000001 = 0.0123456789]
        18446744073709551615 units: 1844674407.3709551615  [18446744073709551615 x 0.0000000001 = 1844674407.3709551615]
    "#]],
    );
}

/// <https://openmeter.io/docs/billing/product-catalog/pricing-models>, "Per-Unit Pricing": 0.01 a
/// token, 10,000 tokens are charged 100.
#[test]
fn as_openmeter_publishes_it() {
    check(
        &Model::PerUnit { unit_price: decimal("0.01") },
        &[10_000],
        expect![[r#"
        10000 units: 100  [10000 x 0.01 = 100.00]
    "#]],
    );
}

/// <https://getlago.com/docs/guide/plans/charges/charge-models/standard>: 0.05 a call, 1,000 calls
/// cost 50.
#[test]
fn as_lago_publishes_it() {
    check(
        &Model::PerUnit { unit_price: decimal("0.05") },
        &[1_000],
        expect![[r#"
        1000 units: 50  [1000 x 0.05 = 50.00]
    "#]],
    );
}

/// <https://docs.stripe.com/billing/subscriptions/quantities>: 9.99 a site, 9.99 for one and 19.98
/// for two.
#[test]
fn as_stripe_publishes_it() {
    check(
        &Model::PerUnit { unit_price: decimal("9.99") },
        &[1, 2],
        expect![[r#"
        1 units: 9.99  [1 x 9.99 = 9.99]
        2 units: 19.98  [2 x 9.99 = 19.98]
    "#]],
    );
}
