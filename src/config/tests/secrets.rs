//! Secrets come from files, and are never shown.

use expect_test::expect;

use super::check;
use crate::config::secret::masked;

#[test]
fn files_of_secrets_are_read() {
    check(
        "database.url_file = 'SECRETS/pg'",
        &[],
        expect![[r#"
        [database] url = "postgres://u:***@db/tally" # pg
        [database] url_file = "pg" # config.toml
    "#]],
    );
    check(
        "database.url_file = 'SECRETS/missing'\nnats.url_file = 'SECRETS/empty'\n\
         nats.credentials_file = 'SECRETS/missing.creds'",
        &[],
        expect![[r#"
            the configuration is refused:
            - `nats.url_file` in config.toml names empty, which cannot be read: it is empty
            - `database.url_file` in config.toml names missing, which cannot be read: No such file or directory (os error 2)
            - `nats.credentials_file` in config.toml names missing.creds, which cannot be read: No such file or directory (os error 2)
        "#]],
    );
    // A file with a secret for something else.
    check(
        "nats.url_file = 'SECRETS/pg'",
        &[],
        expect![[r#"
        the configuration is refused:
        - `nats.url` in pg (a secret, not shown) must be the URL of one server, such as nats://127.0.0.1:4222 (also tls://, ws://, wss://)
    "#]],
    );
    check(
        "database.url_file = 'SECRETS/pg'",
        &[("PROOFTALLY__DATABASE__URL", "postgres://u:hunter2@h/d")],
        expect![[r#"
            the configuration is refused:
            - `database.url` (in PROOFTALLY__DATABASE__URL) and `database.url_file` (in config.toml) are both set: set only one of them, or `database.url_file` to ""
        "#]],
    );
    check(
        "database.url_file = 'SECRETS/pg'",
        &[
            ("PROOFTALLY__DATABASE__URL", "postgres://u:hunter2@h/d?sslmode=require"),
            ("PROOFTALLY__DATABASE__URL_FILE", ""),
        ],
        expect![[r#"
            [database] url = "postgres://u:***@h/d?sslmode=require" # PROOFTALLY__DATABASE__URL
            [database] url_file = "" # PROOFTALLY__DATABASE__URL_FILE
        "#]],
    );
}

#[test]
fn secrets_are_masked() {
    for (url, shown) in [
        ("nats://bus:4222", "nats://bus:4222"),
        ("nats://user:hunter2@bus:4222", "nats://user:***@bus:4222"),
        ("nats://hunter2@bus", "nats://***@bus"),
        ("postgres://role@db:5432/name", "postgres://role@db:5432/name"),
        ("postgres://role:hunt@er/2#:5@db/name", "postgres://role:***@db/name"),
        ("postgres://role:hunter?2@db/name", "postgres://***"),
        ("postgres://db/name?password=hunter@2", "postgres://***"),
        (
            "postgres://db/n?sslmode=require&password=x",
            "postgres://db/n?sslmode=require&password=***",
        ),
        ("postgres://db/n?p%61ssword=x&user=u", "postgres://db/n?p%61ssword=***&user=u"),
        ("postgres:///n?host=/run/postgresql", "postgres:///n?host=/run/postgresql"),
        ("host=db password=hunter2", "***"),
    ] {
        assert_eq!(masked(url), shown);
    }
}
