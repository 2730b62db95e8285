//! Every operation of the OpenAPI document, for every role, for a key of a brand, and for nobody.

use serde_json::{Value, json};

use super::Desk;
use super::client::{Answer, Client};
use super::money::terms;
use crate::documents::{MARCH, Till};

struct Case {
    method: String,
    path: String,
    roles: Vec<String>,
    is_brand_scoped: bool,
    /// It has a query parameter `brand`.
    has_brand_filter: bool,
}

fn cases(document: &Value) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let roles = operation["x-roles"].as_array().unwrap();
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            cases.push(Case {
                method: method.to_uppercase(),
                path: path.clone(),
                roles: roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect(),
                is_brand_scoped: operation["x-brand-scoped"] == true,
                has_brand_filter: parameters
                    .iter()
                    .any(|one| one["in"] == "query" && one["name"] == "brand"),
            });
        }
    }
    cases
}

impl Case {
    /// Everything that the path names belongs to `brand-b`, or is not there.
    fn target(&self) -> String {
        let mut target = self.path.clone();
        for (name, value) in [("{brand}", "brand-b"), ("{receipt_id}", "r2"), ("{type}", "refused")]
        {
            target = target.replace(name, value);
        }
        while let Some((before, rest)) = target.clone().split_once('{') {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            target = format!("{before}999999{after}");
        }
        target
    }

    async fn call(&self, client: &Client) -> Answer {
        let body = (self.method != "GET").then(|| "{\"nothing\": 1}".to_owned());
        client.send(&self.method, &self.target(), &[], body).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_lets_exactly_its_roles_pass() {
    let desk = Desk::new().await;
    desk.count(&[("r1", "brand-a", "2026-03-01"), ("r2", "brand-b", "2026-03-01")]).await;
    let roles = ["finance_read", "finance", "operator", "admin"];
    let clients: Vec<(&str, Client)> =
        roles.iter().map(|role| (*role, desk.client(role, None))).collect();
    let own = desk.client("finance_read", Some("brand-a"));
    let document: Value = serde_json::from_str(&prooftally::api::openapi()).unwrap();
    let cases = cases(&document);
    assert!(cases.len() >= 14, "{}", cases.len());
    let mut cells = 0;
    for case in &cases {
        let name = format!("{} {}", case.method, case.path);
        let nobody = case.call(&desk.anybody()).await;
        if case.roles.is_empty() {
            assert!(nobody.status == 200 || case.path == "/readyz", "{name}: {}", nobody.text());
            continue;
        }
        assert_eq!(nobody.problem(), "unauthenticated", "{name} for nobody");
        for (role, client) in &clients {
            let answer = case.call(client).await;
            let is_let = case.roles.iter().any(|one| one == role);
            if answer.status >= 400 {
                answer.problem();
            }
            assert!(answer.status < 500, "{name} for {role}: {}", answer.text());
            assert_eq!(answer.status != 403, is_let, "{name} for {role}: {}", answer.text());
            assert_ne!(answer.status, 401, "{name} for {role}");
            cells += 1;
        }
        let answer = case.call(&own).await;
        let is_let = case.is_brand_scoped && case.roles.iter().any(|one| one == "finance_read");
        if !is_let {
            assert_eq!(answer.problem(), "forbidden", "{name} for a brand");
        } else if case.path.contains('{') {
            assert_eq!(answer.problem(), "not-found", "{name} of another brand");
        } else {
            let text = answer.text();
            assert!(answer.status == 200, "{name} for a brand: {text}");
            assert!(!text.contains("brand-b"), "{name} shows another brand: {text}");
        }
        cells += 1;
    }
    println!("{cells} cells of {} operations", cases.len());
}

/// What a path may name: the parameter, what a brand has under it, and something as long that nobody has.
type Names<'a> = [(&'static str, &'a str, &'a str)];

impl Case {
    /// The path, and its query if the brand can be filtered by, with objects of one brand or with none;
    /// `None` if it names nothing of a brand.
    fn target_of(&self, names: &Names, is_real: bool) -> Option<String> {
        let mut target = self.path.clone();
        for (name, real, missing) in names {
            target = target.replace(name, if is_real { real } else { missing });
        }
        if self.has_brand_filter {
            let (_, real, missing) = names.iter().find(|(name, ..)| *name == "{brand}")?;
            target = format!("{target}?brand={}", if is_real { real } else { missing });
        }
        for (name, value) in [("{line}", "1"), ("{period}", "2026-03-01"), ("{from}", "2026-01-01")]
        {
            target = target.replace(name, value);
        }
        (target != self.path && !target.contains('{')).then_some(target)
    }
}

/// An answer as bytes: the status, the headers apart from those that differ with each request, and the body
/// without the request's id. What was asked for is the same word in both.
fn comparable(answer: &Answer, names: &Names) -> (u16, Vec<(String, String)>, String) {
    let varies =
        |name: &str| name == "x-request-id" || name == "date" || name.starts_with("ratelimit");
    let headers = answer.headers.iter().filter(|(name, _)| !varies(name));
    let mut text = answer.text();
    if let Some(id) = answer.headers.get("x-request-id") {
        text = text.replace(id.as_str(), "");
    }
    for (name, real, missing) in names {
        text = text.replace(real, name).replace(missing, name);
    }
    (answer.status, headers.map(|(name, value)| (name.clone(), value.clone())).collect(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_brand_has_is_answered_like_what_nobody_has_byte_for_byte() {
    let receipts = [("acme", "2026-03-01"), ("zeta", "2026-03-01")];
    let till = Till::with_engine(&receipts, |config| {
        config.billing.terms = terms();
        let api = config.api.as_mut().expect("the API is on");
        (api.terms, api.requests_burst) = (terms(), 10_000);
    })
    .await;
    let finance = till.client("finance").await;
    let number = till.finalize("acme", MARCH, "36.89");
    let today = finance.get(&format!("/v1/invoices/{number}")).await.ok()["issue_date"].clone();
    let payment = json!({"amount": "10.00", "paid_on": today, "reference": "B1"});
    finance.post(&format!("/v1/invoices/{number}/payments"), payment).await.is(201);
    let favour = json!({"because": "delay", "lines": [{"line": 1, "amount": "2.00"}]});
    let note = finance.post(&format!("/v1/invoices/{number}/credit_notes"), favour).await.is(201);
    let note = note["number"].as_str().unwrap();
    let own = till.client("finance_read --brand zeta").await;
    let invoices: [(&str, &str, &str); 3] = [
        ("{brand}", "acme", "none"),
        ("{number}", &number, "INV-2026-999999"),
        ("{receipt_id}", "r-0", "r-9"),
    ];
    let notes: [(&str, &str, &str); 3] =
        [invoices[0], ("{number}", note, "CN-2026-999999"), invoices[2]];
    let document: Value = serde_json::from_str(&prooftally::api::openapi()).unwrap();
    let (mut compared, mut seen) = (0, 0);
    for case in cases(&document) {
        for names in [&invoices, &notes] {
            let (Some(real), Some(missing)) =
                (case.target_of(names, true), case.target_of(names, false))
            else {
                continue;
            };
            let body = || (case.method != "GET").then(|| "{}".to_owned());
            let answer = own.send(&case.method, &real, &[], body()).await;
            let other = own.send(&case.method, &missing, &[], body()).await;
            let name = format!("{} {real}", case.method);
            assert!([403, 404].contains(&answer.status), "{name}: {}", answer.text());
            assert_eq!(comparable(&answer, names), comparable(&other, names), "{name}");
            compared += 1;
            // Whoever may see all sees that it is there, so something is kept from the brand.
            if case.is_brand_scoped && case.method == "GET" {
                let to_finance = finance.get(&real).await;
                let is_other_kind = real.starts_with("/v1/credit_notes/INV-");
                assert_eq!(
                    to_finance.status == 200,
                    !is_other_kind,
                    "{name}: {}",
                    to_finance.text()
                );
                seen += 1;
            }
        }
    }
    // The proof of one's own receipt on another brand's document.
    let proof = |on: &str| format!("/v1/brands/zeta/receipts/r-1/proof?document={on}");
    let (real, missing) =
        (own.get(&proof(&number)).await, own.get(&proof("INV-2026-999999")).await);
    assert_eq!(comparable(&real, &invoices), comparable(&missing, &invoices));
    assert!(compared > 50 && seen > 20, "{compared} compared, {seen} of them seen by finance");
    println!("{compared} compared, {seen} of them seen by finance");
}
