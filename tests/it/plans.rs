//! Plans: cases that finance keeps, versions that never change, usage that nothing prices.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use chrono::NaiveDate;
use prooftally::store::plans::{self, Next};
use serde_json::{Value, json};

use crate::harness::engine_process::PROGRAM;
use crate::harness::{World, wait_for};
use crate::metering::receipt;

mod withdrawing;

const FIRST: &str = r#"
name = "zkdpp-standard"
currency = "EUR"
cadence = "monthly"

[[charge]]
name = "Certificate"
predicate = "CERT_VALID@V1"
model = "per_unit"
unit_price = "0.03"
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with these files, by name and text.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder for the test");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("it can be written");
    }
    folder
}

/// Runs `plans test` where there is no database.
fn test(file: PathBuf, output: &str) -> Output {
    Command::new(PROGRAM)
        .args(["plans", "test", "--output", output, "-f"])
        .arg(file)
        .env("PROOFTALLY__DATABASE__URL", "postgres://postgres@127.0.0.1:1/nothing")
        .output()
        .expect("the program of this build starts")
}

fn rows(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// A database with the schema, and a folder with `plan.toml`.
async fn migrated(plan: &str) -> (World, tempfile::TempDir, String) {
    let world = World::new().await;
    world.store.migrate().await.expect("the schema is made");
    let folder = folder(&[("plan.toml", plan)]);
    let file = folder.path().join("plan.toml").display().to_string();
    (world, folder, file)
}

#[test]
fn the_cases_of_the_price_list_hold_without_a_database() {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/plans/zkdpp-standard.cases.toml");
    let answer = test(file.clone(), "table");
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    assert_eq!(text(&answer.stderr), "12 cases hold\n");
    assert_eq!(rows(&test(file, "json")), json!([]));
}

/// `prooftally … | head`: whoever reads may stop, and that is no failure.
#[test]
fn a_closed_pipe_is_quiet() {
    let file =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/plans/zkdpp-standard.cases.toml");
    let file = file.display().to_string();
    for arguments in [
        &["config", "show"][..],
        &["plans", "test", "--output", "json", "-f", &file],
        &["plans", "test", "--output", "csv", "-f", &file],
    ] {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program of this build starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(!text(&output.stderr).contains("pipe"), "{output:?}");
    }
}

#[test]
fn a_case_that_fails_is_exit_code_1_and_a_row() {
    let cases = "plan = \"plan.toml\"\n[[price]]\ncase = \"too dear\"\nfirst_day = \"2026-09-01\"\n\
        usage = [{ predicate = \"CERT_VALID@V1\", receipts = 30 }]\nnet_total = \"0.93\"\n";
    let folder = folder(&[("plan.toml", FIRST), ("cases.toml", cases)]);
    let answer = test(folder.path().join("cases.toml"), "json");
    assert_eq!(answer.status.code(), Some(1));
    assert!(text(&answer.stderr).contains("1 of 1 cases"), "{answer:?}");
    let expected =
        json!([{"case": "too dear", "what": "net_total", "expected": "0.93", "got": "0.90"}]);
    assert_eq!(rows(&answer), expected);
    let table = text(&test(folder.path().join("cases.toml"), "table").stdout);
    assert!(table.contains("too dear") && table.contains("0.93"), "{table}");
}

#[test]
fn a_case_file_that_cannot_be_used_is_refused_with_its_line() {
    let wrong =
        "plan = \"none.toml\"\n[[price]]\ncase = \"c\"\nfirst_day = \"2026-09-01\"\nlines = []";
    let folder = folder(&[("cases.toml", wrong)]);
    let answer = test(folder.path().join("cases.toml"), "table");
    assert_eq!(answer.status.code(), Some(5));
    let why = text(&answer.stderr);
    assert!(why.contains("line 1: plan \"none.toml\" cannot be read"), "{why}");
    let missing = test(folder.path().join("other.toml"), "table");
    assert_eq!(missing.status.code(), Some(4), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_added_in_order_and_say_what_they_change() {
    let (world, _folder, file) = migrated(FIRST).await;
    let apply = |more: &[&str]| {
        let arguments = [&["plans", "apply", &file, "--output", "json"], more].concat();
        world.prooftally(&arguments)
    };
    let list = || rows(&world.prooftally(&["plans", "list", "--output", "json"]));

    let undated = apply(&[]);
    assert_eq!(undated.status.code(), Some(5), "{undated:?}");
    assert!(text(&undated.stderr).contains("first version of zkdpp-standard needs effective_from"));
    let far = apply(&["--effective-from", "9999-12-31"]);
    assert_eq!(far.status.code(), Some(5), "{far:?}");
    assert!(text(&far.stderr).contains("more than two years ahead"), "{far:?}");
    let dry = apply(&["--dry-run", "--effective-from", "2026-01-01"]);
    assert!(dry.status.success(), "{dry:?}");
    assert_eq!(list(), json!([]));
    let first = apply(&["--effective-from", "2026-01-01"]);
    assert!(text(&first.stderr).contains("version 1 of zkdpp-standard is in force"), "{first:?}");
    assert_eq!(rows(&first), rows(&dry));

    let moved = apply(&["--effective-from", "2026-02-01"]);
    assert_eq!(moved.status.code(), Some(5), "{moved:?}");
    assert!(text(&moved.stderr).contains("2026-01-01, which does not change"), "{moved:?}");
    let again = apply(&["--effective-from", "2026-01-01"]);
    assert!(again.status.success() && again.stdout.is_empty(), "{again:?}");
    assert!(text(&again.stderr).contains("nothing to change"), "{again:?}");

    let second = FIRST.replace("0.03", "0.04");
    std::fs::write(&file, &second).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let refused = apply(&[more, &["--effective-from", "2026-01-01"]].concat());
        assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    }
    let dry = apply(&["--dry-run", "--effective-from", "2026-03-01"]);
    let change = json!([{
        "change": "changed", "what": "charge \"Certificate\": price",
        "before": "per_unit 0.03", "after": "per_unit 0.04",
    }]);
    assert_eq!(rows(&dry), change);
    assert_eq!(rows(&apply(&["--effective-from", "2026-03-01"])), change);

    let listed = list();
    let from: Vec<&Value> =
        listed.as_array().unwrap().iter().map(|v| &v["effective_from"]).collect();
    assert_eq!(from, ["2026-01-01", "2026-03-01"]);
    let show = |more: &[&str]| {
        let arguments = [&["plans", "show", "zkdpp-standard"], more].concat();
        world.prooftally(&arguments)
    };
    assert_eq!(text(&show(&[]).stdout), second);
    assert_eq!(text(&show(&["--version", "1"]).stdout), FIRST);
    assert_eq!(show(&["--version", "3"]).status.code(), Some(4));
    assert_eq!(world.prooftally(&["plans", "show", "none"]).status.code(), Some(4));

    std::fs::write(&file, FIRST.replace("EUR", "Euro")).unwrap();
    let refused = apply(&[]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(text(&refused.stderr).contains("line 3"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_versions_as_they_are() {
    let (world, _folder, file) = migrated(FIRST).await;
    let applied = world.prooftally(&["plans", "apply", &file, "--effective-from", "2026-01-01"]);
    assert!(applied.status.success(), "{applied:?}");
    let insert = |version: i32, day: &str, hash: &str| {
        format!(
            "insert into plan_version (plan_name, version, effective_from, source, sha256, \
             applied_by) values ('zkdpp-standard', {version}, '{day}', 'x', {hash}, 'test')"
        )
    };
    let good = "encode(sha256('x'), 'hex')";
    for (statement, why) in [
        ("update plan_version set effective_from = '2020-01-01'".to_owned(), "never changed"),
        ("delete from plan_version".to_owned(), "never changed"),
        ("truncate plan_version cascade".to_owned(), "never changed"),
        (insert(3, "2026-02-01", good), "does not follow"),
        (insert(2, "2026-01-01", good), "not after version 1"),
        (insert(2, "2026-02-01", "'00'"), "plan_version_hash"),
    ] {
        let refused = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
            .execute(world.pool())
            .await
            .expect_err(&statement)
            .to_string();
        assert!(refused.contains(why), "{statement}: {refused}");
    }
    let accepted = insert(2, "2026-02-01", good);
    sqlx::raw_sql(sqlx::AssertSqlSafe(accepted)).execute(world.pool()).await.unwrap();
}

/// Whoever comes first, each version follows the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_applied_at_once_stand_in_line() {
    let (world, _folder, _) = migrated(FIRST).await;
    let apply = |day: u32| {
        let pool = world.pool().clone();
        tokio::spawn(async move {
            let from = NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
            let source = format!("{FIRST}# from day {day}\n");
            plans::apply(&pool, "zkdpp-standard", &source, from, "test").await.unwrap()
        })
    };
    let tasks: Vec<_> = [5, 3, 8, 1, 7, 2, 6, 4].into_iter().map(apply).collect();
    let mut added = 0;
    for task in tasks {
        match task.await.unwrap() {
            Next::Version { .. } => added += 1,
            Next::NotLater(_) => {}
            Next::Same(version) => panic!("no two texts are the same: {version:?}"),
        }
    }
    let versions = plans::versions(world.pool(), None).await.unwrap();
    assert_eq!(versions.len(), added);
    assert!(versions.iter().map(|version| version.version).eq(1..=i32::try_from(added).unwrap()));
    assert!(versions.is_sorted_by(|one, next| one.effective_from < next.effective_from));
    // The latest day can only be refused if it is there already.
    assert_eq!(versions.last().unwrap().effective_from, "2026-01-08".parse().unwrap());
}

/// Thirty certificates in March 2026; version 1 is in force from February, version 2 from within
/// March, so it waits for April.
#[tokio::test(flavor = "multi_thread")]
async fn a_preview_takes_the_version_in_force_on_the_first_day() {
    let (world, _folder, file) = migrated(&FIRST.replace("0.03", "0.50")).await;
    let events = (0..30).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", events).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let net_total = || {
        let preview = world.prooftally(&[
            "invoices",
            "preview",
            "--brand",
            "acme",
            "--period",
            "2026-03",
            "--plan",
            "zkdpp-standard",
            "--output",
            "json",
        ]);
        rows(&preview)["net_total"].clone()
    };
    let apply = |day: &str| {
        let answer = world.prooftally(&["plans", "apply", &file, "--effective-from", day]);
        assert!(answer.status.success(), "{answer:?}");
    };
    assert_eq!(net_total(), "0.90");
    apply("2026-02-15");
    assert_eq!(net_total(), "15.00");
    std::fs::write(&file, FIRST.replace("0.03", "0.70")).unwrap();
    apply("2026-03-02");
    assert_eq!(net_total(), "15.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_that_no_charge_takes_is_listed() {
    let plan = FIRST.replace("CERT_VALID@V1\"", "CERT_VALID@V1\"\nmeter = \"distinct_suppliers\"");
    let (world, _folder, file) = migrated(&plan).await;
    let event = |id: &str, brand: &str, predicate: &str, day: &str, supplier: &str| {
        receipt(id, brand)
            .replace("CERT_VALID@V1", predicate)
            .replace("2026-03-01", day)
            .replace("\"mill\"", supplier)
    };
    let events = [
        event("r-1", "acme", "CERT_VALID@V1", "2026-03-01", "\"mill\""),
        event("r-2", "acme", "CERT_VALID@V9", "2026-03-03", "\"mill\""),
        event("r-3", "acme", "CERT_VALID@V9", "2026-04-02", "\"mill\""),
        event("r-4", "bolt", "DUE_DILIGENCE_VALID@V1", "2026-03-05", "\"mill\""),
        event("r-5", "bolt", "CERT_VALID@V1", "2026-03-06", "null"),
    ];
    world.publish_raw("proofs.verified", events).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let unpriced = |more: &[&str]| {
        let arguments = [&["plans", "unpriced", "--output", "csv"], more].concat();
        world.prooftally(&arguments)
    };
    let head = "brand,predicate,result,receipts,first_day,last_day\r\n";
    let by_file = "acme,CERT_VALID@V9,true,2,2026-03-03,2026-04-02\r\n";
    assert_eq!(text(&unpriced(&[]).stdout), format!("{head}{by_file}"));
    let nothing = unpriced(&["--plan", "none"]);
    assert_eq!(nothing.status.code(), Some(4), "{nothing:?}");
    // From here on only certificates with a supplier have a price.
    let applied = world.prooftally(&["plans", "apply", &file, "--effective-from", "2026-03-01"]);
    assert!(applied.status.success(), "{applied:?}");
    let by_version = "bolt,CERT_VALID@V1,true,1,2026-03-06,2026-03-06\r\n\
        bolt,DUE_DILIGENCE_VALID@V1,true,1,2026-03-05,2026-03-05\r\n";
    assert_eq!(text(&unpriced(&[]).stdout), format!("{head}{by_file}{by_version}"));
}
