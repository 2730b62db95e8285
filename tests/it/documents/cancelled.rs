//! What was given back of an invoice before it was cancelled is part of the cancellation.

use prooftally::store::audit;

use super::*;

impl Till {
    /// What the audit finds of cancelled documents.
    async fn open_cancellations(&self) -> Vec<String> {
        let findings = audit::run(self.world.pool(), |_| ()).await.unwrap().findings;
        let of = findings.into_iter().filter(|finding| finding.check == "cancellations");
        of.map(|finding| finding.what).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_favour_on_a_cancelled_invoice_stays() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let books = till.client("finance").await;
    let number = till.finalize("acme", MARCH, "36.89");
    for amount in ["7.00", "0.10", "1.00"] {
        let line = format!("--line 1={amount} --because delay");
        done(till.run(&format!("credit-notes create {number} {line}")));
    }
    let actions = async |number: &str| {
        let note = books.get(&format!("/v1/credit_notes/{number}")).await.ok();
        note["available_actions"].clone()
    };
    // While the invoice stands a favour can be taken back, and what was taken back is no part of it.
    assert_eq!(actions("CN-2026-000003").await, json!(["void", "mark_sent"]));
    done(till.run("invoices void CN-2026-000003 --because test"));
    let cancelled = done(till.run(&format!("invoices cancel {number} --because test")));
    assert!(cancelled.contains("CN-2026-000004 of 28.44"), "{cancelled}");
    for note in ["CN-2026-000001", "CN-2026-000002"] {
        assert_eq!(actions(note).await, json!(["mark_sent"]));
        let void = till.run(&format!("invoices void {note} --because test"));
        refused(&void, 5, "credits document 1, which is cancelled, and stays");
        let void = json!({"because": "test"});
        let answer = books.post(&format!("/v1/invoices/{note}/void"), void).await;
        assert_eq!(answer.problem(), "refused");
    }
    let void = till.run("invoices void CN-2026-000004 --because test");
    refused(&void, 5, "cancels another one and stays");
    let told = till
        .told(
            "insert into document_event (document_no, brand_no, kind, because, made_by) \
             select document_no, brand_no, 'voided', 'x', 'x' from document \
             where number = 'CN-2026-000001'",
        )
        .await;
    assert!(told.is_some_and(|told| told.contains("which is cancelled, and stays")));
    // Nothing is open, and the period is issued in full.
    assert_eq!(books.get("/v1/reports/ageing").await.ok()["data"], json!([]));
    assert_eq!(till.open_cancellations().await, Vec::<String>::new());
    till.finalize("acme", MARCH, "36.89");
    assert_eq!(books.get("/v1/reports/ageing").await.ok()["data"][0]["total"], "36.89");
}

/// All of it was given back as favours, so that no note cancels it: these stay no less.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn favours_over_all_of_a_cancelled_invoice_stay() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let number = till.finalize("acme", MARCH, "36.89");
    let all = "--line 1=30.00 --line 2=1.00 --because delay";
    done(till.run(&format!("credit-notes create {number} {all}")));
    let cancelled = done(till.run(&format!("invoices cancel {number} --because test")));
    assert!(cancelled.contains("all of it was credited before"), "{cancelled}");
    let void = till.run("invoices void CN-2026-000001 --because test");
    refused(&void, 5, "which is cancelled, and stays");
    assert_eq!(till.open_cancellations().await, Vec::<String>::new());
}

/// A database in which it was done before the rule was there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_names_a_cancelled_invoice_that_is_not_credited_in_full() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let number = till.finalize("acme", MARCH, "36.89");
    done(till.run(&format!("credit-notes create {number} --line 1=7.00 --because delay")));
    done(till.run(&format!("invoices cancel {number} --because test")));
    sqlx::raw_sql(
        "set session_replication_role = replica; \
         insert into document_event (document_no, brand_no, kind, because, made_by) \
         select document_no, brand_no, 'voided', 'x', 'x' from document where number = 'CN-2026-000001'; \
         set session_replication_role = origin",
    )
    .execute(till.world.pool())
    .await
    .unwrap();
    let open = format!("{number} is cancelled, and 23.00 of 30.00 of its line 1 is credited");
    assert_eq!(till.open_cancellations().await, [open]);
}
