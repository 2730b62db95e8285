//! Evidence on a real server: what documents were issued for is computed again, receipts are proved
//! without a database, and a byte that was changed behind any of it is named.

mod found;

use std::path::PathBuf;
use std::process::{Command, Output};

use billing::document::Document;
use billing::evidence::proof::Proof;
use prooftally::engine::{Engine, billing_terms};
use prooftally::store::billing_run::{self, Which as Run};
use prooftally::store::verification::{self, Report, Which};
use prooftally::store::{audit, cursor, digests, due, sealing};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

use crate::harness::engine_process::PROGRAM;
use crate::harness::{World, wait_for};
use crate::metering::receipt;

const PLAN: &str = r#"
name = "tiers"
currency = "EUR"
cadence = "monthly"
fixed_fee = "30.00"

[[charge]]
name = "Certificates"
predicate = "CERT_VALID@V1"
model = "volume"
tiers = [{ up_to = 70, unit_price = "1.00" }, { unit_price = "0.97" }]

[[charge]]
name = "Goods"
predicate = "DUE_DILIGENCE_VALID@V1"
meter = "distinct_products"
model = "per_unit"
unit_price = "2.00"
"#;

const CONFIG: &str = r#"
[[issuer]]
from = "2026-01-01"
zone = "Europe/Berlin"
legal_name = "Passport Network eG"
street = "Hafen 1"
city = "Hamburg"
postcode = "20457"
country = "DE"
vat_id = "DE123456789"
electronic_scheme = "EM"
electronic_address = "billing@network.example"
contact_name = "Billing"
contact_email = "billing@network.example"
contact_phone = "+49 40 1"
iban = "DE89370400440532013000"
"#;

const PROFILE: &str = "legal_name = \"Acme GmbH\"\nstreet = \"Ring 1\"\ncity = \"Bonn\"\n\
    postcode = \"53111\"\ncountry = \"DE\"\nvat_id = \"DE987654321\"\nelectronic_scheme = \"EM\"\n\
    electronic_address = \"in@acme.example\"\nbuyer_reference = \"PO-77\"\nterms_days = 14\n";

/// So that a few hundred receipts fill several segments.
const SEGMENT_ENTRIES: i64 = 50;
const BRANDS: [&str; 2] = ["acme", "bolt"];

/// A world with two brands that have a plan, and nothing issued yet.
struct Books {
    world: World,
    engine: Option<Engine>,
    folder: TempDir,
}

impl Books {
    async fn new() -> Self {
        let world = World::new().await;
        let engine = world
            .engine_with(|config| {
                config.segment_entries = SEGMENT_ENTRIES;
                config.intake.chunk_messages_max = 20;
            })
            .await;
        let books = Self { world, engine: Some(engine), folder: tempfile::tempdir().unwrap() };
        books.file("config.toml", CONFIG);
        let march = (0..80).flat_map(|number| BRANDS.map(|brand| event("m", number, brand, "03")));
        let april = (0..40).flat_map(|number| BRANDS.map(|brand| event("a", number, brand, "04")));
        books.count(march.chain(april)).await;
        let (plan, profile) = (books.file("plan.toml", PLAN), books.file("profile.toml", PROFILE));
        books.done(&format!("plans apply {plan} --effective-from 2026-01-01"));
        for brand in BRANDS {
            let assign = format!("assignments create --brand {brand} --plan tiers");
            books.done(&format!("{assign} --from 2026-03-02 --until 2026-05-01"));
            books.done(&format!("brands profile set {brand} -f {profile}"));
            let tax = format!("brands tax set {brand} --from 2026-01-01 --category S --rate 19");
            books.done(&tax);
        }
        books
    }

    /// A year in small: both months issued, then late receipts and a void, an adjustment, a favour, and
    /// one invoice taken back and issued again.
    async fn with_documents() -> Self {
        let books = Self::new().await;
        books.issue().await;
        books.count((0..7).map(|number| event("late", number, "acme", "03"))).await;
        books.done("receipts void acme m-3 a-5 --because test");
        books.issue().await;
        let first: String = sqlx::query_scalar(
            "select number from document where kind = 'invoice' order by document_no limit 1",
        )
        .fetch_one(books.world.pool())
        .await
        .unwrap();
        let bolt: String = sqlx::query_scalar(
            "select number from document d join brand b using (brand_no) \
             where kind = 'invoice' and brand_id = 'bolt' order by document_no limit 1",
        )
        .fetch_one(books.world.pool())
        .await
        .unwrap();
        books.done(&format!("credit-notes create {first} --line 1=5.00 --because favour"));
        books.done(&format!("invoices sent {bolt}"));
        books.done(&format!("invoices cancel {bolt} --because wrong"));
        books.issue().await;
        books
    }

    async fn count(&self, events: impl Iterator<Item = String>) {
        self.world.publish_raw("proofs.verified", events).await;
        self.world.wait_until_metered().await;
        let last = self.world.position().await;
        wait_for("the engine notes that it had everything", async || {
            let at: Option<i64> = sqlx::query_scalar("select sequence from caught_up")
                .fetch_optional(self.world.pool())
                .await
                .unwrap();
            (at? >= last).then_some(())
        })
        .await;
    }

    /// Waits until every full segment is sealed.
    async fn sealed(&self) {
        wait_for("full segments are sealed", async || {
            let entry = cursor::read(self.world.pool()).await.ok()?.entry;
            let sealed = sealing::sealed_count(self.world.pool()).await.ok()?;
            (sealed == (entry + 1) / SEGMENT_ENTRIES).then_some(())
        })
        .await;
    }

    /// Issues all that is due.
    async fn issue(&self) {
        let (which, now) = (Run::default(), chrono::Utc::now());
        let done = billing_run::issue_all(
            &self.world.store,
            &self.terms(),
            &which,
            now,
            "test",
            |_, _| {},
        )
        .await
        .unwrap();
        assert!(!done.issued.is_empty() && done.refused.is_empty(), "{:?}", done.refused);
    }

    fn terms(&self) -> due::Terms {
        let file = Some(self.path("config.toml"));
        let source = prooftally::config::Source { file, environment_variables: std::iter::empty() };
        billing_terms(&prooftally::config::Config::load(source).unwrap().config)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn run(&self, line: &str) -> Output {
        let config = self.path("config.toml").display().to_string();
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.extend(["--config", config.as_str()]);
        self.world.prooftally(&arguments)
    }

    #[track_caller]
    fn done(&self, line: &str) {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
    }

    async fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.stop().await;
        }
    }

    async fn verify(&self) -> Report {
        let mut connection = self.world.store.connect().await.unwrap();
        let report = verification::verify(&mut connection, &Which::All, |_| ()).await.unwrap();
        report.expect("all are always there")
    }

    /// What the audit finds, with digests kept as every audit does.
    async fn audit(&self) -> Vec<String> {
        let audit = audit::run(self.world.pool(), |_| ()).await.unwrap();
        digests::keep(self.world.pool(), &audit.digests).await.unwrap();
        let say = |found: audit::Finding| format!("{}: {}", found.check, found.what);
        let violations =
            audit.findings.into_iter().filter(|found| found.severity == audit::Severity::Violation);
        violations.map(say).collect()
    }

    /// Runs a statement as somebody whom no rule stops.
    async fn tamper(&self, statement: &str) {
        let mut connection = self.world.store.connect().await.unwrap();
        sqlx::raw_sql("set session_replication_role = replica")
            .execute(&mut connection)
            .await
            .unwrap();
        let done = sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await;
        let done = done.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert!(done.rows_affected() > 0, "{statement} changed nothing");
        connection.close().await.unwrap();
    }
}

/// A receipt of one of three kinds, on one of some days of 2026's month.
fn event(prefix: &str, number: u32, brand: &str, month: &str) -> String {
    let day = format!("2026-{month}-{:02}", 2 + number % 27);
    // Ids of two brands differ, so that a row can be moved from one to the other.
    let of = if brand == "acme" { "" } else { "b" };
    let plain = receipt(&format!("{of}{prefix}-{number}"), brand).replace("2026-03-01", &day);
    match number % 3 {
        0 => plain,
        1 => plain.replace(r#""supplierId":"mill","#, "").replace("true", "false"),
        _ => plain
            .replace("CERT_VALID", "DUE_DILIGENCE_VALID")
            .replace("shirt", &format!("Größe \\\"{}\\\"", number % 5)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_computed_again_to_the_byte() {
    let mut books = Books::with_documents().await;
    let report = books.verify().await;
    assert_eq!(report.differences, []);
    let kinds: Vec<(String, String)> =
        sqlx::query_as("select distinct kind, cause from document order by 1, 2")
            .fetch_all(books.world.pool())
            .await
            .unwrap();
    let of = |kind: &str, cause: &str| (kind.to_owned(), cause.to_owned());
    for expected in
        [of("invoice", "periods"), of("credit_note", "cancel"), of("credit_note", "goodwill")]
    {
        assert!(kinds.contains(&expected), "{expected:?} is not among {kinds:?}");
    }
    assert!(report.documents >= 8 && report.leaves >= 240, "{report:?}");
    assert_eq!(books.audit().await, Vec::<String>::new());
    assert_eq!(books.run("invoices verify --all").status.code(), Some(0));
    let one = books.run("invoices verify INV-2026-000001");
    let said = String::from_utf8_lossy(&one.stderr).into_owned();
    assert!(one.status.success() && said.contains("1 documents computed again"), "{one:?}");
    assert_eq!(books.run("invoices verify INV-2026-009999").status.code(), Some(4));
    books.stop().await;
}

/// Runs the program with nothing but its arguments: no configuration, no database, no variables.
fn alone(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env_clear().output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_proved_to_who_has_nothing_else() {
    let mut books = Books::with_documents().await;
    let (proof, document) = (books.path("proof.json"), books.path("document.json"));
    let (proof, document) = (proof.to_str().unwrap(), document.to_str().unwrap());
    let files = format!("--out {proof} --document-out {document}");
    let check = || alone(&["proofs", "check", proof, "--document", document, "--output", "json"]);
    for (brand, receipt) in
        [("acme", "m-0"), ("acme", "m-79"), ("acme", "late-2"), ("bolt", "bm-2")]
    {
        books.done(&format!("receipts prove {brand} {receipt} {files}"));
        let output = check();
        assert!(output.status.success(), "{receipt}: {output:?}");
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found[0]["receipt"], receipt);
        let bytes = std::fs::read(document).unwrap();
        let number = Document::read(&bytes).unwrap().number.unwrap();
        let raw = books.run(&format!("invoices show {number} --raw"));
        assert!(raw.stdout.starts_with(&bytes), "the document is what `invoices show --raw` gives");
    }
    // What was voided has been counted all the same; a receipt of another brand or none has not.
    books.done(&format!("receipts prove acme m-3 {files}"));
    assert_eq!(books.run("receipts prove acme m-999").status.code(), Some(4));
    assert_eq!(books.run("receipts prove nobody m-0").status.code(), Some(4));
    assert_eq!(books.run("receipts prove bolt m-0 --document INV-1").status.code(), Some(4));

    let good = std::fs::read_to_string(proof).unwrap();
    let made = Proof::read(good.as_bytes()).unwrap();
    let beside = made.path[0].to_string();
    let first = if beside.starts_with('0') { "1" } else { "0" };
    let other = format!("{first}{}", &beside[1..]);
    for (what, with) in [(beside.as_str(), other.as_str()), ("m-3", "m-4"), ("mill", "loom")] {
        std::fs::write(proof, good.replace(what, with)).unwrap();
        let output = check();
        assert_eq!(output.status.code(), Some(10), "{what}: {output:?}");
    }
    std::fs::write(proof, &good).unwrap();
    let mut bytes = std::fs::read(document).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(document, bytes).unwrap();
    assert_eq!(check().status.code(), Some(10));
    books.stop().await;
}

/// A change of each column of a row of the ledger.
const CHANGES: [(&str, &str); 15] = [
    ("entry", "(select max(entry) + 3 from ledger)"),
    ("sequence", "sequence + 1"),
    ("digest", "digest # 1"),
    ("verified_at", "verified_at + interval '1 microsecond'"),
    ("expires_at", "'2027-01-01'"),
    ("epoch", "epoch + 1"),
    ("brand_no", "3 - brand_no"),
    ("predicate_no", "3 - predicate_no"),
    ("usage_day", "usage_day + 40"),
    ("receipt_key", "overlay(receipt_key::text placing '00' from 35)::uuid"),
    ("source", "source + 1"),
    ("result", "case when result then null else true end"),
    ("receipt_id", "receipt_id || 'x'"),
    ("supplier", "coalesce(supplier, '') || 'x'"),
    ("product", "overlay(product placing 'X' from 1)"),
];

/// The entry of a receipt, or of its void.
async fn entry(books: &Books, receipt: &str, source: i16) -> i64 {
    sqlx::query_scalar(
        "select entry from ledger join brand using (brand_no) \
         where brand_id = 'acme' and receipt_id = $1 and source = $2",
    )
    .bind(receipt)
    .bind(source)
    .fetch_one(books.world.pool())
    .await
    .unwrap()
}

/// Puts a row of the ledger back as it was.
async fn restore(books: &Books, entry: i64, last: i64) {
    books.tamper(&format!("delete from ledger where entry = {entry} or entry > {last}")).await;
    books.tamper("insert into ledger select * from saved").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_of_a_row_behind_a_document_is_named() {
    let mut books = Books::with_documents().await;
    books.stop().await;
    let last = cursor::read(books.world.pool()).await.unwrap().entry;
    let void = entry(&books, "m-3", 4).await;
    let rows = [entry(&books, "m-1", 0).await, entry(&books, "late-2", 0).await, void];
    for entry in rows {
        let documents: Vec<String> = sqlx::query_scalar(
            "select d.number from document d join document_period p using (document_no) \
             join ledger l on l.brand_no = p.brand_no and l.entry > p.after \
                and l.entry <= p.cutoff and p.period_start <= l.usage_day \
                and l.usage_day < p.period_end where l.entry = $1",
        )
        .bind(entry)
        .fetch_all(books.world.pool())
        .await
        .unwrap();
        assert_eq!(documents.len(), 1, "entry {entry}");
        let save = format!("create table saved as select * from ledger where entry = {entry}");
        books.tamper(&save).await;
        let of_void = [("of_entry", "of_entry + 1")];
        let changes = CHANGES.iter().chain(of_void.iter().filter(|_| entry == void));
        for (column, change) in changes {
            // The highest source is that of a void.
            let change = if entry == void {
                change.replace("source + 1", "0")
            } else {
                (*change).to_owned()
            };
            let update = format!("update ledger set {column} = {change} where entry = {entry}");
            books.tamper(&update).await;
            let differences = books.verify().await.differences;
            let named = differences.iter().any(|found| documents.contains(&found.document));
            assert!(named, "{update}: {differences:?}");
            restore(&books, entry, last).await;
        }
        sqlx::raw_sql("drop table saved").execute(books.world.pool()).await.unwrap();
    }
    assert_eq!(books.verify().await.differences, []);
    let update = format!("update ledger set supplier = 'x' where entry = {}", rows[0]);
    books.tamper(&update).await;
    assert_eq!(books.run("invoices verify --all").status.code(), Some(10));
    assert_eq!(books.run("receipts prove acme m-0").status.code(), Some(1));
}

/// Changes of the documents' own rows, each with its opposite; and whether the audit names it, which does
/// not compute anything again.
const DOCUMENT_CHANGES: [(&str, &str, &str, bool); 13] = [
    (
        "document",
        "body = set_byte(body, 40, get_byte(body, 40) # 1), \
            hash = sha256(set_byte(body, 40, get_byte(body, 40) # 1))",
        "",
        true,
    ),
    ("document", "net_total = net_total + 1, total = total + 1", "+-", true),
    ("document", "issue_date = issue_date + 1, due_date = due_date + 1", "+-", true),
    ("document", "billing_version = billing_version + 1", "+-", true),
    ("document_line", "amount = amount + 1", "+-", true),
    ("document_line", "receipts = receipts + 1", "+-", true),
    ("document_period", "size = size - 1", "-+", true),
    ("document_period", "root = set_byte(root, 0, get_byte(root, 0) # 1)", "", true),
    ("document_tax", "tax = tax + 1", "+-", true),
    ("billed", "quantity = quantity + 1", "+-", true),
    ("billed", "amount = amount + 0.01", "+-", true),
    ("brand_billing", "documents = documents + 1", "+-", true),
    (
        "plan_version",
        "source = replace(source, '\"30.00\"', '\"31.00\"'), \
            sha256 = encode(sha256(convert_to(replace(source, '\"30.00\"', '\"31.00\"'), 'UTF8')), 'hex')",
        "",
        false,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_of_a_document_is_named() {
    let mut books = Books::with_documents().await;
    books.stop().await;
    assert_eq!(books.audit().await, Vec::<String>::new());
    for (table, change, opposite, audited) in DOCUMENT_CHANGES {
        books.tamper(&format!("update {table} set {change}")).await;
        let differences = books.verify().await.differences;
        assert!(!differences.is_empty(), "{table} set {change}");
        let found = books.audit().await;
        let named = found.iter().any(|found| found.starts_with("documents: "));
        assert_eq!(named, audited, "{table} set {change}: {found:?}");
        // What has no opposite sign is its own opposite, but for the plan, which is the last.
        let back = match opposite {
            "+-" => change.replace('+', "-"),
            "-+" => change.replace('-', "+"),
            _ => change.to_owned(),
        };
        if table != "plan_version" {
            books.tamper(&format!("update {table} set {back}")).await;
            assert_eq!(books.verify().await.differences, [], "{table} set {back}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_in_a_sealed_segment_is_named() {
    let mut books = Books::new().await;
    books.sealed().await;
    assert_eq!(books.audit().await, Vec::<String>::new());
    let digests = async || -> (i64, i64) {
        sqlx::query_as("select count(*), count(digest) from segment")
            .fetch_one(books.world.pool())
            .await
            .unwrap()
    };
    let (segments, with_digest) = digests().await;
    assert!(segments >= 4 && segments == with_digest, "{segments} {with_digest}");

    // A new zone changes rows by the rules: nothing is found, and the digests are those of the new rows.
    books.done("brands set bolt --zone Pacific/Kiritimati");
    assert!(digests().await.1 < segments);
    assert_eq!(books.audit().await, Vec::<String>::new());
    assert_eq!(digests().await, (segments, segments));
    assert_eq!(books.audit().await, Vec::<String>::new());

    books.stop().await;
    let last = cursor::read(books.world.pool()).await.unwrap().entry;
    let entry = SEGMENT_ENTRIES + 7;
    books
        .tamper(&format!("create table saved as select * from ledger where entry = {entry}"))
        .await;
    for (column, change) in CHANGES {
        let update = format!("update ledger set {column} = {change} where entry = {entry}");
        books.tamper(&update).await;
        let found = books.audit().await;
        let named = found.iter().any(|found| found.starts_with("segments: segment 1"));
        assert!(named, "{update}: {found:?}");
        restore(&books, entry, last).await;
    }
    assert_eq!(books.audit().await, Vec::<String>::new());
    let damages = [
        (
            "update segment set filter = set_byte(filter, 9, 255 - get_byte(filter, 9))",
            "its filter",
        ),
        ("update segment set entries = entries + 1 where segment = 2", "was sealed with"),
        (
            "update pg_index set indisvalid = false where indexrelid = 'ledger_000001_receipt'::regclass",
            "its unique index is not valid",
        ),
    ];
    for (damage, says) in damages {
        books.tamper(damage).await;
        let found = books.audit().await;
        assert!(found.iter().any(|found| found.contains(says)), "{damage}: {found:?}");
    }
    sqlx::raw_sql("drop index ledger_000003_receipt").execute(books.world.pool()).await.unwrap();
    let found = books.audit().await;
    let says = "segment 3: its unique index is gone";
    assert!(found.iter().any(|found| found.contains(says)), "{found:?}");
}
