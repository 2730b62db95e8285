//! What is refused, each rule broken alone.

use super::*;

type Break = fn(&mut Document);

/// Breaks a good document and prints what is refused.
fn refusals(breaks: &[(&str, Break)]) -> String {
    let mut text = String::new();
    for (what, change) in breaks {
        let mut document = sample().documents.remove(0);
        change(&mut document);
        let refused = check(&document).map(|()| panic!("{what} was not refused")).unwrap_err();
        let refused: Vec<String> = refused.0.iter().map(Refusal::to_string).collect();
        text += &format!("{what}: {}\n", refused.join("; "));
    }
    text
}

#[test]
fn amounts_must_add_up() {
    let breaks: &[(&str, Break)] = &[
        ("a line", |document| document.lines[0].amount += decimal("0.01")),
        ("the net total", |document| document.net_total += decimal("0.01")),
        ("the tax total", |document| document.tax_total += decimal("0.01")),
        ("the total", |document| document.total -= decimal("0.01")),
        ("a group's sum", |document| document.tax_groups[0].taxable += decimal("0.01")),
        ("a group's tax", |document| {
            document.tax_groups[0].tax += decimal("0.01");
            document.tax_total += decimal("0.01");
            document.total += decimal("0.01");
        }),
        ("no group", |document| document.tax_groups.clear()),
        ("one group too many", |document| {
            let group = document.tax_groups[0].clone();
            document.tax_groups.push(TaxGroup { rate_percent: decimal("7"), ..group });
        }),
        ("a rate written otherwise", |document| {
            document.tax_groups[0].rate_percent = decimal("19.0001");
        }),
        ("three decimals", |document| document.lines[0].amount = decimal("36.300")),
        ("no decimals", |document| document.total = decimal("1")),
        ("a negative net total", |document| {
            for line in &mut document.lines {
                line.amount = -line.amount;
            }
            let group = &mut document.tax_groups[0];
            for amount in [
                &mut group.taxable,
                &mut group.tax,
                &mut document.net_total,
                &mut document.tax_total,
                &mut document.total,
            ] {
                *amount = -*amount;
            }
        }),
        ("credits before an invoice", |document| {
            let zero = decimal("0.00");
            document.tax_groups[0].credited_before =
                Some(CreditedBefore { taxable: zero, tax: zero });
        }),
    ];
    expect![[r#"
        a line: the net total is 49.66, but the lines sum to 49.67 EUR (BR-CO-10); tax group S 19 %: its lines sum to 49.67 EUR, not 49.66 (BR-S-08)
        the net total: the net total is 49.67, but the lines sum to 49.66 EUR (BR-CO-10); the total is 59.10, but net and tax total sum to 59.11 EUR (BR-CO-15)
        the tax total: the tax total is 9.45, but the groups sum to 9.44 EUR (BR-CO-14); the total is 59.10, but net and tax total sum to 59.11 EUR (BR-CO-15)
        the total: the total is 59.09, but net and tax total sum to 59.10 EUR (BR-CO-15)
        a group's sum: tax group S 19 %: its lines sum to 49.66 EUR, not 49.67 (BR-S-08)
        a group's tax: tax group S 19 %: the tax is 9.44 EUR, not 9.45 (BR-CO-17)
        no group: the tax total is 9.44, but the groups sum to 0.00 EUR (BR-CO-14); the tax groups are not one for each category and rate of the lines (BR-CO-18)
        one group too many: the tax total is 9.44, but the groups sum to 18.88 EUR (BR-CO-14); the tax groups are not one for each category and rate of the lines (BR-CO-18)
        a rate written otherwise: the tax groups are not one for each category and rate of the lines (BR-CO-18)
        three decimals: line 1 36.300 is not in whole minor units with exactly the currency's decimals
        no decimals: total 1 is not in whole minor units with exactly the currency's decimals
        a negative net total: the net total -49.66 is negative; what is given back is a credit note
        credits before an invoice: tax group S 19 %: only a credit of another document has credits before it
    "#]].assert_eq(&refusals(breaks));
}

#[test]
fn what_is_too_large_is_refused_and_not_summed() {
    let mut document = sample().documents.remove(0);
    document.lines[0].amount = decimal("79228162514264337593543950.33");
    document.lines[1].amount = document.lines[0].amount;
    document.lines[2].amount = document.lines[0].amount;
    document.lines[3].amount = document.lines[0].amount;
    document.net_total = decimal("0.00");
    assert!(check(&document).unwrap_err().0.contains(&Refusal::TooLarge));

    let mut document = sample().documents.remove(0);
    let line = document.lines[0].clone();
    document.lines = vec![line; super::check::LINES_MAX + 1];
    assert_eq!(check(&document), Err(Refused(vec![Refusal::TooManyLines(100_001)])));
}

#[test]
fn lines_must_stand_for_something() {
    let breaks: &[(&str, Break)] = &[
        ("a hole", |document| document.lines[1].line = 3),
        ("no label", |document| document.lines[1].label = " ".to_owned()),
        ("no key", |document| document.lines[1].key = None),
        ("no period", |document| document.lines[1].period = None),
        ("another period", |document| document.lines[1].period = Some(day("2026-08-01"))),
        ("a key twice", |document| document.lines[1].key = document.lines[0].key),
        ("a credit on an invoice", |document| {
            let number = document.number.clone().unwrap();
            document.lines[1].key = None;
            document.lines[1].credits = Some(CreditedLine { number, line: 1 });
        }),
        ("both", |document| {
            let number = document.number.clone().unwrap();
            document.lines[1].credits = Some(CreditedLine { number, line: 1 });
        }),
        ("taxed otherwise", |document| document.periods[0].tax.rate_percent = decimal("16")),
        ("no lines", |document| {
            document.lines.clear();
            document.tax_groups.clear();
            for total in [&mut document.net_total, &mut document.tax_total, &mut document.total] {
                *total = decimal("0.00");
            }
        }),
    ];
    expect![[r#"
        a hole: line 3 stands where line 2 should (BR-21)
        no label: line 2 has no label (BR-25)
        no key: line 2 must charge for a key of a period, or credit a line of a reference
        no period: line 2 must charge for a key of a period, or credit a line of a reference
        another period: line 2 charges for a period from 2026-08-01, which is not on the document
        a key twice: two lines charge for fixed_fee of the period from 2026-09-20
        a credit on an invoice: line 2 must charge for a key of a period, or credit a line of a reference
        both: line 2 must charge for a key of a period, or credit a line of a reference
        taxed otherwise: line 1 is not taxed as its period from 2026-09-20 is; line 2 is not taxed as its period from 2026-09-20 is; line 3 is not taxed as its period from 2026-09-20 is; line 4 is not taxed as its period from 2026-09-20 is; line 5 is not taxed as its period from 2026-09-20 is; line 6 is not taxed as its period from 2026-09-20 is
        no lines: there are no lines, which only a document without a number may have (BR-16)
    "#]].assert_eq(&refusals(breaks));
}

#[test]
fn numbers_and_dates_must_fit() {
    let breaks: &[(&str, Break)] = &[
        ("no number", |document| document.number = None),
        ("a credit note's number", |document| document.number = some("CN-2026-000001")),
        ("another year's number", |document| document.number = some("INV-2025-000001")),
        ("no due date", |document| document.due_date = None),
        ("due before issue", |document| document.due_date = Some(day("2026-10-03"))),
        ("a due credit note", |document| {
            document.kind = Kind::CreditNote;
            document.number = some("CN-2026-000001");
        }),
        ("an invoice of goodwill", |document| document.cause = Cause::Goodwill),
    ];
    expect![[r#"
        no number: a document that is not of zero needs a number (BR-02)
        a credit note's number: CN-2026-000001 is not a number of the series that kind and issue date give
        another year's number: INV-2025-000001 is not a number of the series that kind and issue date give
        no due date: what is to be paid needs a due date (BR-CO-25), and a credit note has none
        due before issue: the due date 2026-10-03 lies before the issue date 2026-10-04
        a due credit note: what is to be paid needs a due date (BR-CO-25), and a credit note has none
        an invoice of goodwill: the cause does not fit the kind: only a credit note credits another document; a credit of another document needs a reference to it and a note that says why (BR-55); line 1 must charge for a key of a period, or credit a line of a reference; line 2 must charge for a key of a period, or credit a line of a reference; line 3 must charge for a key of a period, or credit a line of a reference; line 4 must charge for a key of a period, or credit a line of a reference; line 5 must charge for a key of a period, or credit a line of a reference; line 6 must charge for a key of a period, or credit a line of a reference; tax group S 19 %: only a credit of another document has credits before it
    "#]].assert_eq(&refusals(breaks));
}

#[test]
fn what_is_due_at_once_is_not_refused() {
    let mut document = sample().documents.remove(0);
    document.due_date = Some(document.issue_date);
    assert_eq!(check(&document), Ok(()));
}

#[test]
fn parties_must_be_known() {
    let breaks: &[(&str, Break)] = &[
        ("no issuer", |document| document.issuer = Party::default()),
        ("no buyer", |document| document.buyer = Party::default()),
        ("an issuer without VAT id", |document| document.issuer.vat_id = None),
        ("a country's name", |document| document.buyer.country = some("France")),
        ("small letters", |document| document.issuer.country = some("de")),
        ("a blank name", |document| document.buyer.legal_name = some(" ")),
    ];
    expect![[r#"
        no issuer: the issuer has no legal name (BR-06); the issuer has no country (BR-09); the issuer has no VAT or registration id (BR-CO-26); the issuer has no VAT id (BR-S-02, BR-Z-02, BR-E-02, BR-AE-02)
        no buyer: the buyer has no legal name (BR-07); the buyer has no country (BR-11)
        an issuer without VAT id: the issuer has no VAT id (BR-S-02, BR-Z-02, BR-E-02, BR-AE-02)
        a country's name: the buyer: the country "France" is not two capital letters (BR-CL-14)
        small letters: the issuer: the country "de" is not two capital letters (BR-CL-14)
        a blank name: the buyer has no legal name (BR-07)
    "#]].assert_eq(&refusals(breaks));
}

#[test]
fn periods_and_evidence_must_fit() {
    let breaks: &[(&str, Break)] = &[
        ("longer than its whole", |document| document.periods[0].end = day("2026-10-02")),
        ("of no day", |document| document.periods[0].end = day("2026-09-20")),
        ("begun before its whole", |document| {
            document.periods[0].whole_start = day("2026-09-21");
        }),
        ("twice", |document| document.periods.push(document.periods[0].clone())),
        ("more leaves than entries", |document| document.periods[0].after = 1),
        ("a cutoff before the last", |document| document.periods[0].after = 1000),
        ("no leaves and a root", |document| document.periods[0].size = 0),
        ("leaves and no root", |document| document.periods[0].root = Hash::of(&[])),
        ("an override without a word", |document| {
            let by = "ada".to_owned();
            let over = Override { reason: "gap".to_owned(), by, because: " ".to_owned() };
            document.overrides.push(over);
        }),
    ];
    expect![[r#"
        longer than its whole: the periods do not stand in order, each once, and within the periods they are cut from
        of no day: the periods do not stand in order, each once, and within the periods they are cut from
        begun before its whole: the periods do not stand in order, each once, and within the periods they are cut from
        twice: the periods do not stand in order, each once, and within the periods they are cut from
        more leaves than entries: the evidence of the period from 2026-09-20 is not that of its entries: cutoff, size or root
        a cutoff before the last: the evidence of the period from 2026-09-20 is not that of its entries: cutoff, size or root
        no leaves and a root: the evidence of the period from 2026-09-20 is not that of its entries: cutoff, size or root
        leaves and no root: the evidence of the period from 2026-09-20 is not that of its entries: cutoff, size or root
        an override without a word: an override has no reason, no name or no explanation
    "#]].assert_eq(&refusals(breaks));
}

fn taxed(category: Category, exemption: Option<&str>) -> Document {
    let mut document = sample().documents.remove(0);
    for line in &mut document.lines {
        (line.tax_category, line.tax_rate_percent) = (category, Decimal::ZERO);
    }
    let tax = &mut document.periods[0].tax;
    (tax.category, tax.rate_percent) = (category, Decimal::ZERO);
    let group = &mut document.tax_groups[0];
    (group.category, group.rate_percent, group.tax) = (category, Decimal::ZERO, decimal("0.00"));
    group.exemptions = exemption.into_iter().map(str::to_owned).collect();
    document.tax_total = decimal("0.00");
    document.total = document.net_total;
    document
}

#[test]
fn categories_without_tax() {
    let good = [
        taxed(Category::Zero, None),
        taxed(Category::Exempt, Some("Article 132")),
        taxed(Category::ReverseCharge, Some("Article 196")),
        taxed(Category::OutOfScope, Some("Article 44")),
    ];
    for document in good {
        assert_eq!(check(&document), Ok(()));
    }
    let mut text = String::new();
    let mut no_buyer_vat = taxed(Category::ReverseCharge, Some("Article 196"));
    no_buyer_vat.buyer.vat_id = None;
    let mut no_issuer_vat = taxed(Category::OutOfScope, Some("Article 44"));
    no_issuer_vat.issuer.vat_id = None;
    assert_eq!(check(&no_issuer_vat), Ok(()), "outside the scope a registration id is enough");
    let mut mixed = taxed(Category::OutOfScope, Some("Article 44"));
    mixed.lines[0].tax_category = Category::Zero;
    mixed.periods[0].tax.category = Category::Zero;
    for (what, document) in [
        ("reverse charge without the buyer's VAT id", no_buyer_vat),
        ("reverse charge without a reason", taxed(Category::ReverseCharge, None)),
        ("zero rated with a reason", taxed(Category::Zero, Some("Article 44"))),
        ("standard without a rate", taxed(Category::Standard, None)),
        ("O and others", mixed),
    ] {
        text += &format!("{what}: {}\n", check(&document).unwrap_err());
    }
    expect![[r#"
        reverse charge without the buyer's VAT id: the document cannot be issued: the buyer has no VAT id (BR-AE-02)
        reverse charge without a reason: the document cannot be issued: tax group AE 0 %: category AE needs an exemption text that says why no tax is due (BR-S-05, BR-E-10, BR-AE-10, BR-O-10)
        zero rated with a reason: the document cannot be issued: tax group Z 0 %: category Z takes no exemption text (BR-S-05, BR-E-10, BR-AE-10, BR-O-10)
        standard without a rate: the document cannot be issued: tax group S 0 %: category S needs a rate above 0 and at most 100 %, not 0 (BR-S-05, BR-E-10, BR-AE-10, BR-O-10)
        O and others: the document cannot be issued: line 2 is not taxed as its period from 2026-09-20 is; line 3 is not taxed as its period from 2026-09-20 is; line 4 is not taxed as its period from 2026-09-20 is; line 5 is not taxed as its period from 2026-09-20 is; line 6 is not taxed as its period from 2026-09-20 is; lines outside the scope of VAT (O) and others are on one document (BR-O-11); the tax groups are not one for each category and rate of the lines (BR-CO-18)
    "#]].assert_eq(&text);
}

#[test]
fn a_period_of_nothing_makes_a_document_without_lines_and_number() {
    let mut book = Book::default();
    book.open("2026-09-01", 1, terms(vec![per_unit("PLAIN", "0.5")]), "19");
    let document = book.bill(Some("2026-09-01"), "2026-10-04");
    expect![[r#"
        invoice periods without a number of 2026-10-04
        net 0.00 + tax 0.00 = 0.00
    "#]]
    .assert_eq(&render(document));
}
