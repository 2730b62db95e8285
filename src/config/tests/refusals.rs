//! What is refused, and in which words.

use std::path::Path;

use expect_test::expect;

use super::{Config, check, load};
use crate::config::nearest;

#[test]
fn unknown_names_are_refused_with_the_one_that_was_meant() {
    check(
        "[nats]\nurll = 1\n[natss]\nurl = 1\n[database]\nmax_connections = 3\npassword = 'hunter2'\n",
        &[
            ("PROOFTALLY__NATS__URLL", "x"),
            ("PROOFTALLY__LISTEN", "x"),
            ("PROOFTALLY__QQ__X", "x"),
            ("PROOFTALLY__NATS__ORIGIN__QQ", "x"),
        ],
        expect![[r#"
            the configuration is refused:
            - unknown key `database.max_connections` in config.toml: did you mean `database.connections_max`?
            - unknown key `database.password` in config.toml: [database] has url, url_file, connections_max, migrate_on_start, commit_timeout_ms, acquire_timeout_ms
            - unknown key `nats.urll` in config.toml: did you mean `nats.url`?
            - unknown section `natss` in config.toml: did you mean `nats`?
            - unknown variable PROOFTALLY__LISTEN: did you mean PROOFTALLY__API__LISTEN?
            - unknown variable PROOFTALLY__NATS__ORIGIN__QQ: after PROOFTALLY__NATS__ORIGIN__ comes one of NAME, SUBJECTS, MESSAGES_MAX, BYTES_MAX, AGE_MAX_DAYS, REPLICAS
            - unknown variable PROOFTALLY__NATS__URLL: did you mean PROOFTALLY__NATS__URL?
            - unknown variable PROOFTALLY__QQ__X: after PROOFTALLY__ comes one of ISSUER, SERVICE, NATS, INTAKE, DATABASE, BRANDS, LEDGER, SUPERVISION, AUDIT, BILLING, API, ADMIN, TELEMETRY
        "#]],
    );
    check(
        "zzz = 1\n[nats.subjects]\nqqqqq = 1\n[nats.mirors]\n",
        &[],
        expect![[r#"
            the configuration is refused:
            - unknown section `nats.mirors` in config.toml: did you mean `nats.mirror`?
            - unknown key `nats.subjects.qqqqq` in config.toml: [nats.subjects] has verified, failed
            - unknown key `zzz` in config.toml: there are the sections issuer, service, nats, intake, database, brands, ledger, supervision, audit, billing, api, admin, telemetry
        "#]],
    );
    check(
        "",
        &[("PROOFTALLY_DATABASE_URL", "postgres://u:hunter2@h/d")],
        expect![[r#"
        the configuration is refused:
        - unknown variable PROOFTALLY_DATABASE_URL: did you mean PROOFTALLY__DATABASE__URL?
    "#]],
    );
    // The key that was meant keeps its default, which is not held against the rest.
    check(
        "[nats]\nstream = 'EVENTS'\n[nats.origin]\nnme = 'EVENTS'",
        &[],
        expect![[r#"
        the configuration is refused:
        - unknown key `nats.origin.nme` in config.toml: did you mean `nats.origin.name`?
    "#]],
    );
}

#[test]
fn the_nearest_key_is_found() {
    let check =
        |typed: &str, meant: Option<&str>| assert_eq!(nearest::key(typed), meant, "{typed}");
    check("nats.urll", Some("nats.url"));
    check("nats.server_url", None);
    check("nats.creds_file", Some("nats.credentials_file"));
    check("nats.durable", None);
    check("nats.subject.verified", Some("nats.subjects.verified"));
    check("nats.origin.max_bytes", Some("nats.origin.bytes_max"));
    check("nats.replicas", Some("nats.origin.replicas"));
    check("pull_messages", Some("intake.pull_messages"));
    check("db.url", Some("database.url"));
    check("databse.url", Some("database.url"));
    check("database.max-connections", Some("database.connections_max"));
    check("admin.listen_address", Some("admin.listen"));
    check("supervision.max_restarts", Some("supervision.restarts_max"));
    check("service.shutdown_grace", Some("service.shutdown_grace_ms"));
    check("", None);
}

#[test]
fn wrong_values_are_refused_all_at_once() {
    check(
        r#"
            admin.listen = "localhost:9464"
            billing = { default_plan = "../etc", plans_dir = "" }
            brands = { default_zone = "Europe/Atlantis", auto_create_max = -1 }
            database = { url = "host=db password=hunter2", migrate_on_start = "yes" }
            intake = { credits = 17, chunk_messages_max = "many", pull_messages = 43691 }
            nats.origin = { messages_max = 0, replicas = { count = 3 }, subjects = [] }
            nats.ping_interval_ms = 10.5
            nats.stream = "A.B"
            nats.subjects = { verified = "proofs.>", failed = "a..b" }
            service = "nats://u:hunter2@h"
            supervision = [1]
            telemetry = { log_format = "xml", log_filter = "info,a=loud" }
        "#,
        &[
            ("PROOFTALLY__NATS__URL", "http://u:hunter2@h"),
            ("PROOFTALLY__NATS__MIRROR__ENABLED", "1"),
            ("PROOFTALLY__NATS__MIRROR__BYTES_MAX", "100 GB"),
            ("PROOFTALLY__NATS__CONSUMER", ""),
        ],
        expect![[r#"
            the configuration is refused:
            - `admin.listen` in config.toml is "localhost:9464": it must be an IP address and a port, such as 127.0.0.1:9464 or [::]:9464
            - `billing.default_plan` in config.toml is "../etc": it must be 1 to 63 letters, digits, hyphens and underscores: a plan's file without .toml
            - `billing.plans_dir` in config.toml is "": it must be the path of a folder
            - `brands.auto_create_max` in config.toml is -1: it must be an integer from 0 to 10000000
            - `brands.default_zone` in config.toml is "Europe/Atlantis": it must be an IANA time zone, such as Europe/Berlin
            - `database.migrate_on_start` in config.toml is "yes": it must be true or false
            - `database.url` in config.toml (a secret, not shown) must be a PostgreSQL URL, such as postgres://user@host:5432/name
            - `intake.chunk_messages_max` in config.toml is "many": it must be an integer from 1 to 65536
            - `intake.credits` in config.toml is 17: it must be an integer from 1 to 16
            - `intake.pull_messages` in config.toml is 43691: it must be an integer from 1 to 43690
            - `nats.origin.messages_max` in config.toml is 0: it must be an integer from 1 to 1000000000000, or -1 for no limit
            - `nats.origin.replicas` in config.toml is a section: it must be an integer from 1 to 5
            - `nats.origin.subjects` in config.toml is []: it must be a list, not empty, each of it a subject, such as proofs.> or proofs.*
            - `nats.ping_interval_ms` in config.toml is 10.5: it must be an integer from 100 to 120000
            - `nats.stream` in config.toml is "A.B": it must be 1 to 255 characters without spaces and any of . * > / \
            - `nats.subjects.failed` in config.toml is "a..b": it must be a subject without wildcards, such as proofs.verified
            - `nats.subjects.verified` in config.toml is "proofs.>": it must be a subject without wildcards, such as proofs.verified
            - `service` in config.toml is a single value: it must be a section [service]
            - `supervision` in config.toml is a single value: it must be a section [supervision]
            - `telemetry.log_filter` in config.toml is "info,a=loud": it must be a list of levels, such as info or info,prooftally::bus=debug
            - `telemetry.log_format` in config.toml is "xml": it must be text or json
            - `nats.consumer` in PROOFTALLY__NATS__CONSUMER is "": it must be 1 to 255 characters without spaces and any of . * > / \
            - `nats.mirror.bytes_max` in PROOFTALLY__NATS__MIRROR__BYTES_MAX is "100 GB": it must be an integer from 1 to 1000000000000000, or -1 for no limit
            - `nats.mirror.enabled` in PROOFTALLY__NATS__MIRROR__ENABLED is "1": it must be true or false
            - `nats.url` in PROOFTALLY__NATS__URL (a secret, not shown) must be the URL of one server, such as nats://127.0.0.1:4222 (also tls://, ws://, wss://)
        "#]],
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    check(
        "[nats]\nstream = 'METERING'",
        &[],
        expect![[r#"
        the configuration is refused:
        - `nats.stream` is the mirror "METERING", but `nats.mirror.enabled` is false: enable the mirror, or read the origin "PROOFS"
    "#]],
    );
    check(
        "nats.stream = 'X'\nnats.subjects.failed = 'proofs.verified.failed'\n\
         intake.chunk_bytes_max = 1024\nsupervision.backoff_ms_min = 400",
        &[],
        expect![[r#"
            the configuration is refused:
            - `nats.stream` is "X", which is neither the origin nor an enabled mirror: set it to `nats.origin.name` ("PROOFS") or `nats.mirror.name` ("METERING"), or change those
            - `nats.subjects.verified` ("proofs.verified") and `nats.subjects.failed` ("proofs.verified.failed") overlap, as each stands for all below it: an event is metered or tallied, never both
            - `intake.chunk_bytes_max` (1024) is below `intake.payload_bytes_max` (65536): a chunk must hold the longest event; raise the former or lower the latter
            - `supervision.restart_window_ms` (10000) is over before 5 restarts with waits from 400 ms doubled each time are: nothing would ever count as failing too often; widen the window, or lower `supervision.restarts_max` or `supervision.backoff_ms_min`
        "#]],
    );
    check(
        "nats.mirror = { enabled = true, name = 'PROOFS', age_max_days = 29 }\n\
         nats.subjects.verified = 'receipts.issued'",
        &[],
        expect![[r#"
            the configuration is refused:
            - `nats.origin.name` and `nats.mirror.name` are both "PROOFS": a stream cannot mirror itself
            - `nats.mirror.age_max_days` (29) is below `nats.origin.age_max_days` (30): a mirror is there to keep messages longer than its origin does; raise it
            - `nats.subjects.verified` ("receipts.issued") is not among `nats.origin.subjects` (["proofs.>"]): the stream would never hold such an event
        "#]],
    );
    check(
        "nats.mirror.enabled = true\nnats.origin.age_max_days = 0",
        &[],
        expect![[r#"
            the configuration is refused:
            - `nats.mirror.age_max_days` (400) is below `nats.origin.age_max_days` (0): a mirror is there to keep messages longer than its origin does; raise it
        "#]],
    );
    check(
        "nats.mirror = { enabled = true, age_max_days = 0, bytes_max = -1 }",
        &[],
        expect![[r#"
        [nats.mirror] enabled = true # config.toml
        [nats.mirror] bytes_max = -1 # config.toml
        [nats.mirror] age_max_days = 0 # config.toml
    "#]],
    );

    let mut config = Config::default();
    config.intake.credits = 0;
    config.nats.stream = "X".to_owned();
    expect![[r#"
        the configuration is refused:
        - `intake.credits` is 0: it must be an integer from 1 to 16
        - `nats.stream` is "X", which is neither the origin nor an enabled mirror: set it to `nats.origin.name` ("PROOFS") or `nats.mirror.name` ("METERING"), or change those"#]].assert_eq(&config.validate().unwrap_err().to_string());
}

#[test]
fn subjects_are_captured_as_nats_does() {
    for (pattern, verified, is_captured) in [
        ("proofs.>", "proofs.verified", true),
        ("proofs.>", "proofs", false),
        ("proofs.*", "proofs.verified", true),
        ("proofs.*", "proofs.verified.eu", false),
        ("*.verified", "proofs.verified", true),
        ("proofs.verified", "proofs.verified", true),
        ("proofs.verified.eu", "proofs.verified", false),
        (">", "proofs", true),
    ] {
        let mut config = Config::default();
        config.nats.origin.subjects = vec![pattern.to_owned(), "failures".to_owned()];
        config.nats.subjects.verified = verified.to_owned();
        config.nats.subjects.failed = "failures".to_owned();
        assert_eq!(config.validate().is_ok(), is_captured, "{pattern} and {verified}");
    }
}

#[test]
fn what_cannot_be_read_is_said_without_its_content() {
    check(
        "[nats]\nurl = \"nats://u:hunter2@h\n",
        &[],
        expect![[r#"
        config.toml:2:26 is not TOML: invalid basic string, expected `"`
    "#]],
    );
    check(
        "[nats]\n[nats]\n",
        &[],
        expect![[r#"
        config.toml:2:2 is not TOML: duplicate key
    "#]],
    );
    check(
        "a = 1\na = 2",
        &[],
        expect![[r#"
        config.toml:2:1 is not TOML: duplicate key
    "#]],
    );
    let missing = load(Some(Path::new("/nowhere/config.toml")), &[]).err().unwrap();
    expect!["the configuration file /nowhere/config.toml cannot be read: No such file or directory (os error 2); check the path and its rights"].assert_eq(&missing.to_string());
}
