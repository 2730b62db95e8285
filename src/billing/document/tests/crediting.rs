//! Credit notes of other documents.

use proptest::prelude::*;

use super::credit::{Amounts, Credited, Error, Terms as CreditTerms, credit};
use super::*;

/// Credits the first document of `book` and issues the note.
fn give(book: &mut Book, amounts: &Amounts, day_of_october: u32) -> Result<Document, Error> {
    let (document, notes) = book.documents.split_first().unwrap();
    let credited = Credited::new(document, notes)?;
    let terms = CreditTerms {
        issue_date: NaiveDate::from_ymd_opt(2026, 10, day_of_october).unwrap(),
        note: "Agreed with Ada on the phone",
        billing_version: 1,
        previous: None,
    };
    let note = credit(document, &credited, amounts, &terms)?;
    Ok(book.issue(note).clone())
}

fn goodwill(lines: &[(u32, &str)]) -> Amounts {
    Amounts::Goodwill(lines.iter().map(|&(line, amount)| (line, eur(amount))).collect())
}

#[test]
fn a_favour_and_then_the_cancellation_of_the_rest() {
    let mut book = sample();
    let billed = book.accounts[&day("2026-09-20")].billed.clone();
    let mut text = String::new();
    text += &render(&give(&mut book, &goodwill(&[(1, "10.00"), (3, "0.55")]), 5).unwrap());
    text += &render(&give(&mut book, &goodwill(&[(1, "0.01")]), 6).unwrap());
    text += &render(&give(&mut book, &Amounts::Cancel, 7).unwrap());
    expect![[r#"
        creditnote goodwill CN-2026-000001 of 2026-10-05
        1. 2026-09 credits line 1 of INV-2026-000001 Fixed fee: 1 for 10.00 at S 19 %
        2. 2026-09 credits line 3 of INV-2026-000001 CARBON: 1 for 0.55 at S 19 %
        tax S 19 % of 10.55: 2.00
        net 10.55 + tax 2.00 = 12.55
        creditnote goodwill CN-2026-000002 of 2026-10-06
        1. 2026-09 credits line 1 of INV-2026-000001 Fixed fee: 1 for 0.01 at S 19 %
        tax S 19 % of 0.01: 0.01
        net 0.01 + tax 0.01 = 0.02
        creditnote cancel CN-2026-000003 of 2026-10-07
        1. 2026-09 credits line 1 of INV-2026-000001 Fixed fee: 1 for 26.29 at S 19 %
        2. 2026-09 credits line 2 of INV-2026-000001 CERT_VALID: 1 for 0.30 at S 19 %
        3. 2026-09 credits line 3 of INV-2026-000001 CARBON: 1 for 4.50 at S 19 %
        4. 2026-09 credits line 4 of INV-2026-000001 PACKAGED: 1 for 8.00 at S 19 %
        5. 2026-09 credits line 5 of INV-2026-000001 PLAIN: 1 for 1.50 at S 19 %
        6. 2026-09 credits line 6 of INV-2026-000001 Partner: 1 for -1.49 at S 19 %
        tax S 19 % of 39.10: 7.43
        net 39.10 + tax 7.43 = 46.53
    "#]]
    .assert_eq(&text);
    // Net and tax of the three are exactly the invoice's, and none of them is in billed.
    let sum = |of: fn(&Document) -> Decimal| book.documents[1..].iter().map(of).sum::<Decimal>();
    assert_eq!(sum(|note| note.net_total), book.documents[0].net_total);
    assert_eq!(sum(|note| note.tax_total), book.documents[0].tax_total);
    assert_eq!(book.accounts[&day("2026-09-20")].billed, billed);
    assert!(matches!(give(&mut book, &Amounts::Cancel, 8), Err(Error::Nothing)));
}

#[test]
fn no_more_is_credited_than_there_is() {
    let mut book = sample();
    give(&mut book, &goodwill(&[(1, "36.00")]), 5).unwrap();
    let mut text = String::new();
    for (what, lines) in [
        ("more than the line", &[(2, "0.31")][..]),
        ("more than is left of it", &[(1, "0.31")]),
        ("nothing", &[(2, "0.00")]),
        ("the wrong way", &[(2, "-0.01")]),
        ("a discount the wrong way", &[(6, "0.01")]),
        ("a line that is not there", &[(7, "0.01")]),
        ("a line twice", &[(2, "0.01"), (2, "0.02")]),
        ("charges without their discount", &[(2, "0.30"), (3, "5.05"), (4, "8.00"), (5, "1.50")]),
        ("no lines", &[]),
    ] {
        let error = give(&mut book, &goodwill(lines), 6).unwrap_err();
        text += &format!("{what}: {error}\n");
    }
    expect![[r#"
        more than the line: line 2 of 0.30 EUR: 0.00 EUR is credited, so 0.31 EUR more is not possible
        more than is left of it: line 1 of 36.30 EUR: 36.00 EUR is credited, so 0.31 EUR more is not possible
        nothing: line 2 of 0.30 EUR: 0.00 EUR is credited, so 0.00 EUR more is not possible
        the wrong way: line 2 of 0.30 EUR: 0.00 EUR is credited, so -0.01 EUR more is not possible
        a discount the wrong way: line 6 of -1.49 EUR: 0.00 EUR is credited, so 0.01 EUR more is not possible
        a line that is not there: INV-2026-000001 has no line 7
        a line twice: line 2 is named twice; say its credit in one amount
        charges without their discount: tax S 19 %: the lines sum to 49.66 EUR, and 50.85 EUR of them would be credited; discounts count too
        no lines: nothing is left to credit
    "#]].assert_eq(&text);
    // With the discount the same charges can be credited, to the last cent.
    let all = [(1, "0.30"), (2, "0.30"), (3, "5.05"), (4, "8.00"), (5, "1.50"), (6, "-1.49")];
    give(&mut book, &goodwill(&all), 6).unwrap();
    assert!(matches!(give(&mut book, &Amounts::Cancel, 7), Err(Error::Nothing)));
}

#[test]
fn only_an_invoice_is_credited_and_only_by_its_own_notes() {
    let mut book = sample();
    let note = give(&mut book, &goodwill(&[(1, "1.00")]), 5).unwrap();
    assert!(matches!(Credited::new(&note, &[]), Err(Error::NotCreditable)));
    let invoice = book.documents[0].clone();
    let draft = Document { number: None, ..invoice.clone() };
    assert!(matches!(Credited::new(&draft, &[]), Err(Error::NotCreditable)));
    let wrong = Credited::new(&invoice, std::slice::from_ref(&invoice)).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "INV-2026-000001 is not a credit note that credits INV-2026-000001"
    );
    let yen = Currency::from_code("JPY").unwrap();
    let in_yen = Document { currency: yen, ..note.clone() };
    assert!(matches!(Credited::new(&invoice, &[in_yen]), Err(Error::NotACredit { .. })));
    let mut other = note;
    other.lines[0].credits.as_mut().unwrap().number = "INV-2026-000002".to_owned();
    assert!(matches!(Credited::new(&invoice, &[other]), Err(Error::NotACredit { .. })));
}

#[test]
fn a_credit_of_another_document_needs_its_reference_and_a_note() {
    let mut book = sample();
    let note = give(&mut book, &goodwill(&[(1, "1.00")]), 5).unwrap();
    let without_note = Document { note: None, ..note.clone() };
    let without_reference = Document { references: Vec::new(), ..note.clone() };
    let mut without_before = note.clone();
    without_before.tax_groups[0].credited_before = None;
    assert_eq!(check(&without_note), Err(Refused(vec![Refusal::Reference])));
    let refused = vec![Refusal::Reference, Refusal::LineOrigin(1)];
    assert_eq!(check(&without_reference), Err(Refused(refused)));
    let group = "S 19 %".to_owned();
    assert_eq!(check(&without_before), Err(Refused(vec![Refusal::GroupCredits { group }])));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However an invoice is credited, cent by cent and then the rest, net and tax given back are
    /// the invoice's; the tax so far is never more than half a cent off what it is on the sum.
    #[test]
    fn the_last_credit_gives_back_the_last_cent(
        favours in proptest::collection::vec((1_u32..=5, 1_i64..300), 0..12),
    ) {
        let mut book = sample();
        let (mut net, mut tax) = (Decimal::ZERO, Decimal::ZERO);
        for (line, cents) in favours {
            let favour = Amounts::Goodwill(vec![(line, Money::new(Decimal::new(cents, 2), Currency::EUR).unwrap())]);
            let Ok(note) = give(&mut book, &favour, 5) else { continue };
            net += note.net_total;
            tax += note.tax_total;
            // 19 % in hundredths of a cent.
            let exact = net.mantissa() * 19;
            prop_assert!((tax.mantissa() * 100 - exact).abs() <= 50);
            prop_assert!(net <= book.documents[0].net_total);
        }
        match give(&mut book, &Amounts::Cancel, 6) {
            Ok(note) => {
                net += note.net_total;
                tax += note.tax_total;
            }
            Err(error) => prop_assert!(matches!(error, Error::Nothing)),
        }
        prop_assert_eq!(net, book.documents[0].net_total);
        prop_assert_eq!(tax, book.documents[0].tax_total);
    }
}
