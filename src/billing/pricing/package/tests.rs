use expect_test::expect;

use crate::plan::Model;
use crate::pricing::tests::{check, decimal};

fn package(size: u64, price: &str) -> Model {
    Model::Package { size, price: decimal(price) }
}

#[test]
fn a_package_is_due_with_its_first_unit() {
    check(
        &package(100, "5"),
        &[0, 1, 99, 100, 101, 200, 201],
        expect![[r#"
        0 units: 0  [0 in packages of 100: 0 x 5 = 0]
        1 units: 5  [1 in packages of 100: 1 x 5 = 5]
        99 units: 5  [99 in packages of 100: 1 x 5 = 5]
        100 units: 5  [100 in packages of 100: 1 x 5 = 5]
        101 units: 10  [101 in packages of 100: 2 x 5 = 10]
        200 units: 10  [200 in packages of 100: 2 x 5 = 10]
        201 units: 15  [201 in packages of 100: 3 x 5 = 15]
    "#]],
    );
    check(
        &package(1, "0.05"),
        &[3],
        expect![[r#"
        3 units: 0.15  [3 in packages of 1: 3 x 0.05 = 0.15]
    "#]],
    );
}

/// <https://getlago.com/docs/guide/plans/charges/charge-models/package>: 5 for 100 units, the first
/// 100 free; 201 units cost 10. Free units are taken off before, so the model sees 101.
#[test]
fn as_lago_publishes_it() {
    check(
        &package(100, "5"),
        &[201 - 100],
        expect![[r#"
        101 units: 10  [101 in packages of 100: 2 x 5 = 10]
    "#]],
    );
}

/// `app/metering-and-billing/pricing-models.md` of github.com/Kong/developer.konghq.com
/// (OpenMeter's models), "Package": 20 units for 10; 0 cost 0, 20 cost 10, 98 cost 50. Its 20.1
/// units, which cost 20, are 21 here: receipts are whole.
#[test]
fn as_openmeter_publishes_it() {
    check(
        &package(20, "10"),
        &[0, 20, 21, 98],
        expect![[r#"
        0 units: 0  [0 in packages of 20: 0 x 10 = 0]
        20 units: 10  [20 in packages of 20: 1 x 10 = 10]
        21 units: 20  [21 in packages of 20: 2 x 10 = 20]
        98 units: 50  [98 in packages of 20: 5 x 10 = 50]
    "#]],
    );
}

/// `openmeter/billing/rating/service/rate/package_test.go` of github.com/openmeterio/openmeter,
/// `TestGetNumberOfPackages`: packages of 10 for 0, 1, 9, 10 and 11 units.
#[test]
fn as_openmeter_tests_it() {
    check(
        &package(10, "15"),
        &[0, 1, 9, 10, 11],
        expect![[r#"
        0 units: 0  [0 in packages of 10: 0 x 15 = 0]
        1 units: 15  [1 in packages of 10: 1 x 15 = 15]
        9 units: 15  [9 in packages of 10: 1 x 15 = 15]
        10 units: 15  [10 in packages of 10: 1 x 15 = 15]
        11 units: 30  [11 in packages of 10: 2 x 15 = 30]
    "#]],
    );
}

/// <https://stripe.com/docs/billing/subscriptions/quantity-transformation>, `divide_by` 5 rounded
/// up: 10 for every 5 users or part of them; 1, 3 and 5 cost 10, 6 and 7 cost 20.
#[test]
fn as_stripe_publishes_it() {
    check(
        &package(5, "10"),
        &[1, 3, 5, 6, 7],
        expect![[r#"
        1 units: 10  [1 in packages of 5: 1 x 10 = 10]
        3 units: 10  [3 in packages of 5: 1 x 10 = 10]
        5 units: 10  [5 in packages of 5: 1 x 10 = 10]
        6 units: 20  [6 in packages of 5: 2 x 10 = 20]
        7 units: 20  [7 in packages of 5: 2 x 10 = 20]
    "#]],
    );
}

/// <https://docs.stripe.com/billing/subscriptions/usage-based/transform-quantities>: 10 an hour,
/// counted in minutes and rounded up; 150 minutes cost 30.
#[test]
fn of_an_hour_as_stripe_publishes_it() {
    check(
        &package(60, "10"),
        &[150],
        expect![[r#"
        150 units: 30  [150 in packages of 60: 3 x 10 = 30]
    "#]],
    );
}
