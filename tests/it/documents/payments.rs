//! What is recorded as paid was paid: on a day that was, and no more of it than there is.

use chrono::{Days, Months, NaiveDate};
use sqlx::{Connection, PgConnection};

use super::*;

/// 36.89, issued today, and its number and issue date.
async fn issued() -> (Till, String, NaiveDate) {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let number = till.finalize("acme", MARCH, "36.89");
    let day = till.scalar("select issue_date from document").await;
    (till, number, day)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sum_that_cannot_have_been_paid_is_refused() {
    let (till, number, day) = issued().await;
    let books = till.client("finance").await;
    let path = format!("/v1/invoices/{number}/payments");
    let pay = async |amount: &str, reference: &str, overpaid: bool| {
        let body =
            json!({"amount": amount, "paid_on": day, "reference": reference, "overpaid": overpaid});
        let answer = books.post(&path, body).await;
        if answer.status < 300 { String::new() } else { answer.json()["detail"].to_string() }
    };
    let by_hand = |amount: &str, more: &str| {
        let what = format!("--amount {amount} --on {day} --reference hand{more}");
        till.run(&format!("invoices pay {number} {what}"))
    };
    let back = "5.00 EUR would be paid back, and 0.00 EUR of INV-2026-000001 was paid";
    assert!(pay("-5.00", "a", false).await.contains(back));
    assert!(pay("-5.00", "a", true).await.contains(back));
    refused(&by_hand("-5.00", ""), 5, back);
    let above = "36.90 EUR of INV-2026-000001 would be paid, and 36.89 EUR is owed";
    assert!(pay("36.90", "a", false).await.contains(above));
    refused(&by_hand("36.90", ""), 5, above);
    assert_eq!(till.scalar::<i64>("select count(*) from payment").await, 0);

    assert_eq!(pay("36.89", "a", false).await, "");
    assert!(pay("0.01", "b", false).await.contains(above));
    // What is recorded stays what it is, however often it is told.
    assert_eq!(pay("36.89", "a", false).await, "");
    assert_eq!(pay("0.01", "b", true).await, "");
    assert_eq!(pay("0.01", "b", false).await, "");
    done(by_hand("100.00", " --overpaid"));
    assert_ne!(pay("792281625142643375935439503.35", "c", true).await, "");
    assert!(pay("-136.91", "c", false).await.contains("136.91 EUR would be paid back"));
    // Back to nothing, while more than the total is still paid in between.
    assert_eq!(pay("-1.00", "c", false).await, "");
    assert_eq!(pay("-135.90", "d", false).await, "");
    assert_eq!(till.scalar::<String>("select sum(amount)::text from payment").await, "0.00");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_on_which_nothing_can_have_been_paid_is_refused() {
    let (till, number, day) = issued().await;
    let books = till.client("finance").await;
    let path = format!("/v1/invoices/{number}/payments");
    let pay = async |day: &str| {
        let body = json!({"amount": "1.00", "paid_on": day, "reference": day});
        books.post(&path, body).await
    };
    let first = day.checked_sub_months(Months::new(12)).unwrap();
    let far = day.checked_add_days(Days::new(2)).unwrap().to_string();
    for late in [far.as_str(), "9999-12-31"] {
        let answer = pay(late).await;
        assert_eq!(answer.problem(), "refused", "{late}");
        assert!(answer.text().contains("lies after today"), "{}", answer.text());
    }
    for early in [first.pred_opt().unwrap().to_string().as_str(), "1970-01-01"] {
        let answer = pay(early).await;
        assert_eq!(answer.problem(), "refused", "{early}");
        let says = format!("its payments are of {first} or later");
        assert!(answer.text().contains(&says), "{}", answer.text());
    }
    for none in [format!("+{day}"), "1969-12-31".to_owned(), "10000-01-01".to_owned()] {
        assert_eq!(pay(&none).await.problem(), "invalid-body", "{none}");
    }
    let by_hand = |day: &str| {
        till.run(&format!("invoices pay {number} --amount 1.00 --on {day} --reference hand"))
    };
    refused(&by_hand(&far), 5, "lies after today");
    refused(&by_hand("1970-01-01"), 5, "its payments are of");
    refused(&by_hand(&format!("+{day}")), 2, "write a day as YYYY-MM-DD");
    assert_eq!(till.scalar::<i64>("select count(*) from payment").await, 0);
    for good in [day, first] {
        assert_eq!(pay(&good.to_string()).await.status, 201, "{good}");
    }

    // Nor is there a sign on a day in a query.
    for query in ["usage?from=", "reports/invoice_register?until=", "reports/ageing?as_of="] {
        let path = format!("/v1/{query}");
        assert_eq!(books.get(&format!("{path}{day}")).await.status, 200, "{path}");
        for none in [format!("%2B{day}"), "-0001-01-01".to_owned()] {
            let answer = books.get(&format!("{path}{none}")).await;
            assert_eq!(answer.problem(), "invalid-query", "{path}{none}");
        }
    }
}

/// Amount, day from today, whether more is meant, and what a rule says; nothing where it is recorded. In this
/// order, on an invoice of 36.89.
const WRITTEN: &[(&str, i64, bool, &str)] = &[
    ("-0.01", 0, false, "0.01 of document 1 would be paid back, and 0.00 was paid"),
    ("-0.01", 0, true, "would be paid back"),
    ("1.001", 0, false, "1.001 is not an amount of EUR in whole minor units"),
    ("36.90", 0, false, "36.90 of document 1 would be paid, and 36.89 is owed"),
    ("1.00", 3, false, "lies after today"),
    ("1.00", -367, false, "lies more than a year before document 1 was issued"),
    ("0", 0, false, "payment_amount_check"),
    ("36.890", -300, false, ""),
    ("0.01", 0, false, "36.900 of document 1 would be paid"),
    ("0.01", 0, true, ""),
    ("-36.91", 0, false, "would be paid back"),
    // Less than before, though more than the total is left.
    ("5.00", 0, true, ""),
    ("-1.00", 0, false, ""),
    ("-40.90", 0, false, ""),
    ("-0.01", 0, false, "would be paid back"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_takes_no_payment_that_cannot_have_been_made() {
    let (till, number, _) = issued().await;
    let mut application = PgConnection::connect(&till.world.application_url()).await.unwrap();
    let mut pay = async |document: i64, at: usize, amount: &str, days: i64, more: bool| {
        let written = sqlx::query(
            "insert into payment (document_no, brand_no, amount, paid_on, reference, is_overpaid, made_by) \
             select document_no, brand_no, $2::numeric, current_date + $3::int, $4, $5, 'by hand' \
             from document where document_no = $1",
        )
        .bind(document)
        .bind(amount)
        .bind(i32::try_from(days).unwrap())
        .bind(format!("bank {document} {at}"))
        .bind(more)
        .execute(&mut application);
        written.await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (at, (amount, days, more, says)) in WRITTEN.iter().enumerate() {
        let said = pay(1, at, amount, *days, *more).await;
        let is_as_said = if says.is_empty() { said.is_empty() } else { said.contains(says) };
        assert!(is_as_said, "{at}: {amount} in {days} days: {said:?}");
    }
    assert_eq!(till.scalar::<String>("select sum(amount)::text from payment").await, "0.000");

    // What is credited is not paid, and what is cancelled is paid back at most.
    done(till.run(&format!("invoices cancel {number} --because x")));
    let note: i64 = till.scalar("select max(document_no) from document").await;
    assert!(pay(note, 0, "1.00", 0, true).await.contains("is not an invoice that is paid"));
    assert!(
        pay(1, 90, "1.00", 0, false)
            .await
            .contains("of document 1 would be paid, and 0.00 is owed")
    );
    assert_eq!(pay(1, 90, "1.00", 0, true).await, "");
    assert_eq!(pay(1, 91, "-1.00", 0, false).await, "");
}

/// Who pays the old amount after a credit pays too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_credited_is_owed_no_more() {
    let (till, number, day) = issued().await;
    done(till.run(&format!("credit-notes create {number} --line 1=10.00 --because late")));
    let pay = |amount: &str, more: &str| {
        till.run(&format!(
            "invoices pay {number} --amount {amount} --on {day} --reference {amount}{more}"
        ))
    };
    let owed = "select (36.89 - total)::text from document where kind = 'credit_note'";
    let owed: String = till.scalar(owed).await;
    refused(&pay("36.89", ""), 5, &format!("and {owed} EUR is owed"));
    let by_hand = "insert into payment (document_no, brand_no, amount, paid_on, reference, made_by) \
        select document_no, brand_no, 36.89, current_date, 'by hand', 'x' from document \
        where document_no = 1";
    let mut application = PgConnection::connect(&till.world.application_url()).await.unwrap();
    let said = sqlx::query(by_hand).execute(&mut application).await.unwrap_err().to_string();
    assert!(said.contains(&format!("and {owed} is owed")), "{said}");
    done(pay(&owed, ""));
    let state = till.run(&format!("invoices show {number} --output json"));
    assert!(String::from_utf8_lossy(&state.stdout).contains("\"paid\""), "{state:?}");
}

/// What was recorded before the rules stays, and can be paid back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_of_before_the_rules_stays_and_can_be_paid_back() {
    let (till, number, day) = issued().await;
    let before = "insert into payment (document_no, brand_no, amount, paid_on, reference, made_by) \
        select document_no, brand_no, 100.00, '2019-01-01', 'old', 'somebody' from document";
    till.by_force(before).await;
    let back = |amount: &str, reference: &str| {
        till.run(&format!(
            "invoices pay {number} --amount={amount} --on {day} --reference {reference}"
        ))
    };
    refused(&back("1.00", "more"), 5, "say that it is overpaid");
    done(back("-63.11", "back"));
    assert_eq!(till.scalar::<String>("select sum(amount)::text from payment").await, "36.89");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_knows_the_minor_units_of_each_currency() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let letters = || b'A'..=b'Z';
    let mut known = Vec::new();
    for code in
        letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| [a, b, c])))
    {
        let code = String::from_utf8(code.to_vec()).unwrap();
        known.extend(
            billing::currency::Currency::from_code(&code).map(|one| (code, one.minor_units())),
        );
    }
    let codes: Vec<&str> = known.iter().map(|(code, _)| code.as_str()).collect();
    let told: Vec<i32> = sqlx::query_scalar(
        "select minor_units(code) from unnest($1::text[]) with ordinality as t (code, n) order by n",
    )
    .bind(&codes)
    .fetch_all(till.world.pool())
    .await
    .unwrap();
    assert!(known.len() > 150, "{} currencies", known.len());
    for ((code, units), told) in known.iter().zip(told) {
        assert_eq!(i32::try_from(*units).unwrap(), told, "{code}");
    }
}
