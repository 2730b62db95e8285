use std::collections::BTreeSet;
use std::path::Path;

use expect_test::{Expect, expect};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tempfile::TempDir;
use toml::{Table, Value};

use super::check::get;
use super::rules::{RULES, Rule};
use super::{Config, Error, Loaded, Origin, Source, nearest, secret};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config");

fn load(file: Option<&Path>, variables: &[(&str, &str)]) -> Result<Loaded, Error> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    Config::load(Source {
        file: file.map(Path::to_owned),
        environment_variables: variables.iter().map(owned),
    })
}

/// What of the configuration is not a default.
fn changes(loaded: &Loaded) -> String {
    let text = loaded.render();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.ends_with("# default"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Loads `config.toml` with this text; a folder of secrets stands beside it. The answer is what is not
/// a default, or what is wrong.
fn check(text: &str, variables: &[(&str, &str)], expect: Expect) {
    let folder = TempDir::new().unwrap();
    let place = format!("{}/", folder.path().display());
    let file = folder.path().join("config.toml");
    std::fs::write(&file, text.replace("SECRETS/", &place)).unwrap();
    std::fs::write(folder.path().join("pg"), " postgres://u:hunter2@db/tally\n\n").unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    let sections = |line: &str| !line.starts_with('[');
    let answer = match load(Some(&file), variables) {
        Ok(loaded) => changes(&loaded).lines().filter(|l| sections(l)).fold(
            String::new(),
            |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            },
        ),
        Err(error) => format!("{error}\n"),
    };
    assert!(!answer.contains("hunter2"), "a secret is shown: {answer}");
    expect.assert_eq(&answer.replace(&place, ""));
}

#[test]
fn the_default_file_says_what_the_program_does() {
    let file = Path::new(FOLDER).join("default.toml");
    let written = load(Some(&file), &[]).unwrap();
    let built_in = load(None, &[]).unwrap();
    let without_origins =
        |loaded: &Loaded| loaded.render().parse::<Table>().expect("what is shown is TOML");
    assert_eq!(without_origins(&written), without_origins(&built_in));
    let urls = |config: &Config| {
        let (bus, database) = (&config.nats.url, &config.database.url);
        (bus.expose_secret().to_owned(), database.expose_secret().to_owned())
    };
    assert_eq!(urls(&written.config), urls(&Config::default()));
    for (key, _) in RULES {
        assert_eq!(written.origin_of(key), &Origin::File(file.clone()), "{key} is not in the file");
        assert_eq!(built_in.origin_of(key), &Origin::Default);
    }
}

#[test]
fn the_default_file_explains_every_key() {
    let text = std::fs::read_to_string(Path::new(FOLDER).join("default.toml")).unwrap();
    let mut is_explained = false;
    for line in text.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(is_explained, "nothing is said before {line}");
            is_explained = false;
        } else if line.starts_with('#') {
            is_explained = true;
        }
    }
}

#[test]
fn every_key_has_a_rule_and_every_bound_fits_its_field() {
    fn leaves(values: &Table, section: &str, into: &mut BTreeSet<String>) {
        for (name, value) in values {
            match value {
                Value::Table(values) => leaves(values, &format!("{section}{name}."), into),
                _ => assert!(into.insert(format!("{section}{name}"))),
            }
        }
    }
    let defaults = Table::try_from(Config::default()).unwrap();
    let mut keys = BTreeSet::new();
    leaves(&defaults, "", &mut keys);
    assert_eq!(keys, RULES.iter().map(|(key, _)| (*key).to_owned()).collect());
    Config::default().validate().unwrap();

    for (key, rule) in RULES {
        let (good, bad) = match rule {
            Rule::Integer(min, max) => (vec![*min, *max], vec![min - 1, max + 1]),
            Rule::Limit(max) => (vec![-1, 1, *max], vec![-2, 0, max + 1]),
            _ => continue,
        };
        for n in good {
            assert!(rule.fault(key, &n.into()).is_none(), "{key} = {n}");
            let text = key.rsplit('.').fold(n.to_string(), |value, name| {
                if value.starts_with('{') || name != nearest::split(key).1 {
                    format!("{{ {name} = {value} }}")
                } else {
                    format!("{{ {name} = {n} }}")
                }
            });
            let Value::Table(table) = text.parse().unwrap() else { unreachable!() };
            Config::deserialize(table).unwrap();
        }
        for n in bad {
            assert!(rule.fault(key, &n.into()).is_some(), "{key} = {n}");
        }
    }
}

#[test]
fn the_files_of_environments_load() {
    let folder = TempDir::new().unwrap();
    let secret = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let bus = secret("nats-url", "tls://nats.example:4222\n");
    let credentials = secret("nats.creds", "-----BEGIN NATS USER JWT-----\n");
    let database = secret("database-url", "postgres://tally:hunter2@db.example/tally\n");
    let file = Path::new(FOLDER).join("production.toml");
    let loaded = load(
        Some(&file),
        &[
            ("PROOFTALLY__NATS__URL_FILE", &bus),
            ("PROOFTALLY__NATS__CREDENTIALS_FILE", &credentials),
            ("PROOFTALLY__DATABASE__URL_FILE", &database),
        ],
    )
    .unwrap();
    let (secrets, configs) = (folder.path().display().to_string(), FOLDER.to_owned());
    expect![[""]]
        .assert_eq(&changes(&loaded).replace(&secrets, "SECRETS").replace(&configs, "config"));
    assert!(loaded.config.database.url.expose_secret().contains("hunter2"));
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));

    let file = Path::new(FOLDER).join("development.toml");
    expect![[""]].assert_eq(&changes(&load(Some(&file), &[]).unwrap()).replace(&configs, "config"));
}

#[test]
fn variables_go_before_the_file_and_the_file_before_defaults() {
    check(
        "",
        &[("HOME", "/root"), ("PROOFTALLY_NATS_SERVER", "/x"), ("PROOFTALLY_CONFIG", "y")],
        expect![[""]],
    );
    check(
        "nats.origin = { replicas = 1, messages_max = 5 }\n[intake]\ncredits = 2",
        &[
            ("PROOFTALLY__INTAKE__CREDITS", "4"),
            ("PROOFTALLY__INTAKE__CHUNK_BYTES_MAX", "1_000_000"),
            ("PROOFTALLY__DATABASE__MIGRATE_ON_START", "false"),
            ("PROOFTALLY__NATS__ORIGIN__SUBJECTS", "proofs.>, receipts.issued"),
            ("PROOFTALLY__TELEMETRY__LOG_FORMAT", "json"),
            ("PROOFTALLY__NATS__URL", "nats://user:hunter2@bus:4222"),
        ],
        expect![[""]],
    );
    check("", &[("PROOFTALLY__NATS__ORIGIN__SUBJECTS", r#"["proofs.*", "x"]"#)], expect![[""]]);
}

#[test]
fn unknown_names_are_refused_with_the_one_that_was_meant() {
    check(
        "[nats]\nurll = 1\n[natss]\nurl = 1\n[database]\nmax_connections = 3\npassword = 'hunter2'\n",
        &[("PROOFTALLY__NATS__URLL", "x"), ("PROOFTALLY__LISTEN", "x"), ("PROOFTALLY__QQ", "x")],
        expect![[""]],
    );
    check("zzz = 1\n[nats.subjects]\nqqqqq = 1\n[nats.mirors]\n", &[], expect![[""]]);
    check("", &[("PROOFTALLY_DATABASE_URL", "postgres://u:hunter2@h/d")], expect![[""]]);
    // The key that was meant keeps its default, which is not held against the rest.
    check("[nats]\nstream = 'EVENTS'\n[nats.origin]\nnme = 'EVENTS'", &[], expect![[""]]);
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
    check("db.url", Some("nats.url"));
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
nats = { ping_interval_ms = 10.5, stream = "A.B", subjects = { verified = "proofs.>", failed = "a..b" } }
intake = { credits = 17, chunk_messages_max = "many", pull_messages = 43691 }
database = { url = "host=db password=hunter2", migrate_on_start = "yes" }
brands = { default_zone = "Europe/Atlantis", auto_create_max = -1 }
billing = { default_plan = "../etc", plans_dir = "" }
admin = { listen = "localhost:9464" }
telemetry = { log_format = "xml", log_filter = "info,a=loud" }
service = "nats://u:hunter2@h"
[nats.origin]
subjects = []
messages_max = 0
replicas = { count = 3 }
"#,
        &[
            ("PROOFTALLY__NATS__URL", "http://u:hunter2@h"),
            ("PROOFTALLY__NATS__MIRROR__ENABLED", "1"),
            ("PROOFTALLY__NATS__MIRROR__BYTES_MAX", "100 GB"),
            ("PROOFTALLY__NATS__CONSUMER", ""),
        ],
        expect![[""]],
    );
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    check("[nats]\nstream = 'METERING'", &[], expect![[""]]);
    check(
        "nats.stream = 'X'\nnats.subjects.failed = 'proofs.verified.failed'\n\
         intake.chunk_bytes_max = 1024\nsupervision.backoff_ms_min = 400",
        &[],
        expect![[""]],
    );
    check(
        "nats.mirror = { enabled = true, name = 'PROOFS', age_max_days = 29 }\n\
         nats.subjects.verified = 'receipts.issued'",
        &[],
        expect![[""]],
    );
    check("nats.mirror.enabled = true\nnats.origin.age_max_days = 0", &[], expect![[""]]);
    check("nats.mirror = { enabled = true, age_max_days = 0, bytes_max = -1 }", &[], expect![[""]]);

    let mut config = Config::default();
    config.intake.credits = 0;
    config.nats.stream = "X".to_owned();
    expect![[""]].assert_eq(&config.validate().unwrap_err().to_string());
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
fn files_of_secrets_are_read() {
    check("database.url_file = 'SECRETS/pg'", &[], expect![[""]]);
    check(
        "database.url_file = 'SECRETS/missing'\nnats.url_file = 'SECRETS/empty'\n\
         nats.credentials_file = 'SECRETS/'",
        &[],
        expect![[""]],
    );
    // A file with a secret for something else.
    check("nats.url_file = 'SECRETS/pg'", &[], expect![[""]]);
    check(
        "database.url_file = 'SECRETS/pg'",
        &[("PROOFTALLY__DATABASE__URL", "postgres://u:hunter2@h/d")],
        expect![[""]],
    );
    check(
        "database.url_file = 'SECRETS/pg'",
        &[
            ("PROOFTALLY__DATABASE__URL", "postgres://u:hunter2@h/d?sslmode=require"),
            ("PROOFTALLY__DATABASE__URL_FILE", ""),
        ],
        expect![[""]],
    );
}

#[test]
fn secrets_are_masked() {
    for (url, shown) in [
        ("nats://bus:4222", "nats://bus:4222"),
        ("nats://user:hunter2@bus:4222", "nats://user:***@bus:4222"),
        ("nats://hunter2@bus", "nats://***@bus"),
        ("postgres://role@db:5432/name", "postgres://role@db:5432/name"),
        ("postgres://role:hunt@er2/3?4#5@db/name", "postgres://role:***@db/name"),
        (
            "postgres://db/n?sslmode=require&password=x",
            "postgres://db/n?sslmode=require&password=***",
        ),
        ("postgres://db/n?p%61ssword=x&user=u", "postgres://db/n?p%61ssword=***&user=u"),
        ("postgres:///n?host=/run/postgresql", "postgres:///n?host=/run/postgresql"),
        ("host=db password=hunter2", "***"),
    ] {
        assert_eq!(secret::masked(url), shown);
    }
}

#[test]
fn what_cannot_be_read_is_said_without_its_content() {
    check("[nats]\nurl = \"nats://u:hunter2@h\n", &[], expect![[""]]);
    check("[nats]\n[nats]\n", &[], expect![[""]]);
    check("a = 1\na = 2", &[], expect![[""]]);
    let missing = load(Some(Path::new("/nowhere/config.toml")), &[]).err().unwrap();
    expect![[""]].assert_eq(&missing.to_string());
}

#[test]
fn all_of_it_is_shown() {
    let loaded = load(None, &[("PROOFTALLY__INTAKE__CREDITS", "2")]).unwrap();
    expect![[""]].assert_eq(&loaded.render());
    let default = get(&loaded.values, "nats.origin.subjects");
    assert_eq!(default.and_then(Value::as_array).map(Vec::len), Some(1));
}
