//! What a version of a plan changes, as a table.

use crate::cli::output::Listing;
use crate::store::plan_file::changes::Change;

/// A row for each term that was added, removed or changed.
pub fn listing(changes: &[Change]) -> Listing {
    let mut listing = Listing::new(["change", "what", "before", "after"]);
    for Change { change, what, before, after } in changes {
        listing.row([
            (*change).into(),
            what.as_str().into(),
            before.as_str().into(),
            after.as_str().into(),
        ]);
    }
    listing
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::store::plan_file::{self, changes::changes};

    const BEFORE: &str = r#"
        name = "p"
        currency = "EUR"
        cadence = "monthly"
        fixed_fee = "99.00"
        charge = [
            { name = "A", predicate = "A@V1", model = "per_unit", unit_price = "0.030" },
            { name = "B", predicate = "B@*", model = "per_unit", unit_price = "0.05" },
            { name = "C", predicate = "C@V1", model = "package", package_size = 50, package_price = "4" },
        ]
        discount = [{ name = "Partner", percent = "10" }]
    "#;

    const AFTER: &str = r#"
        name = "p"
        currency = "EUR"
        cadence = "monthly"
        minimum = "200"
        charge = [
            { name = "B", predicate = "B@*", result = "true", model = "per_unit", unit_price = "0.05" },
            { name = "A", predicate = "A@V1", free_units = 100, model = "volume", tiers = [
                { up_to = 10, unit_price = "0.03", flat_fee = "5" }, { unit_price = "0.02" }] },
            { name = "D", predicate = "D@V1", meter = "distinct_products", model = "per_unit", unit_price = "1" },
        ]
        discount = [{ name = "Partner", amount = "2" }]
    "#;

    #[test]
    fn each_term_that_differs_is_a_row() {
        let (before, after) = (plan_file::parse(BEFORE), plan_file::parse(AFTER));
        let found = listing(&changes(Some(&before.unwrap()), &after.unwrap()));
        expect![[r#"
             change   what                before            after
             removed  fixed fee           99
             removed  charge "C": takes   C@V1, result any
             removed  charge "C": counts  receipts, 0 free
             removed  charge "C": price   package 4 for 50
             added    minimum                               200
             changed  charge "B": takes   B@*, result any   B@*, result true
             changed  charge "A": counts  receipts, 0 free  receipts, 100 free
             changed  charge "A": price   per_unit 0.03     volume to 10: 0.03 + 5 flat; then: 0.02
             added    charge "D": takes                     D@V1, result any
             added    charge "D": counts                    distinct_products, 0 free
             added    charge "D": price                     per_unit 1
             changed  discount "Partner"  10 %              2
             changed  order of charges    A, B              B, A"#]]
        .assert_eq(&found.table().lines().map(str::trim).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn another_way_to_write_it_is_no_change() {
        let before = plan_file::parse(BEFORE).unwrap();
        let after = BEFORE.replace("\"0.030\"", "\"0.03\"").replace("99.00", "99");
        assert!(changes(Some(&before), &plan_file::parse(&after).unwrap()).is_empty());
    }

    #[test]
    fn a_first_version_adds_everything() {
        let found = changes(None, &plan_file::parse(BEFORE).unwrap());
        assert_eq!(found.len(), 13);
        assert!(found.iter().all(|one| one.change == "added"));
    }
}
