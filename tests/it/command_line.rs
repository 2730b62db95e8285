//! The command line as a person meets it: outputs, refusals, exit codes.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::harness::engine_process::PROGRAM;
use crate::harness::world::{admin, metrics};
use crate::harness::{World, wait_for};
use crate::metering::receipt;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the program of this build starts")
}

#[test]
fn a_wrong_key_is_refused_with_the_nearest_one() {
    let answer = run(&["config", "check"], &[("PROOFTALLY__NATS__URLL", "nats://x")]);
    assert_eq!(answer.status.code(), Some(3));
    let text = text(&answer.stderr);
    let expected = "unknown variable PROOFTALLY__NATS__URLL: did you mean PROOFTALLY__NATS__URL?";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn secrets_are_not_shown() {
    let url = "postgres://meter:hunter2@db.example/prooftally";
    let answer = run(&["config", "show"], &[("PROOFTALLY__DATABASE__URL", url)]);
    assert!(answer.status.success());
    let text = text(&answer.stdout);
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("db.example"), "{text}");
}

#[test]
fn a_database_that_is_away_is_exit_code_6() {
    let url = ("PROOFTALLY__DATABASE__URL", "postgres://postgres@127.0.0.1:1/nothing");
    let answer = run(&["usage"], &[url, ("PROOFTALLY__DATABASE__ACQUIRE_TIMEOUT_MS", "1000")]);
    assert_eq!(answer.status.code(), Some(6), "{}", text(&answer.stderr));
    let nats = ("PROOFTALLY__NATS__URL", "nats://127.0.0.1:1");
    let answer = run(&["stream", "info"], &[nats]);
    assert_eq!(answer.status.code(), Some(6), "{}", text(&answer.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_a_stream_is_reported_field_by_field_and_not_mended() {
    let world = World::new().await;
    let good = world.prooftally(&["stream", "ensure"]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    let mut config =
        world.jetstream().get_stream("PROOFS").await.unwrap().cached_info().config.clone();
    config.max_messages = 5_000;
    world.jetstream().update_stream(config).await.unwrap();
    let drifted = world.prooftally(&["stream", "ensure", "--output", "json"]);
    assert_eq!(drifted.status.code(), Some(5));
    let drifts: serde_json::Value = serde_json::from_slice(&drifted.stdout).unwrap();
    let expected = serde_json::json!([
        {"stream": "PROOFS", "field": "max_msgs", "wanted": "1000000", "found": "5000"}
    ]);
    assert_eq!(drifts, expected);
    let info = world.prooftally(&["stream", "info"]);
    assert!(text(&info.stderr).contains("max_msgs 5000, not 1000000"), "{info:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_shown_with_all_its_sights() {
    let world = World::new().await;
    let events = [receipt("r-1", "acme"), receipt("r-1", "acme"), receipt("r-2", "acme")];
    world.publish_raw("proofs.verified", events).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let shown = world.prooftally(&["receipts", "show", "r-1", "--output", "json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown[0]["seen_as"], &shown[0]["entry"]), (&"counted".into(), &1.into()));
    assert_eq!((&shown[1]["seen_as"], &shown[1]["sequence"]), (&"duplicate".into(), &2.into()));
    let missing = world.prooftally(&["receipts", "show", "r-9"]);
    assert_eq!(missing.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_grouped_as_asked_and_priced_in_a_preview() {
    let world = World::new().await;
    let events = (0..30).map(|number| receipt(&format!("r-{number}"), "acme"));
    world.publish_raw("proofs.verified", events).await;
    let failure = r#"{"predicateId":"CERT_VALID@V1","errorCode":"PROOF_EXPIRED","failedAt":"2026-03-01T10:00:00Z"}"#;
    world.publish_raw("proofs.failed", [failure.to_owned(), failure.to_owned()]).await;
    let engine = world.engine().await;
    world.wait_until_metered().await;
    engine.stop().await;
    let failed = world.prooftally(&["events", "failed", "--output", "csv"]);
    let expected = "failed_on,predicate,error_code,failures\r\n\
        2026-03-01,CERT_VALID@V1,PROOF_EXPIRED,2\r\n";
    assert_eq!(text(&failed.stdout), expected);
    let by = |by: &str| text(&world.prooftally(&["usage", "--by", by, "--output", "csv"]).stdout);
    assert_eq!(
        by("brand,predicate"),
        "brand,predicate,receipts,duplicates\r\nacme,CERT_VALID@V1,30,0\r\n"
    );
    assert_eq!(by("supplier"), "supplier,receipts\r\nmill,30\r\n");
    assert_eq!(by("day"), "usage_day,receipts,duplicates\r\n2026-03-01,30,0\r\n");
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
    let preview: serde_json::Value = serde_json::from_slice(&preview.stdout).unwrap();
    // 30 verifications at 0.03.
    assert_eq!(preview["net_total"], "0.90");
}

/// An engine without its stream lives, is not ready, says why, and becomes ready by itself.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_has_reasons_and_metrics_have_usage() {
    let world = World::new().await;
    world.jetstream().delete_stream("PROOFS").await.unwrap();
    let engine = world.engine().await;
    let why = wait_for("the missing stream is named", async || {
        let (status, body) = admin(&engine, "/readyz").await;
        (status == 503 && body.contains("prooftally stream ensure")).then_some(body)
    })
    .await;
    assert!(why.contains(r#""ready":false"#), "{why}");
    assert_eq!(admin(&engine, "/livez").await.0, 200);
    assert!(world.prooftally(&["stream", "ensure"]).status.success());
    world.publish_raw("proofs.verified", [receipt("r-1", "acme")]).await;
    world.wait_until_metered().await;
    wait_for("it is ready", async || (admin(&engine, "/readyz").await.0 == 200).then_some(()))
        .await;
    let metrics = metrics(&engine).await;
    let usage = r#"prooftally_usage_receipts_total{brand="acme",predicate="CERT_VALID@V1"} 1"#;
    assert!(metrics.contains(usage), "{metrics}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_servers_come_up_and_go_with_the_process_even_when_it_is_killed() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut child = tokio::process::Command::new(PROGRAM)
        .args(["local", "up"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let nats = lines.next_line().await.unwrap().expect("the URL of the bus");
    let database = lines.next_line().await.unwrap().expect("the URL of the database");
    let address = |line: &str| {
        let rest = line.rsplit_once("127.0.0.1:").expect("on loopback").1;
        let port = rest.split('/').next().unwrap().trim_end_matches('\'');
        format!("127.0.0.1:{port}")
    };
    let addresses = [address(&nats), address(&database)];
    for address in &addresses {
        tokio::net::TcpStream::connect(address).await.expect("it listens");
    }
    child.kill().await.unwrap();
    for address in &addresses {
        wait_for("the server is gone", async || {
            let connect = tokio::net::TcpStream::connect(address);
            let refused = tokio::time::timeout(Duration::from_secs(1), connect).await;
            matches!(refused, Ok(Err(_))).then_some(())
        })
        .await;
    }
}

/// It stands in tables, so it is what it looks like.
#[test]
fn a_name_of_a_key_has_no_characters_that_are_not_seen() {
    for name in ["a\u{1b}[31mb", "a\nb", "a\u{202e}b", "a\u{200b}b", "\u{feff}a", ""] {
        let told = run(&["keys", "create", "--role", "finance", "--name", name], &[]);
        assert_eq!(told.status.code(), Some(2), "{name:?}: {told:?}");
    }
}

#[test]
fn a_filter_takes_what_is_on_its_list() {
    for (command, says) in [
        ("events rejected list --reason unknown_brnd", "unknown_predicate"),
        ("events rejected retry --reason x", "store_refused"),
        ("events rejected list --state opened", "retried"),
        ("conflicts list --field suplier", "supplier"),
        ("conflicts dismiss --field x --because y", "product"),
        ("invoices list --state sent", "finalized"),
        ("gaps list --state x", "accepted"),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let answer = run(&arguments, &[]);
        let said = text(&answer.stderr);
        assert_eq!(answer.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains(says), "{command}: {said}");
    }
}

/// Commands that take a text which is kept or stands on documents, up to the option that takes it.
const TEXTS: &[&str] = &[
    "assignments create --brand a --plan p --from 2026-03-01 --because",
    "assignments end --brand a --on 2026-03-01 --because",
    "assignments waive --brand a --because",
    "audit repair --because",
    "brands park a --because",
    "brands tax set a --from 2026-03-01 --category E --exemption",
    "conflicts dismiss 1 --because",
    "conflicts resolve 1 --because",
    "credit-notes create INV-2026-000001 --because",
    "events rejected dismiss 1 --because",
    "gaps accept 1 --because",
    "holds clear 1 --because",
    "holds set a --because",
    "invoices cancel INV-2026-000001 --because",
    "invoices sent INV-2026-000001 --note",
    "invoices void INV-2026-000001 --because",
    "invoices write-off INV-2026-000001 --because",
    "periods override a --period 2026-03 --reason no_plan --because",
    "plans withdraw p --version 1 --because",
    "receipts void a r1 --because",
    "stream adopt --because",
];

#[test]
fn a_text_of_a_person_is_what_it_looks_like() {
    let long = "x".repeat(1_001);
    let bad = [
        ("", "a reason has 1 to 1000 characters, not 0"),
        ("  ", "a reason has 1 to 1000 characters, not 0"),
        (long.as_str(), "a reason has 1 to 1000 characters, not 1001"),
        ("a\u{202e}b", "U+202E"),
        ("a\u{200b}b", "U+200B"),
        ("a\u{1b}[31mb", "it has a control character"),
        ("a\nb", "it has a control character"),
    ];
    for command in TEXTS {
        for (text, says) in bad {
            let arguments: Vec<&str> = command.split(' ').chain([text]).collect();
            let answer = run(&arguments, &[]);
            let said = self::text(&answer.stderr);
            assert_eq!(answer.status.code(), Some(2), "{command} {text:?}: {said}");
            assert!(said.contains(says), "{command} {text:?}: {said}");
        }
    }
}
