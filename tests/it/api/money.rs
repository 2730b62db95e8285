//! Documents through the API: approved drafts, runs, what happens to a document afterwards, and the receipts
//! behind a line. Each verb does what the command line's does, and says who did it.

use std::time::Duration;

use prooftally::engine::billing_terms;
use prooftally::store::due::Terms;
use prooftally::store::reading::{self, Plans};
use prooftally::store::{Store, behind, documents};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::client::{Answer, Client};
use crate::documents::{APRIL, ISSUER, MARCH, PROFILE, Till, done};

/// The terms of the issuer that the command line has.
pub(super) fn terms() -> Terms {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    std::fs::write(&file, ISSUER).unwrap();
    let environment_variables = std::iter::empty();
    let source = prooftally::config::Source { file: Some(file), environment_variables };
    billing_terms(&prooftally::config::Config::load(source).unwrap().config)
}

pub(super) async fn till(receipts: &[(&str, &str)]) -> Till {
    Till::with_engine(receipts, |config| {
        config.billing.terms = terms();
        if let Some(api) = &mut config.api {
            api.terms = terms();
        }
    })
    .await
}

impl Till {
    /// How a document stood before the newest change of a subject.
    async fn before(&self, subject: &str) -> Value {
        let before: String = sqlx::query_scalar(
            "select before::text from activity where subject = $1 order by activity_no desc limit 1",
        )
        .bind(subject)
        .fetch_one(self.world.pool())
        .await
        .unwrap();
        serde_json::from_str(&before).unwrap()
    }

    /// Who made the newest change of a subject, and the row that it made.
    async fn last_change(&self, subject: &str) -> (String, Value) {
        let (made_by, after): (String, String) = sqlx::query_as(
            "select made_by, after::text from activity where subject = $1 \
             order by activity_no desc limit 1",
        )
        .bind(subject)
        .fetch_one(self.world.pool())
        .await
        .unwrap();
        (made_by, serde_json::from_str(&after).unwrap())
    }
}

async fn approved(client: &Client, target: &str, etag: &str, key: Option<&str>) -> Answer {
    let mut headers = vec![("if-match", etag)];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    client.send("POST", target, &headers, Some("{}".to_owned())).await
}

#[track_caller]
fn actions(of: &Value) -> Vec<&str> {
    let actions = of["available_actions"].as_array().unwrap();
    actions.iter().map(|action| action.as_str().unwrap()).collect()
}

const DRAFT: &str = "/v1/brands/acme/drafts/2026-03-01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn a_draft_is_issued_as_it_was_approved_and_once() {
    let till = till(&[("acme", "2026-03-01"); 4]).await;
    let finance = till.client("finance").await;
    let reader = till.client("finance_read").await;
    let finalize = format!("{DRAFT}/finalize");

    let seen = reader.get(DRAFT).await;
    let draft = seen.ok();
    assert_eq!((&draft["state"], &draft["total"]), (&json!("ready"), &json!("40.46")));
    assert_eq!(draft["lines"][1]["steps"][0]["unit_price"], "1.00");
    assert_eq!(draft["taxes"][0]["tax"], "6.46");
    assert_eq!(actions(&draft), ["refresh", "finalize", "hold"]);
    let old = seen.headers["etag"].clone();
    assert_eq!(old, format!("\"{}\"", draft["etag"].as_str().unwrap()));
    assert_eq!(finance.get("/v1/brands/acme/drafts/2026-03-02").await.problem(), "not-found");
    assert_eq!(finance.get("/v1/brands/acme/drafts/soon").await.problem(), "not-found");
    assert_eq!(finance.get("/v1/invoices/a%00b").await.problem(), "not-found");
    assert_eq!(finance.get("/v1/invoices?brand=a%00b").await.problem(), "invalid-query");
    assert_eq!(finance.get("/v1/invoices?day=-4800-01-01").await.problem(), "invalid-query");

    // Without what was approved, with nonsense, and with what has changed since.
    let post = async |body: Value| finance.post(&finalize, body).await.problem();
    assert_eq!(post(json!({})).await, "if-match-required");
    let bare = finance.send("POST", &finalize, &[], None).await;
    assert_eq!((bare.status, bare.problem().as_str()), (428, "if-match-required"));
    assert_eq!(post(json!({"expected_total": "40.47"})).await, "changed-meanwhile");
    assert_eq!(post(json!({"expected_total": 40.46})).await, "invalid-body");
    assert_eq!(post(json!({"expected_total": "4e1"})).await, "invalid-body");
    for wrong in ["*", "W/\"00\"", "\"abc\""] {
        assert_eq!(approved(&finance, &finalize, wrong, None).await.problem(), "invalid-header");
    }
    till.count("late", &[("acme", "2026-03-30")]).await;
    let moved = approved(&finance, &finalize, &old, None).await;
    assert_eq!((moved.status, moved.problem().as_str()), (412, "changed-meanwhile"));
    let seen = finance.post(&format!("{DRAFT}/refresh"), json!({})).await;
    assert_eq!(seen.ok()["total"], "38.68");
    let kept: String =
        till.scalar("select total::text from draft where period_start = '2026-03-01'").await;
    assert_eq!(kept, "38.68");
    let etag = seen.headers["etag"].clone();

    // A hold blocks it, whoever set it where.
    let hold = finance.post(&format!("{DRAFT}/hold"), json!({"because": "a dispute"})).await;
    assert_eq!(hold.status, 201, "{}", hold.text());
    let blocked = approved(&finance, &finalize, &etag, Some("one")).await;
    assert_eq!((blocked.status, blocked.problem().as_str()), (409, "blocked"));
    assert_eq!(blocked.json()["errors"][0]["code"], "hold");
    assert_eq!(reader.get("/v1/holds?brand=acme").await.ok()["data"][0]["because"], "a dispute");
    let release = format!("/v1/holds/{}/release", hold.json()["hold_no"]);
    let released = finance.post(&release, json!({"because": "settled"})).await.ok();
    assert!(released["released_by"].as_str().unwrap().ends_with("(test)"));
    assert_eq!(finance.post(&release, json!({"because": "settled"})).await.problem(), "refused");
    assert_eq!(till.last_change("hold_release").await.1["because"], "settled");
    let whole = finance.post("/v1/brands/acme/hold", json!({"because": "all of it"})).await;
    assert_eq!(reader.get(DRAFT).await.ok()["reasons"][0]["reason"], "hold");
    let release = format!("/v1/holds/{}/release", whole.json()["hold_no"]);
    finance.post(&release, json!({"because": "settled"})).await.ok();
    assert_eq!(reader.get("/v1/holds").await.ok()["data"], json!([]));
    assert_eq!(finance.post(&release, json!({"because": "a\0b"})).await.problem(), "invalid-body");

    // What was refused may be sent again under its key; what was done is answered again.
    let issued = approved(&finance, &finalize, &etag, Some("one")).await;
    assert_eq!(issued.status, 201, "{}", issued.text());
    assert_eq!(issued.headers["location"], "/v1/invoices/INV-2026-000001");
    let invoice = issued.json();
    assert_eq!(
        (&invoice["number"], &invoice["total"]),
        (&json!("INV-2026-000001"), &json!("38.68"))
    );
    let again = approved(&finance, &finalize, &etag, Some("one")).await;
    assert_eq!((again.status, again.json()), (201, invoice.clone()));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.headers["location"], "/v1/invoices/INV-2026-000001");
    // On another condition it is another request; and what never answered is not done again.
    let other = approved(&finance, &finalize, "\"other\"", Some("one")).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
    let unanswered = "update idempotency_key set status = null, answer = null, \
        began_at = now() - interval '1 hour' where key = 'one'";
    sqlx::query(unanswered).execute(till.world.pool()).await.unwrap();
    for _ in 0..2 {
        let unknown = approved(&finance, &finalize, &etag, Some("one")).await;
        assert_eq!(unknown.problem(), "idempotency-answer-not-kept");
    }
    let before = "update idempotency_key set attempt = null, done_at = null where key = 'one'";
    sqlx::query(before).execute(till.world.pool()).await.unwrap();
    let unknown = approved(&finance, &finalize, &etag, Some("one")).await;
    assert_eq!(unknown.problem(), "idempotency-outcome-unknown");
    let second = approved(&finance, &finalize, &etag, None).await;
    assert_eq!(second.problem(), "refused");
    assert!(second.text().contains("invoiced by INV-2026-000001"), "{}", second.text());
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, 1);
    assert_eq!(reader.get(DRAFT).await.problem(), "not-found");
    let (who, row) = till.last_change("document").await;
    assert_eq!((who.as_str(), &row["number"]), ("key 1 (test)", &json!("INV-2026-000001")));
    assert_eq!(invoice["finalized_by"], "key 1 (test)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_draft_that_many_finalize_at_once_is_one_document() {
    let till = till(&[("acme", "2026-03-01"); 4]).await;
    let finance = till.client("finance").await;
    let etag = finance.get(DRAFT).await.headers["etag"].clone();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (finance, etag) = (finance.clone(), etag.clone());
            tokio::spawn(async move {
                approved(&finance, &format!("{DRAFT}/finalize"), &etag, None).await
            })
        })
        .collect();
    let line = format!("invoices finalize --brand acme {MARCH} --total 40.46");
    let typed = tokio::task::block_in_place(|| till.run(&line));
    let mut issued = usize::from(typed.status.success());
    for call in calls {
        let answer = call.await.unwrap();
        match answer.status {
            201 => issued += 1,
            _ => assert_eq!(answer.problem(), "refused"),
        }
    }
    assert_eq!(issued, 1, "{typed:?}");
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, 1);
    assert_eq!(till.scalar::<i64>("select last from series where prefix = 'INV'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reason_is_answered_for_by_an_admin_and_stands_on_the_document() {
    let till = till(&[("acme", "2026-03-01"); 4]).await;
    let other =
        crate::metering::receipt("r-0", "acme").replace("CERT_VALID", "DUE_DILIGENCE_VALID");
    till.world.publish_raw("proofs.verified", [other]).await;
    till.count("none", &[]).await;
    let (finance, admin) = (till.client("finance").await, till.client("admin").await);
    let seen = finance.get(DRAFT).await;
    let draft = seen.ok();
    assert_eq!(
        (&draft["state"], &draft["reasons"][0]["reason"]),
        (&json!("blocked"), &json!("conflicts"))
    );
    assert_eq!(actions(&draft), ["refresh", "hold", "override"]);
    let target = format!("{DRAFT}/override");
    let answer = |reason: &str| json!({"reason": reason, "because": "known to the brand"});
    assert_eq!(finance.post(&target, answer("conflicts")).await.problem(), "forbidden");
    assert_eq!(admin.post(&target, answer("hold")).await.problem(), "refused");
    assert_eq!(admin.post(&target, answer("moon")).await.problem(), "refused");
    let after = admin.post(&target, answer("conflicts")).await.ok();
    assert_eq!(after["state"], "ready");
    assert_eq!(after["reasons"][0]["overridden_by"], "key 2 (test)");
    assert_eq!(till.last_change("period_override").await.0, "key 2 (test)");
    // What was approved is the document, so the answer does not change its name.
    let etag = &seen.headers["etag"];
    let issued = approved(&finance, &format!("{DRAFT}/finalize"), etag, None).await;
    assert_eq!(issued.status, 201, "{}", issued.text());
    let body = finance.get("/v1/invoices/INV-2026-000001/document").await.ok();
    assert_eq!(body["overrides"][0]["by"], "key 2 (test)");
    assert_eq!(body["overrides"][0]["because"], "known to the brand");
}

/// Nobody answers for what is to come, and what comes later speaks against the invoice again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_for_the_cases_that_were_there_when_it_was_given() {
    let till = till(&[("acme", "2026-03-01"); 4]).await;
    let (finance, admin) = (till.client("finance").await, till.client("admin").await);
    let target = format!("{DRAFT}/override");
    let answer = |cases: Option<&Value>| {
        let body = json!({"reason": "conflicts", "because": "known to the brand"});
        cases.map_or(
            body.clone(),
            |cases| json!({"reason": body["reason"], "because": body["because"], "cases": cases}),
        )
    };
    let conflict = async |id: &str| {
        let other = crate::metering::receipt(id, "acme").replace("CERT", "DUE_DILIGENCE");
        till.world.publish_raw("proofs.verified", [other]).await;
        till.count("none", &[]).await;
        finance.get(DRAFT).await.ok()
    };
    let early = admin.post(&target, answer(None)).await;
    assert_eq!(early.problem(), "refused");
    assert!(early.text().contains("nothing of conflicts speaks against"), "{}", early.text());
    let none = "select count(*) from period_override";
    assert_eq!(till.scalar::<i64>(none).await, 0);

    let first = conflict("r-0").await["reasons"][0]["cases"].clone();
    // A row of an engine before this one does not say what it is for.
    let legacy = "insert into period_override (brand_no, period_start, reason, because, made_by) \
        select brand_no, '2026-03-01', 'conflicts', 'known', 'ada' from brand returning override_no";
    till.scalar::<i64>(legacy).await;
    assert_eq!(finance.get(DRAFT).await.ok()["state"], "blocked");
    let ready = admin.post(&target, answer(Some(&first))).await.ok();
    assert_eq!((&ready["state"], &ready["reasons"][0]["cases"]), (&json!("ready"), &first));
    let noted: Value = till.scalar("select cases from period_override where override_no = 2").await;
    assert_eq!(noted, json!({"conflict": [[1, 1]]}));

    let draft = conflict("r-1").await;
    assert_eq!(draft["state"], "blocked");
    let reason = &draft["reasons"][0];
    assert_eq!((&reason["reason"], &reason["overridden_by"]), (&json!("conflicts"), &json!(null)));
    let approved = json!({"expected_total": draft["total"]});
    let blocked = finance.post(&format!("{DRAFT}/finalize"), approved.clone()).await;
    assert_eq!(blocked.problem(), "blocked");
    assert_eq!(admin.post(&target, answer(Some(&first))).await.problem(), "changed-meanwhile");
    assert_eq!(admin.post(&target, answer(Some(&json!("1")))).await.problem(), "invalid-body");
    let ready = admin.post(&target, answer(Some(&reason["cases"]))).await.ok();
    assert_eq!(ready["state"], "ready");
    // Fewer than were seen are answered for as well.
    admin.post("/v1/conflicts/1/dismiss", json!({"because": "settled"})).await.ok();
    assert_eq!(finance.get(DRAFT).await.ok()["reasons"][0]["overridden_by"], "key 2 (test)");
    finance.post(&format!("{DRAFT}/finalize"), approved).await.is(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_issues_what_was_approved_and_says_what_it_did_not() {
    let till =
        till(&[("acme", "2026-03-01"), ("bolt", "2026-03-01"), ("bolt", "2026-04-01")]).await;
    let (finance, reader) = (till.client("finance").await, till.client("finance_read").await);
    finance.post("/v1/brands/acme/hold", json!({"because": "a dispute"})).await;
    let target = "/v1/invoices/finalize";
    let seen = reader.get("/v1/invoices/due?day=2026-03-31").await;
    let due = seen.ok();
    assert_eq!((&due["count"], &due["totals"]), (&json!(1), &json!({"EUR": "36.89"})));
    assert_eq!(due["documents"][0]["brand"], "bolt");
    assert_eq!(due["blocked"][0]["period"], "2026-03-01");
    assert_eq!(due["blocked"][0]["reasons"][0]["reason"], "hold");

    let run = async |body: Value| finance.post(target, body).await;
    let day = "2026-03-31";
    assert_eq!(reader.post(target, json!({})).await.problem(), "forbidden");
    assert_eq!(run(json!({"day": day})).await.problem(), "if-match-required");
    assert_eq!(run(json!({"day": day, "expected_count": 1})).await.problem(), "if-match-required");
    let wrong = json!({"day": day, "expected_count": 2, "expected_total": "36.89"});
    assert_eq!(run(wrong).await.problem(), "changed-meanwhile");
    // It is named by all that is due, so without the day it is another one.
    let etag = &seen.headers["etag"];
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, 0);
    let headers = [("if-match", etag.as_str()), ("idempotency-key", "run")];
    let body = Some(json!({"day": day}).to_string());
    let answer = finance.send("POST", target, &headers, body.clone()).await.ok();
    assert_eq!(
        answer["issued"],
        json!([{"brand": "bolt", "number": "INV-2026-000001",
        "document_no": 1, "total": "36.89"}])
    );
    assert_eq!((&answer["blocked_count"], &answer["failed_count"]), (&json!(1), &json!(0)));
    assert_eq!(answer["blocked"][0]["brand"], "acme");
    assert_eq!(finance.send("POST", target, &headers, body).await.ok(), answer);
    assert_eq!(till.last_change("document").await.0, "key 1 (test)");

    // The periods, due and invoiced, page by page.
    let rows = async |query: &str| reader.get(&format!("/v1/periods?{query}")).await.ok();
    let row = |row: &Value| json!([row["brand"], row["period"], row["state"], row["document"]]);
    let all = rows("limit=200").await;
    let expected = json!([
        ["acme", "2026-03-01", "blocked", null],
        ["acme", "2026-04-01", "blocked", null],
        ["bolt", "2026-03-01", "invoiced", "INV-2026-000001"],
        ["bolt", "2026-04-01", "ready", null],
    ]);
    let listed: Value = all["data"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(listed, expected);
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = rows(&format!("limit=1{after}")).await;
        paged.extend(page["data"].as_array().unwrap().iter().map(row));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&starting_after={next}");
    }
    assert_eq!(Value::from(paged), expected);
    assert_eq!(rows("reason=hold&day=2026-04-02").await["data"][0]["period"], "2026-04-01");
    assert_eq!(rows("state=ready").await["data"].as_array().unwrap().len(), 1);
    assert_eq!(rows("brand=bolt&state=invoiced").await["data"][0]["total"], "36.89");
    assert_eq!(reader.get("/v1/periods?state=odd").await.problem(), "invalid-query");
    assert_eq!(reader.get("/v1/periods?starting_after=x").await.problem(), "invalid-query");
    let one = reader.get("/v1/brands/acme/periods/2026-04-01").await.ok();
    let reasons: Vec<&Value> =
        one["reasons"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    assert_eq!(reasons, ["earlier_period", "hold"]);
    let invoiced = reader.get("/v1/brands/bolt/periods/2026-03-01").await.ok();
    assert_eq!(invoiced["document"], "INV-2026-000001");
    assert_eq!(reader.get("/v1/brands/bolt/periods/2026-05-01").await.problem(), "not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn what_happens_to_a_document_follows_from_its_state_and_says_who() {
    let till = till(&[("acme", "2026-03-01"), ("acme", "2026-04-02")]).await;
    let (finance, own) =
        (till.client("finance").await, till.client("finance_read --brand acme").await);
    let first = till.finalize("acme", MARCH, "36.89");
    let at = |number: &str, verb: &str| format!("/v1/invoices/{number}{verb}");
    let invoice = async |number: &str| finance.get(&at(number, "")).await.ok();
    let because = json!({"because": "wrong price"});
    assert_eq!(
        actions(&invoice(&first).await),
        ["void", "cancel", "mark_sent", "credit", "pay", "write_off"]
    );
    assert_eq!(own.post(&at(&first, "/void"), because.clone()).await.problem(), "forbidden");
    assert_eq!(finance.post(&at(&first, "/void"), json!({})).await.problem(), "invalid-body");
    assert_eq!(
        finance.post(&at("INV-1999-000001", "/void"), because.clone()).await.problem(),
        "not-found"
    );
    let voided = finance.post(&at(&first, "/void"), because.clone()).await.ok();
    assert_eq!((&voided["state"], actions(&voided)), (&json!("voided"), Vec::new()));
    let (who, row) = till.last_change("document_event").await;
    assert_eq!((who.as_str(), &row["because"]), ("key 1 (test)", &json!("wrong price")));
    let before = till.before("document_event").await;
    assert_eq!((&before["state"], &before["number"]), (&json!("finalized"), &json!(first)));
    for verb in ["/void", "/cancel", "/sent", "/write_off"] {
        let body = if verb == "/sent" { json!({}) } else { because.clone() };
        let answer = finance.post(&at(&first, verb), body).await;
        assert_eq!(answer.problem(), "refused", "{verb}");
    }
    let day = chrono::Utc::now().date_naive();
    let payment = |amount: &str, reference: &str| json!({"amount": amount, "paid_on": day, "reference": reference});
    assert_eq!(
        finance.post(&at(&first, "/payments"), payment("1.00", "B0")).await.problem(),
        "refused"
    );

    // Its period is open again. The new one is sent, paid in part, credited in part, and cancelled.
    let number = till.finalize("acme", MARCH, "36.89");
    let sent = finance.post(&at(&number, "/sent"), json!({"note": "by mail"})).await.ok();
    assert_eq!(sent["is_delivered"], true);
    assert_eq!(actions(&sent), ["cancel", "credit", "pay", "write_off"]);
    finance.send("POST", &at(&number, "/sent"), &[], None).await.ok();
    assert_eq!(finance.post(&at(&number, "/void"), because.clone()).await.problem(), "refused");

    let payments = at(&number, "/payments");
    let paid = finance.post(&payments, payment("30.00", "B1")).await;
    assert_eq!((paid.status, &paid.json()["made_by"]), (201, &json!("key 1 (test)")));
    assert_eq!(till.last_change("payment").await.1["reference"], "B1");
    assert_eq!(finance.post(&payments, payment("30", "B1")).await.status, 200);
    assert_eq!(finance.post(&payments, payment("31.00", "B1")).await.problem(), "refused");
    for no_amount in ["0.001", "0", "", "1e2"] {
        let answer = finance.post(&payments, payment(no_amount, "B2")).await;
        assert_eq!(answer.problem(), "invalid-body", "{no_amount}");
    }
    let far = json!({"amount": "1.00", "paid_on": "-4800-01-01", "reference": "B2"});
    assert_eq!(finance.post(&payments, far).await.problem(), "invalid-body");
    let listed = finance.get(&payments).await.ok();
    assert_eq!(
        (listed["data"].as_array().unwrap().len(), &listed["data"][0]["amount"]),
        (1, &json!("30.00"))
    );
    let balance = &invoice(&number).await["balance"];
    assert_eq!(
        *balance,
        json!({"state": "partly_paid", "credited": "0.00", "paid": "30.00", "due": "6.89"})
    );

    let favour =
        |amount: &str| json!({"because": "delay", "lines": [{"line": 1, "amount": amount}]});
    let notes = at(&number, "/credit_notes");
    assert_eq!(finance.post(&notes, favour("30.01")).await.problem(), "refused");
    // What is wrong by itself is another problem than what the invoice stands against.
    let line = json!({"line": 1, "amount": "1.00"});
    let twice = json!({"because": "delay", "lines": [line, line]});
    let none = json!({"because": "delay", "lines": []});
    for body in [favour("2.005"), favour("0.00"), favour("2,00"), none, twice] {
        let answer = finance.post(&notes, body.clone()).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "invalid-body"), "{body}");
    }
    let note = finance.post(&notes, favour("2.00")).await;
    assert_eq!((note.status, &note.json()["total"]), (201, &json!("2.38")), "{}", note.text());
    assert_eq!(note.headers["location"], "/v1/credit_notes/CN-2026-000001");
    let note = own.get("/v1/credit_notes/CN-2026-000001").await.ok();
    assert_eq!((&note["cause"], actions(&note)), (&json!("goodwill"), vec!["void", "mark_sent"]));
    assert_eq!(finance.get(&format!("/v1/credit_notes/{number}")).await.problem(), "not-found");
    assert_eq!(till.last_change("document").await.0, "key 1 (test)");
    assert_eq!(
        finance.post(&at("CN-2026-000001", "/cancel"), because.clone()).await.problem(),
        "refused"
    );

    let off = finance.post(&at(&number, "/write_off"), because.clone()).await.ok();
    assert_eq!(
        (&off["balance"]["state"], &off["balance"]["due"]),
        (&json!("written_off"), &json!("4.51"))
    );
    let cancelled = finance.post(&at(&number, "/cancel"), because.clone()).await.ok();
    assert_eq!(cancelled["invoice"]["state"], "cancelled");
    assert_eq!(cancelled["credit_note"]["total"], "34.51");
    assert_eq!(actions(&cancelled["invoice"]), ["pay"]);
    // Nothing is owed, and what was paid is to be paid back.
    let total = &cancelled["invoice"]["total"];
    assert_eq!(
        cancelled["invoice"]["balance"],
        json!({"state": "paid", "credited": total, "paid": "30.00", "due": "-30.00"})
    );
    let owed = || async { finance.get("/v1/reports/ageing").await.ok()["data"][0].clone() };
    assert_eq!(owed().await["owed_to_buyers"], "30.00");
    assert_eq!(finance.post(&at(&number, "/cancel"), because).await.problem(), "refused");
    // What was paid is paid back.
    assert_eq!(finance.post(&payments, payment("-30.00", "B3")).await.status, 201);
    let before = till.before("payment").await;
    assert_eq!((&before["state"], &before["paid"]), (&json!("cancelled"), &json!("30.00")));
    let settled = &invoice(&number).await["balance"];
    assert_eq!((&settled["paid"], &settled["due"]), (&json!("0.00"), &json!("0.00")));
    assert_eq!(finance.get("/v1/invoices?payment=paid").await.ok()["data"], json!([]));
    assert_eq!(till.scalar::<i64>("select sum(amount)::bigint from billed").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_has_the_arithmetic_and_is_what_the_command_line_shows() {
    let till =
        till(&[("acme", "2026-03-01"), ("acme", "2026-03-20"), ("acme", "2026-04-02")]).await;
    let reader = till.client("finance_read").await;
    let preview = async |query: &str| reader.get(&format!("/v1/brands/acme/preview?{query}")).await;
    let month = preview("period=2026-03").await.ok();
    let march = &month["data"][0];
    let shown = till.json("invoices preview --brand acme --period 2026-03");
    for field in ["receipts", "net_total", "tax_total", "total", "plan", "plan_version"] {
        assert_eq!(march[field], shown[field], "{field}");
    }
    assert_eq!(march["lines"][1]["explanation"], shown["lines"][1]["arithmetic"]);
    assert_eq!(march["lines"][1]["steps"][0]["amount"], "2.00");
    assert_eq!((&march["period_end"], &march["total"]), (&json!("2026-04-01"), &json!("38.08")));
    assert_eq!(preview("period=2026-03-31&at=2026-03-10").await.ok()["data"][0]["receipts"], "1");
    let about = preview("period=2026-03-31&at=2026-03-10&project=true").await.ok();
    assert_eq!(
        (&about["data"][0]["is_projected"], &about["data"][0]["receipts"]),
        (&json!(true), &json!("3"))
    );
    assert_eq!(preview("period=soon").await.problem(), "invalid-query");
    assert_eq!(preview("period=2026-03&at=2026-02-01").await.problem(), "invalid-query");
    assert_eq!(preview("at=%2B90000-02-01").await.problem(), "invalid-query");
    assert_eq!(preview("period=2026-12").await.problem(), "not-found");
    assert_eq!(reader.get("/v1/brands/zeta/preview").await.problem(), "not-found");
}

/// Products are counted first; what carries none, and what is no certificate, is left to the second charge.
const TWO: &str = r#"
name = "two"
currency = "EUR"
cadence = "monthly"

[[charge]]
name = "Products"
predicate = "CERT_VALID@*"
meter = "distinct_products"
model = "per_unit"
unit_price = "1.00"

[[charge]]
name = "Rest"
predicate = "*@*"
model = "per_unit"
unit_price = "0.10"
"#;

async fn ids(client: &Client, target: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{target}?limit=2{after}")).await.ok();
        let rows = page["data"].as_array().unwrap();
        let name = |row: &Value| {
            let as_what = row["counted_as"].as_str().unwrap();
            let id = row["receipt_id"].as_str().unwrap();
            if as_what == "voided" { format!("-{id}") } else { id.to_owned() }
        };
        found.extend(rows.iter().map(name));
        let Some(next) = page["next"].as_str() else { return found };
        after = format!("&starting_after={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_leads_to_exactly_the_receipts_that_its_charge_took() {
    let till = till(&[("acme", "2026-03-01"), ("zeta", "2026-03-01")]).await;
    let event = |id: &str, predicate: &str, product: &str| {
        format!(
            r#"{{"receiptId":"{id}","predicateId":"{predicate}","brandId":"both"{product},"result":false,"verifiedAt":"2026-03-01T10:00:00Z"}}"#
        )
    };
    let shirt = r#","productRef":"shirt""#;
    let events = [
        event("p1", "CERT_VALID@V1", shirt),
        event("n1", "CERT_VALID@V1", ""),
        event("p2", "CERT_VALID@V2", shirt),
        event("d1", "DUE_DILIGENCE_VALID@V1", shirt),
        event("p3", "CERT_VALID@V1", r#","productRef":"=hat""#),
    ];
    till.world.publish_raw("proofs.verified", events).await;
    till.count("none", &[]).await;
    let plan = till.file("two.toml", TWO);
    done(till.run(&format!("plans apply {plan} --effective-from 2026-01-01")));
    till.assign("both", "two", "2026-03-01 --until 2026-05-01");
    let profile = till.file("profile.toml", PROFILE);
    done(till.run(&format!("brands profile set both -f {profile}")));
    done(till.run("brands tax set both --from 2026-01-01 --category S --rate 19"));
    let first = till.finalize("both", MARCH, "2.62");
    let (own, foreign) = (
        till.client("finance_read --brand both").await,
        till.client("finance_read --brand zeta").await,
    );
    let line = |number: &str, line: u32| format!("/v1/invoices/{number}/lines/{line}/receipts");
    assert_eq!(ids(&own, &line(&first, 1)).await, ["p1", "p2", "p3"]);
    assert_eq!(ids(&own, &line(&first, 2)).await, ["n1", "d1"]);
    assert_eq!(own.get(&line(&first, 3)).await.problem(), "not-found");
    assert_eq!(own.get(&line(&first, 0)).await.problem(), "not-found");
    assert_eq!(foreign.get(&line(&first, 1)).await.problem(), "not-found");

    // What comes late, and what is taken back, is behind the line of the document that charges it.
    till.world.publish_raw("proofs.verified", [event("p4", "CERT_VALID@V1", shirt)]).await;
    till.count("none", &[]).await;
    done(till.run("receipts void both d1 --because test"));
    let second = till.finalize("both", APRIL, "0.12");
    assert!(second.starts_with("CN-"), "{second}");
    let lines = till.json(&format!("invoices show {second}"))["document"]["lines"].clone();
    for (at, shown) in (1..).zip(lines.as_array().unwrap()) {
        let expected = match shown["key"].as_str().unwrap() {
            "charge:1" => ["p4"],
            _ => ["-d1"],
        };
        assert_eq!(ids(&own, &line(&second, at)).await, expected, "{shown}");
    }
    // A line of a credit note has those of the line that it credits; a fee has none.
    done(till.run(&format!("credit-notes create {first} --line 2=0.10 --because delay")));
    assert_eq!(ids(&own, &line("CN-2026-000002", 1)).await, ["n1", "d1"]);
    let of_acme = till.finalize("acme", MARCH, "36.89");
    let finance = till.client("finance").await;
    assert_eq!(ids(&finance, &line(&of_acme, 1)).await, Vec::<String>::new());

    let csv = own.get(&format!("/v1/invoices/{first}/receipts?format=csv")).await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let rows: Vec<String> = csv.text().lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 6, "{rows:?}");
    assert!(rows[0].starts_with("entry,receipt_id,brand,counted_as,usage_day,predicate"));
    assert!(
        rows[5].contains(",p3,both,counted,2026-03-01,CERT_VALID@V1,,'=hat,false,"),
        "{}",
        rows[5]
    );
    let target = format!("/v1/invoices/{first}/receipts?format=csv");
    assert_eq!(foreign.get(&target).await.problem(), "not-found");
    check_plans(&till.world.store, &first).await;
}

/// The check that a document is found by a plan that is kept, and that before the ledger is read plans are for the
/// values that are asked for: a plan for any brand would read all of them.
async fn check_plans(store: &Store, number: &str) {
    const FOR_VALUES: &str = "force_custom_plan, seqscan on";
    let timeout = Duration::from_secs(5);
    let mode = async |snapshot: &mut PgConnection| -> String {
        let settings = "select current_setting('plan_cache_mode') || ', seqscan ' \
            || current_setting('enable_seqscan')";
        sqlx::query_scalar(settings).fetch_one(snapshot).await.unwrap()
    };
    for way in ["document", "line", "stream"] {
        let mut snapshot = reading::begin(store, None, timeout, Plans::Kept).await.unwrap();
        let found = documents::find(&mut *snapshot, number, None).await.unwrap().unwrap();
        assert_eq!(mode(&mut snapshot).await, "auto, seqscan off", "{way}");
        match way {
            "document" => {
                behind::document(&mut snapshot, None, found.document_no, 0, 1).await.unwrap();
            }
            "line" => {
                behind::scope(&mut snapshot, found.document_no, 1).await.unwrap().unwrap();
            }
            _ => {
                reading::extend(&mut snapshot, timeout, None).await.unwrap();
            }
        }
        assert_eq!(mode(&mut snapshot).await, FOR_VALUES, "{way}");
    }
    let mut snapshot = reading::begin(store, None, timeout, Plans::ForValues).await.unwrap();
    assert_eq!(mode(&mut snapshot).await, FOR_VALUES);
    drop(snapshot);

    // PostgreSQL plans for values five times before it keeps a plan.
    let mut snapshot = reading::begin(store, None, timeout, Plans::Kept).await.unwrap();
    for _ in 0..8 {
        documents::find(&mut *snapshot, number, None).await.unwrap().unwrap();
    }
    let kept: i64 = sqlx::query_scalar(
        "select max(generic_plans) from pg_prepared_statements \
         where statement like '%where d.document_no = %'",
    )
    .fetch_one(&mut *snapshot)
    .await
    .unwrap();
    assert!(kept > 0, "the plan is made anew each time");
}
