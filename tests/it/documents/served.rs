//! Documents and their receipts as the API shows them: to finance, to their brand, and to another one.

use serde_json::json;

use super::{MARCH, Till, done, text};
use crate::api::client::Client;

impl Till {
    pub async fn client(&self, role: &str) -> Client {
        let made = self.run(&format!("keys create --name test --role {role}"));
        assert!(made.status.success(), "{made:?}");
        let engine = self.engine.lock().await;
        let address = engine.as_ref().and_then(|engine| engine.api).expect("the API is on");
        Client::new(address, text(&made.stdout).trim())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn an_invoice_and_its_receipts_are_served_to_finance_and_to_their_brand_alone() {
    let march = [("acme", "2026-03-01"); 4];
    let other = [("zeta", "2026-03-01"), ("zeta", "2026-06-01")];
    let till = Till::with(&[march.as_slice(), &other].concat()).await;
    let number = till.finalize("acme", MARCH, "40.46");
    let books = till.client("finance_read").await;
    let own = till.client("finance_read --brand acme").await;
    let foreign = till.client("finance_read --brand zeta").await;

    for reader in [&books, &own] {
        let listed = reader.get("/v1/invoices?state=finalized&day=2026-03-31").await.ok();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1);
        let invoice = reader.get(&format!("/v1/invoices/{number}")).await.ok();
        assert_eq!(invoice, listed["data"][0]);
        assert_eq!(
            (&invoice["total"], &invoice["balance"]["due"]),
            (&json!("40.46"), &json!("40.46"))
        );
        assert_eq!(invoice["period_end"], "2026-04-01");
        let body = reader.get(&format!("/v1/invoices/{number}/document")).await;
        let shown = till.run(&format!("invoices show {number} --raw"));
        assert_eq!(body.body, shown.stdout, "not the document's bytes");

        let first = reader.get(&format!("/v1/invoices/{number}/receipts?limit=3")).await.ok();
        let next = first["next"].as_str().unwrap();
        let target = format!("/v1/invoices/{number}/receipts?limit=3&starting_after={next}");
        let last = reader.get(&target).await.ok();
        let ids = |page: &serde_json::Value| -> Vec<String> {
            let rows = page["data"].as_array().unwrap();
            rows.iter().map(|row| row["receipt_id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!([ids(&first), ids(&last)].concat(), ["r-0", "r-1", "r-2", "r-3"]);
        assert_eq!((&last["has_more"], &last["next"]), (&json!(false), &json!(null)));

        let receipt = reader.get("/v1/receipts/r-2").await.ok();
        assert_eq!(receipt["entries"][0]["counted_as"], "counted");
        assert_eq!(receipt["documents"][0]["number"], json!(number));
        let proof = reader.get("/v1/brands/acme/receipts/r-2/proof").await.ok();
        let proved = till.run("receipts prove acme r-2");
        assert_eq!(proof, serde_json::from_slice::<serde_json::Value>(&proved.stdout).unwrap());
    }

    let verified = books.get(&format!("/v1/invoices/{number}/verify")).await.ok();
    assert_eq!(verified, json!({"holds": true, "leaves": "4", "differences": []}));
    assert_eq!(own.get(&format!("/v1/invoices/{number}/verify")).await.problem(), "forbidden");
    // To another brand it is as if there were no such document and no such receipt.
    for path in ["", "/document", "/receipts"] {
        let answer = foreign.get(&format!("/v1/invoices/{number}{path}")).await;
        assert_eq!(answer.problem(), "not-found");
        let missing = foreign.get(&format!("/v1/invoices/INV-1999-000001{path}")).await;
        let same = |answer: &crate::api::client::Answer, name: &str| {
            let mut body = answer.json();
            body["instance"] = json!(null);
            body.to_string().replace(name, "")
        };
        assert_eq!(same(&answer, &number), same(&missing, "INV-1999-000001"));
    }
    assert_eq!(foreign.get("/v1/invoices").await.ok()["data"], json!([]));
    assert_eq!(foreign.get("/v1/receipts/r-2").await.problem(), "not-found");
    assert_eq!(foreign.get("/v1/brands/acme/receipts/r-2/proof").await.problem(), "not-found");
    assert_eq!(foreign.get("/v1/assignments?brand=acme").await.problem(), "not-found");

    let assigned = own.get("/v1/assignments").await.ok();
    assert_eq!(assigned["data"][0]["plan"], "volume");
    let open = &books.get("/v1/unassigned?brand=zeta").await.ok()["data"][0];
    assert_eq!(
        (&open["counted"], &open["assigned"], &open["unassigned"]),
        (&json!("2"), &json!("1"), &json!("1"))
    );
    assert_eq!(open["open"][0]["first_day"], "2026-06-01");

    let taxes = books.get("/v1/reports/tax_summary").await.ok();
    let row = &taxes["data"][0];
    assert_eq!(
        (&row["country"], &row["taxable"], &row["tax"]),
        (&json!("DE"), &json!("34.00"), &json!("6.46"))
    );
    done(till.run(&format!("invoices void {number} --because wrong")));
    assert_eq!(books.get("/v1/reports/tax_summary").await.ok()["data"], json!([]));
    let voided = books.get(&format!("/v1/invoices/{number}")).await.ok();
    assert_eq!((&voided["state"], &voided["balance"]), (&json!("voided"), &json!(null)));
    let events = books.get(&format!("/v1/invoices/{number}/events")).await.ok();
    assert_eq!(events["data"][0]["kind"], "voided");
}
