//! Every operation of the OpenAPI document, for every role, for a key of a brand, and for nobody.

use serde_json::Value;

use super::Desk;
use super::client::{Answer, Client};

struct Case {
    method: String,
    path: String,
    roles: Vec<String>,
    is_brand_scoped: bool,
}

fn cases(document: &Value) -> Vec<Case> {
    let mut cases = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let roles = operation["x-roles"].as_array().unwrap();
            cases.push(Case {
                method: method.to_uppercase(),
                path: path.clone(),
                roles: roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect(),
                is_brand_scoped: operation["x-brand-scoped"] == true,
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
