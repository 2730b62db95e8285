//! The walk through the API in README.md, word for word.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{MARCH, Till, done, text};

const HEADING: &str = "### The API in ten lines";

/// The first fenced block below the heading.
fn block(readme: &str) -> &str {
    let (_, section) = readme.split_once(HEADING).expect("README.md has the section");
    let (_, rest) = section.split_once("```sh\n").expect("the section has a block");
    rest.split_once("```\n").expect("the block ends").0
}

/// What the walk needs of curl, for machines that have Python alone.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import shutil, sys, urllib.error, urllib.request
_, options, dash_h, header, url = sys.argv
assert (options, dash_h) == ("-fsS", "-H")
name, value = header.split(": ", 1)
try:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers={name: value})) as answer:
        shutil.copyfileobj(answer, sys.stdout.buffer)
except urllib.error.HTTPError as error:
    sys.exit(f"curl: (22) The requested URL returned error: {error.code}")
"#;

/// Puts the stand-in into the folder if there is no curl.
fn stand_in(folder: &Path) {
    if Command::new("curl").arg("--version").output().is_ok() {
        return;
    }
    let file = folder.join("curl");
    std::fs::write(&file, STAND_IN).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_of_the_readme_works_as_it_stands() {
    let till = Till::with(&[("acme", "2026-03-01"); 4]).await;
    let number = till.finalize("acme", MARCH, "40.46");
    let key = till.client("finance").await;
    let readme = std::fs::read_to_string("README.md").unwrap();
    let (address, secret) = ("http://127.0.0.1:9465", "pt_YOUR_KEY");
    let walk = block(&readme);
    assert_eq!(walk.lines().count(), 10, "ten lines");
    assert_eq!((walk.matches(address).count(), walk.matches(secret).count()), (1, 1));
    let script = walk.replace(address, "$API").replace(secret, "$KEY");
    let folder = tempfile::tempdir().unwrap();
    stand_in(folder.path());
    let script = format!("PATH=\"$STAND_IN:$PATH\"\n{script}");
    let run = Command::new("sh")
        .args(["-euc", &script])
        .env("STAND_IN", folder.path())
        .env("API", format!("http://{}", key.address))
        .env("KEY", key.key.as_deref().unwrap())
        .env("no_proxy", "*")
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");

    let said = text(&run.stdout);
    let (me, rest) = said.split_once('\n').unwrap();
    let (usage, rest) = rest.split_once("\r\n\n").unwrap();
    let answers: Vec<Value> =
        rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [unbilled, invoice, document, receipt, ageing] = &answers[..] else {
        panic!("{} answers: {said}", answers.len())
    };
    let me: Value = serde_json::from_str(me).unwrap();
    assert_eq!(me["roles"], json!(["finance"]));
    assert_eq!(usage, "month,predicate,receipts,duplicates\r\n2026-03-01,CERT_VALID@V1,4,0");
    // March is charged, April has its fixed fee.
    assert_eq!(unbilled["totals"], json!([{"currency": "EUR", "total": "30.00"}]));
    assert_eq!((&invoice["number"], &invoice["state"]), (&json!(number), &json!("finalized")));
    assert_eq!(invoice["balance"]["due"], "40.46");
    assert_eq!((&document["number"], &document["total"]), (&json!(number), &json!("40.46")));
    assert_eq!(receipt["documents"][0]["number"], json!(number));
    assert_eq!(receipt["entries"][0]["counted_as"], "counted");
    assert_eq!(ageing["data"][0]["current"], "40.46");

    // Without a good key the first request ends it.
    let refused = Command::new("sh")
        .args(["-euc", &script])
        .env("STAND_IN", folder.path())
        .env("API", format!("http://{}", key.address))
        .env("KEY", "pt_000000000000_0")
        .output()
        .unwrap();
    assert!(text(&refused.stderr).contains("401"), "{refused:?}");
    done(till.run("invoices verify --all"));
}
