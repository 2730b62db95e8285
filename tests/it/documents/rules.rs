//! The database keeps the rules of documents by itself, whatever the application tries.

use super::*;

/// What the application role tries, and what it is told. `$inv` is an issued invoice that stands.
const ATTEMPTS: &[(&str, &str)] = &[
    ("update document set total = 1", "permission denied"),
    ("delete from document", "permission denied"),
    ("truncate document cascade", "permission denied"),
    ("update document_line set amount = 0", "permission denied"),
    ("delete from billed", "permission denied"),
    ("delete from standing_invoice", "permission denied"),
    ("alter table document disable trigger all", "must be owner"),
    ("drop table payment", "must be owner"),
    ("update series set last = last + 2 where prefix = 'INV'", "taken and is on no document"),
    ("update series set last = last - 1 where prefix = 'INV'", "comes the next one"),
    ("update series set last = last + 1 where prefix = 'INV'", "taken and is on no document"),
    (
        "insert into plan_withdrawal (plan_name, version, because, made_by) \
         values ('volume', 1, 'x', 'x')",
        "prices the period from 2026-03-01 on a document",
    ),
    ("insert into series values ('CN', 2026, 1, '2026-01-01')", "permission denied"),
    // A line, a period, a tax or a charge more on a document that is issued.
    (
        "insert into document_line (document_no, brand_no, line, period_start, line_key, label, \
            quantity, receipts, amount, tax_category, tax_rate_percent) \
         select document_no, brand_no, 9, '2026-03-01', 'minimum', 'x', 1, 0, 0, 'S', 19 from document \
         limit 1",
        "nothing can be added to it",
    ),
    (
        "insert into billed (document_no, brand_no, period_start, line_key, quantity, receipts, amount) \
         select document_no, brand_no, '2026-03-01', 'minimum', 1, 0, 0 from document limit 1",
        "nothing can be added to it",
    ),
    // What it billed is taken back without a void.
    (
        "insert into billed (document_no, brand_no, period_start, line_key, is_opposite, quantity, \
            receipts, amount) \
         select document_no, brand_no, period_start, line_key, true, -quantity, -receipts, -amount \
         from billed",
        "neither voided nor cancelled",
    ),
    // Voided, but what it billed stands.
    (
        "insert into document_event (document_no, brand_no, kind, because, made_by) \
         select document_no, brand_no, 'voided', 'x', 'x' from document limit 1",
        "what it billed is not",
    ),
    // Another brand's event.
    (
        "insert into document_event (document_no, brand_no, kind, made_by) \
         select d.document_no, b.brand_no, 'sent', 'x' from document d \
            join brand b on b.brand_no <> d.brand_no limit 1",
        "violates foreign key",
    ),
    // A second document that is the same, that does not follow, that has no number, or a made-up one.
    (
        "insert into document (brand_no, kind, cause, number, chain, previous_hash, body, hash, \
            currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
            billing_version, finalized_by) \
         select brand_no, kind, cause, number, chain, previous_hash, body, hash, currency, issue_date, \
            tax_point, due_date, net_total, tax_total, total, cutoff, billing_version, 'x' from document",
        "does not follow",
    ),
    (
        "insert into document (brand_no, kind, cause, number, chain, previous_hash, body, hash, \
            currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
            billing_version, finalized_by) \
         select brand_no, kind, cause, null, chain + 1, hash, 'x', sha256('x'), currency, issue_date, \
            tax_point, due_date, net_total, tax_total, total, cutoff, billing_version, 'x' from document",
        "document_number_exactly_if_not_zero",
    ),
    (
        "insert into document (brand_no, kind, cause, number, chain, previous_hash, body, hash, \
            currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
            billing_version, finalized_by) \
         select brand_no, kind, cause, 'INV-2026-000777', chain + 1, hash, 'x', sha256('x'), currency, \
            issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, billing_version, 'x' \
         from document",
        "is not the number that its series has come to",
    ),
    // A total that is not the sum, and lines that are not.
    (
        "insert into document (brand_no, kind, cause, chain, previous_hash, body, hash, currency, \
            issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, billing_version, \
            finalized_by) \
         select brand_no, kind, cause, chain + 1, hash, 'x', sha256('x'), currency, issue_date, \
            tax_point, due_date, 0, 1, 0, cutoff, billing_version, 'x' from document",
        "document_total",
    ),
    (
        "with s as (update series set last = last + 1 where prefix = 'INV' \
            returning 'INV-2026-' || lpad(last::text, 6, '0') as number) \
         insert into document (brand_no, kind, cause, number, chain, previous_hash, body, hash, \
            currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
            billing_version, finalized_by) \
         select brand_no, kind, cause, s.number, chain + 1, hash, 'x', sha256('x'), currency, \
            issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, billing_version, 'x' \
         from document, s",
        "the lines sum to 0, not to the net total 31.00",
    ),
    (
        "insert into payment (document_no, brand_no, amount, paid_on, reference, made_by) \
        select document_no, brand_no, 0, '2026-05-01', 'x', 'x' from document",
        "payment_amount_check",
    ),
    // Metering moves the cursor, and never away from what it counts.
    ("update cursor set entry = entry + 1", "violates check constraint"),
    ("delete from ledger", "permission denied"),
    ("truncate ledger", "permission denied"),
    ("update ledger set receipt_id = 'x'", "permission denied"),
    ("delete from ledger_000000", "permission denied"),
    ("insert into ledger_000000 select * from ledger", "permission denied"),
    ("create index on ledger_000000 (sequence)", "must be owner"),
    ("drop index ledger_000000_pkey", "must be owner"),
    ("update hold set because = 'x'", "permission denied"),
    ("update payment set amount = 1", "permission denied"),
    ("truncate billed", "permission denied"),
    ("create table mine ()", "permission denied"),
    ("alter role prooftally_app superuser", "permission denied"),
    ("set local session_replication_role = replica", "permission denied"),
    ("update period_override set because = 'x'", "permission denied"),
];

/// A document that nothing is wrong with, and `$other`, a brand that is not its own; what follows is added to
/// it in the same statement.
pub(super) const DOCUMENT: &str = "with d as (insert into document (brand_no, kind, cause, chain, previous_hash, body, \
        hash, currency, issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, \
        billing_version, finalized_by) \
    select b.brand_no, 'adjustment', 'periods', b.documents + 1, o.hash, 'x', sha256('x'), 'EUR', \
        '2026-05-01', '2026-03-31', '2026-05-15', 0, 0, 0, 0, 1, 'x' \
    from brand_billing b join document o on o.brand_no = b.brand_no and o.chain = b.documents \
    returning document_no, brand_no), \
    p as (select p.* from document_period p limit 1), \
    other as (select b.brand_no from brand b where b.brand_no not in (select brand_no from d) limit 1) ";

/// What is added to [`DOCUMENT`], and what the database says to that.
const ADDED: &[(&str, &str)] = &[
    (
        "insert into document_line (document_no, brand_no, line, period_start, line_key, label, quantity, \
            receipts, amount, tax_category, tax_rate_percent) \
         select d.document_no, other.brand_no, 1, '2026-03-01', 'minimum', 'x', 1, 0, 0, 'S', 19 \
         from d, other",
        "violates foreign key",
    ),
    (
        "insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
         select d.document_no, other.brand_no, 'S', 19, 0, 0 from d, other",
        "violates foreign key",
    ),
    (
        "insert into document_period (document_no, brand_no, period_start, period_end, whole_start, \
            whole_end, plan_name, plan_version, tax_category, tax_rate_percent, after, cutoff, root, size, \
            is_regular) \
         select d.document_no, other.brand_no, p.period_start, p.period_end, p.whole_start, p.whole_end, \
            p.plan_name, p.plan_version, 'S', 19, 0, 0, p.root, 0, false from d, p, other",
        "violates foreign key",
    ),
    (
        "insert into billed (document_no, brand_no, period_start, line_key, quantity, receipts, amount) \
         select d.document_no, other.brand_no, '2026-03-01', 'minimum', 1, 0, 0 from d, other",
        "violates foreign key",
    ),
    // A second invoice of a period that has one: said to stand, and not said.
    (
        ", added as (insert into document_period (document_no, brand_no, period_start, period_end, \
            whole_start, whole_end, plan_name, plan_version, tax_category, tax_rate_percent, after, cutoff, \
            root, size, is_regular) \
         select d.document_no, d.brand_no, p.period_start, p.period_end, p.whole_start, p.whole_end, \
            p.plan_name, p.plan_version, 'S', 19, 0, 0, p.root, 0, true from d, p \
         returning brand_no, period_start, period_end, document_no) \
         insert into standing_invoice (brand_no, period_start, period_end, document_no) \
         select * from added",
        "standing_invoice",
    ),
    (
        "insert into document_period (document_no, brand_no, period_start, period_end, whole_start, \
            whole_end, plan_name, plan_version, tax_category, tax_rate_percent, after, cutoff, root, size, \
            is_regular) \
         select d.document_no, d.brand_no, p.period_start, p.period_end, p.whole_start, p.whole_end, \
            p.plan_name, p.plan_version, 'S', 19, 0, 0, p.root, 0, true from d, p",
        "which is not said",
    ),
    // Lines and charges that the totals do not have.
    (
        "insert into document_line (document_no, brand_no, line, period_start, line_key, label, quantity, \
            receipts, amount, tax_category, tax_rate_percent) \
         select d.document_no, d.brand_no, 1, '2026-03-01', 'minimum', 'x', 1, 0, 1, 'S', 19 from d",
        "the lines sum to 1, not to the net total 0",
    ),
    (
        "insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
         select d.document_no, d.brand_no, 'S', 19, 0, 1 from d",
        "its tax groups are not those of its lines",
    ),
    (
        ", t as (insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
            select d.document_no, d.brand_no, 'S', 19, 0, 0 from d) \
         insert into document_line (document_no, brand_no, line, period_start, line_key, label, quantity, \
            receipts, amount, tax_category, tax_rate_percent) \
         select d.document_no, d.brand_no, 2, '2026-03-01', 'minimum', 'x', 1, 0, 0, 'S', 19 from d",
        "its lines are not numbered from 1",
    ),
    (
        ", t as (insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
            select d.document_no, d.brand_no, 'S', 19, 0, 0 from d) \
         insert into document_line (document_no, brand_no, line, period_start, line_key, label, quantity, \
            receipts, amount, tax_category, tax_rate_percent) \
         select d.document_no, d.brand_no, 1, '2026-03-01', 'minimum', 'x', 1, 0, 0, 'S', 19 from d",
        "what it has billed is not what its lines charge",
    ),
];

impl Till {
    /// What the database says to a statement of the application's role; `None` if it lets it be.
    pub(super) async fn told(&self, statement: &str) -> Option<String> {
        let options = self.world.application_url();
        let mut connection =
            <sqlx::PgConnection as sqlx::Connection>::connect(&options).await.unwrap();
        let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
        // Keys first, so that no rule on sums hides what they say.
        sqlx::query(
            "set constraints document_line_document_no_brand_no_fkey, \
                document_tax_document_no_brand_no_fkey, document_period_document_no_brand_no_fkey, \
                billed_document_no_brand_no_fkey immediate",
        )
        .execute(&mut *transaction)
        .await
        .unwrap();
        let tried = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await;
        let outcome = match tried {
            Ok(_) => transaction.commit().await,
            Err(error) => Err(error),
        };
        outcome.err().map(|error| error.to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_role_cannot_break_a_rule() {
    let till = Till::with(&[("acme", "2026-03-01"), ("bolt", "2026-03-01")]).await;
    till.finalize("acme", MARCH, "36.89");
    let before: String = till.scalar("select md5(string_agg(d::text, '')) from document d").await;
    let added = ADDED.iter().map(|(added, says)| (format!("{DOCUMENT}{added}"), *says));
    let attempts = ATTEMPTS.iter().map(|(attempt, says)| ((*attempt).to_owned(), *says));
    for (attempt, says) in attempts.chain(added) {
        let told = till.told(&attempt).await;
        let told = told.unwrap_or_else(|| panic!("it was let do this: {attempt}"));
        assert!(told.contains(says), "{attempt}\n{told}");
    }
    // What is no double is not moved out of the ledger, whoever asks.
    till.count("more", &[("acme", "2026-03-02")]).await;
    assert_eq!(till.told("select move_doubles(array[3], array[1], 'x', 'x')").await, None);
    assert_eq!(till.scalar::<i64>("select count(*) from ledger").await, 3);
    assert_eq!(till.scalar::<i64>("select count(*) from ledger_double").await, 0);
    // The document by itself is let be: what was refused is what was added to it.
    assert_eq!(till.told(&format!("{DOCUMENT}select document_no from d")).await, None);
    sqlx::raw_sql(
        "set session_replication_role = replica; delete from document where body = 'x'; \
         set session_replication_role = origin",
    )
    .execute(till.world.pool())
    .await
    .unwrap();
    // The owner cannot either, as long as it leaves the rules where they are.
    for attempt in ["update document set total = 1", "delete from billed", "truncate payment"] {
        let error = sqlx::query(attempt).execute(till.world.pool()).await.unwrap_err();
        assert!(error.to_string().contains("never changed or removed"), "{error}");
    }
    let error =
        sqlx::query("delete from standing_invoice").execute(till.world.pool()).await.unwrap_err();
    assert!(error.to_string().contains("its period stays invoiced"), "{error}");
    let after: String = till.scalar("select md5(string_agg(d::text, '')) from document d").await;
    assert_eq!(before, after);
}

/// Two invoices of the same days, whoever inserts them and whatever their periods are called.
#[tokio::test(flavor = "multi_thread")]
async fn days_are_invoiced_once_and_stay_where_they_are() {
    let till = Till::with(&[("acme", "2026-03-01"), ("acme", "2026-04-02")]).await;
    till.finalize("acme", MARCH, "36.89");
    till.finalize("acme", APRIL, "36.89");
    let error = sqlx::query(
        "insert into standing_invoice (brand_no, period_start, period_end, document_no) \
         select brand_no, '2026-03-15', '2026-05-15', document_no from standing_invoice limit 1",
    )
    .execute(till.world.pool())
    .await
    .unwrap_err()
    .to_string();
    assert!(error.contains("standing_invoice_apart") || error.contains("is issued"), "{error}");
    refused(
        &till.run("assignments create --brand acme --plan volume --from 2026-04-15"),
        5,
        "are on finalized invoices",
    );
    let plan = till.file("later.toml", &VOLUME.replace("30.00", "31.00"));
    refused(
        &till.run(&format!("plans apply {plan} --effective-from 2026-04-01")),
        5,
        "the period from 2026-04-01 is invoiced",
    );
    refused(
        &till.run("plans withdraw volume --version 1 --because x"),
        5,
        "version 1 of plan volume prices the period from 2026-03-01 on a document",
    );
    // One that no document has used can go, and no document can use it then.
    done(till.run(&format!("plans apply {plan} --effective-from 2026-05-01")));
    done(till.run("plans withdraw volume --version 2 --because x"));
    let error =
        sqlx::query("insert into document_period (plan_name, plan_version) values ('volume', 2)")
            .execute(till.world.pool())
            .await
            .unwrap_err()
            .to_string();
    assert!(error.contains("version 2 of plan volume was withdrawn"), "{error}");
    let zone = till.run("brands set acme --zone Asia/Tokyo");
    assert!(text(&zone.stderr).contains("has documents"), "{zone:?}");
}
