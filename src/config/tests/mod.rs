//! What a configuration is made of, and that the files in `config/` say what is true.

mod issuers;
mod refusals;
mod secrets;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use expect_test::{Expect, expect};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tempfile::TempDir;
use toml::{Table, Value};

use super::layers::set;
use super::rules::{RULES, Rule};
use super::{Config, Error, Loaded, Origin, Source};

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
    let (mut section, mut changes) = ("", String::new());
    let text = loaded.render();
    for line in text.lines().filter(|line| !line.is_empty() && !line.ends_with("# default")) {
        if line.starts_with('[') {
            section = line;
        } else {
            writeln!(changes, "{section} {line}").unwrap();
        }
    }
    changes
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
    let answer = match load(Some(&file), variables) {
        Ok(loaded) => changes(&loaded),
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
            let mut values = defaults.clone();
            set(&mut values, key, n.into());
            Config::deserialize(values).unwrap();
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
    expect![[r#"
        [service] environment = "production" # config/production.toml
        [nats] url = "tls://nats.example:4222" # SECRETS/nats-url
        [nats] url_file = "SECRETS/nats-url" # PROOFTALLY__NATS__URL_FILE
        [nats] credentials_file = "SECRETS/nats.creds" # PROOFTALLY__NATS__CREDENTIALS_FILE
        [nats] stream = "METERING" # config/production.toml
        [nats.mirror] enabled = true # config/production.toml
        [nats.mirror] bytes_max = 100000000000 # config/production.toml
        [database] url = "postgres://tally:***@db.example/tally" # SECRETS/database-url
        [database] url_file = "SECRETS/database-url" # PROOFTALLY__DATABASE__URL_FILE
        [database] migrate_on_start = false # config/production.toml
        [admin] listen = "0.0.0.0:9464" # config/production.toml
        [telemetry] log_format = "json" # config/production.toml
    "#]]
    .assert_eq(&changes(&loaded).replace(&secrets, "SECRETS").replace(&configs, "config"));
    assert!(loaded.config.database.url.expose_secret().contains("hunter2"));
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));

    let file = Path::new(FOLDER).join("development.toml");
    expect![[r#"
        [nats.origin] replicas = 1 # config/development.toml
        [nats.mirror] replicas = 1 # config/development.toml
        [telemetry] log_filter = "info,prooftally=debug" # config/development.toml
        [[issuer]] # config/development.toml city = "Berlin"
        [[issuer]] # config/development.toml contact_email = "billing@development.example"
        [[issuer]] # config/development.toml contact_name = "Nobody"
        [[issuer]] # config/development.toml contact_phone = "+49 30 0000000"
        [[issuer]] # config/development.toml country = "DE"
        [[issuer]] # config/development.toml electronic_address = "billing@development.example"
        [[issuer]] # config/development.toml electronic_scheme = "EM"
        [[issuer]] # config/development.toml from = "2020-01-01"
        [[issuer]] # config/development.toml iban = "DE89370400440532013000"
        [[issuer]] # config/development.toml legal_name = "ZK-DPP Development"
        [[issuer]] # config/development.toml postcode = "10117"
        [[issuer]] # config/development.toml street = "Teststraße 1"
        [[issuer]] # config/development.toml vat_id = "DE123456789"
        [[issuer]] # config/development.toml zone = "Europe/Berlin"
    "#]]
    .assert_eq(&changes(&load(Some(&file), &[]).unwrap()).replace(&configs, "config"));
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
        expect![[r#"
            [nats] url = "nats://user:***@bus:4222" # PROOFTALLY__NATS__URL
            [nats.origin] subjects = ["proofs.>", "receipts.issued"] # PROOFTALLY__NATS__ORIGIN__SUBJECTS
            [nats.origin] messages_max = 5 # config.toml
            [nats.origin] replicas = 1 # config.toml
            [intake] chunk_bytes_max = 1000000 # PROOFTALLY__INTAKE__CHUNK_BYTES_MAX
            [intake] credits = 4 # PROOFTALLY__INTAKE__CREDITS
            [database] migrate_on_start = false # PROOFTALLY__DATABASE__MIGRATE_ON_START
            [telemetry] log_format = "json" # PROOFTALLY__TELEMETRY__LOG_FORMAT
        "#]],
    );
    check(
        "",
        &[("PROOFTALLY__NATS__ORIGIN__SUBJECTS", r#"["proofs.*", "x"]"#)],
        expect![[r#"
        [nats.origin] subjects = ["proofs.*", "x"] # PROOFTALLY__NATS__ORIGIN__SUBJECTS
    "#]],
    );
}

#[allow(clippy::too_many_lines, reason = "the listing is as long as the configuration")]
#[test]
#[expect(clippy::too_many_lines, reason = "it has all keys")]
fn all_of_it_is_shown() {
    let loaded = load(None, &[("PROOFTALLY__INTAKE__CREDITS", "2")]).unwrap();
    expect![[r#"
        [service]
        environment = "development" # default
        shutdown_grace_ms = 30000 # default

        [nats]
        url = "nats://127.0.0.1:4222" # default
        url_file = "" # default
        credentials_file = "" # default
        ping_interval_ms = 10000 # default
        stream = "PROOFS" # default
        consumer = "billing-processor" # default
        witness_bucket = "" # default
        identity_every_ms = 60000 # default
        time_to_loss_ms_min = 3600000 # default

        [nats.subjects]
        verified = "proofs.verified" # default
        failed = "proofs.failed" # default

        [nats.origin]
        name = "PROOFS" # default
        subjects = ["proofs.>"] # default
        messages_max = 1000000 # default
        bytes_max = 1000000000 # default
        age_max_days = 30 # default
        replicas = 3 # default

        [nats.mirror]
        enabled = false # default
        name = "METERING" # default
        messages_max = -1 # default
        bytes_max = 100000000000 # default
        age_max_days = 400 # default
        replicas = 3 # default

        [intake]
        chunk_messages_max = 16384 # default
        chunk_bytes_max = 16777216 # default
        credits = 2 # PROOFTALLY__INTAKE__CREDITS
        pull_messages = 32768 # default
        heartbeat_ms = 5000 # default
        payload_bytes_max = 65536 # default
        future_tolerance_ms = 300000 # default
        predicates_max = 10000 # default

        [database]
        url = "postgres://prooftally@127.0.0.1:5432/prooftally" # default
        url_file = "" # default
        connections_max = 8 # default
        migrate_on_start = true # default
        commit_timeout_ms = 30000 # default
        acquire_timeout_ms = 5000 # default

        [brands]
        default_zone = "UTC" # default
        auto_create_max = 100000 # default
        passivate_after_ms = 300000 # default

        [ledger]
        segment_entries = 1750000 # default

        [supervision]
        restarts_max = 5 # default
        restart_window_ms = 10000 # default
        backoff_ms_min = 5 # default
        brand_tries_max = 3 # default

        [audit]
        every_hours = 24 # default

        [billing]
        default_plan = "zkdpp-standard" # default
        plans_dir = "config/plans" # default
        finalize = "by_hand" # default
        grace_days = 3 # default

        [api]
        enabled = true # default
        listen = "127.0.0.1:9465" # default
        tls_certificate_file = "" # default
        tls_key_file = "" # default
        plain_http = false # default
        connections_max = 8 # default
        body_bytes_max = 1048576 # default
        request_timeout_ms = 30000 # default
        page_rows_max = 200 # default
        requests_per_second = 50 # default
        requests_burst = 100 # default

        [api.oidc]
        issuer = "" # default
        audience = "prooftally" # default
        jwks_url = "" # default
        ca_file = "" # default
        algorithms = ["RS256", "ES256", "EdDSA"] # default
        leeway_seconds = 30 # default
        keys_fresh_seconds = 600 # default
        keys_kept_seconds = 86400 # default
        refetch_seconds_min = 10 # default
        roles_claim = "realm_access.roles" # default
        brand_claim = "organization_id" # default
        name_claim = "preferred_username" # default

        [api.oidc.roles]
        finance_read = ["finance_read"] # default
        finance = ["finance"] # default
        operator = ["operator"] # default
        admin = ["admin"] # default
        brand = ["brand"] # default

        [admin]
        listen = "127.0.0.1:9464" # default
        metrics_brands_max = 1000 # default

        [telemetry]
        log_format = "text" # default
        log_filter = "info" # default
    "#]]
    .assert_eq(&loaded.render());
}
