//! What is recorded as paid was paid: on a day that was, and no more of it than there is.

use chrono::{Days, Months, NaiveDate};

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
    let above = "36.90 EUR of INV-2026-000001 would be paid, and its total is 36.89 EUR";
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
