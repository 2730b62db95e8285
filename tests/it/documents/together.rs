//! Many at once: documents that are looked at together are looked at as if each were alone, and two connections
//! read what one does.

use prooftally::store::beside;
use prooftally::store::billing_run::{self, Looked};
use prooftally::store::brands::Scope;

use super::numbers::terms;
use super::rules::DOCUMENT;
use super::*;

/// What is added to a document in a later statement of its transaction, after it was looked at, and what the
/// database says to that.
const ADDED_LATER: &[(&str, &str)] = &[
    (
        "insert into document_line (document_no, brand_no, line, period_start, line_key, label, quantity, \
            receipts, amount, tax_category, tax_rate_percent) \
         select document_no, brand_no, 1, '2026-03-01', 'minimum', 'x', 1, 0, 1, 'S', 19 \
         from document where body = 'x'",
        "the lines sum to 1, not to the net total 0",
    ),
    (
        "insert into document_tax (document_no, brand_no, category, rate_percent, taxable, tax) \
         select document_no, brand_no, 'S', 19, 0, 1 from document where body = 'x'",
        "its tax groups are not those of its lines",
    ),
    (
        "insert into document_period (document_no, brand_no, period_start, period_end, whole_start, \
            whole_end, plan_name, plan_version, tax_category, tax_rate_percent, after, cutoff, root, size, \
            is_regular) \
         select d.document_no, d.brand_no, '2026-06-01', '2026-07-01', '2026-06-01', '2026-07-01', \
            p.plan_name, p.plan_version, 'S', 19, 0, 0, p.root, 0, true \
         from document d, (select * from document_period limit 1) p where d.body = 'x'",
        "which is not said",
    ),
    (
        "with p as (insert into document_period (document_no, brand_no, period_start, period_end, \
                whole_start, whole_end, plan_name, plan_version, tax_category, tax_rate_percent, after, \
                cutoff, root, size, is_regular) \
            select d.document_no, d.brand_no, '2026-06-01', '2026-07-01', '2026-06-01', '2026-07-01', \
                p.plan_name, p.plan_version, 'S', 19, 0, 0, p.root, 0, false \
            from document d, (select * from document_period limit 1) p where d.body = 'x' \
            returning document_no, brand_no) \
         insert into billed (document_no, brand_no, period_start, line_key, quantity, receipts, amount) \
         select document_no, brand_no, '2026-06-01', 'minimum', 1, 0, 0 from p",
        "what it has billed is not what its lines charge",
    ),
    ("insert into documents_unchecked (documents) values ('{1}')", "permission denied"),
    ("delete from documents_unchecked", "permission denied"),
    ("select documents_wait('{1}')", "permission denied"),
];

/// `set constraints` brings the look at a document forward; what comes after it is not let pass.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_look_at_a_document_is_looked_at_too() {
    let till = Till::with(&[("acme", "2026-03-01"), ("bolt", "2026-03-01")]).await;
    till.finalize("acme", MARCH, "36.89");
    for (added, says) in ADDED_LATER {
        let url = till.world.application_url();
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
        let mut transaction = sqlx::Connection::begin(&mut connection).await.unwrap();
        for statement in
            ["set constraints all immediate", &format!("{DOCUMENT}select document_no from d")]
        {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        let told = sqlx::raw_sql(*added).execute(&mut *transaction).await;
        let told = told.expect_err(added).to_string();
        assert!(told.contains(says), "{added}\n{told}");
    }
    assert_eq!(till.scalar::<i64>("select count(*) from documents_unchecked").await, 0);
}

/// One document of a statement is wrong, and none of them is issued.
#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_document_is_found_among_good_ones() {
    let till = Till::with(&[("acme", "2026-03-01"), ("bolt", "2026-03-01")]).await;
    till.finalize("acme", MARCH, "36.89");
    till.finalize("bolt", MARCH, "36.89");
    // A document of nothing for each brand, and a line on that of the second.
    let both = DOCUMENT.replace("sha256('x')", "sha256('x' || b.brand_no::text::bytea)");
    let both = both.replace("o.hash, 'x'", "o.hash, 'x' || b.brand_no::text::bytea");
    let wrong = format!(
        "{both} insert into document_line (document_no, brand_no, line, period_start, line_key, label, \
            quantity, receipts, amount, tax_category, tax_rate_percent) \
         select document_no, brand_no, 1, '2026-03-01', 'minimum', 'x', 1, 0, 1, 'S', 19 from d \
         order by document_no desc limit 1"
    );
    let before: i64 = till.scalar("select count(*) from document").await;
    let told = till.told(&wrong).await.expect("it was let do this");
    assert!(told.contains("the lines sum to 1, not to the net total 0"), "{told}");
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, before);
    // Without that line they are let be, both of them.
    assert_eq!(till.told(&format!("{both}select document_no from d")).await, None);
    assert_eq!(till.scalar::<i64>("select count(*) from document").await, before + 2);
}

/// The activity log has a row for each document, with every column but the body.
#[tokio::test(flavor = "multi_thread")]
async fn the_activity_log_says_all_of_a_document_but_its_body() {
    let till = Till::with(&[("acme", "2026-03-01"), ("bolt", "2026-03-01")]).await;
    let run = till.run("invoices finalize --all --unapproved --period 2026-03");
    assert!(done(run).contains("2 issued"));
    let differences: i64 = till
        .scalar(
            "select count(*) from document d full join (select * from activity where subject = 'document') a \
                on (a.after ->> 'document_no')::bigint = d.document_no \
             where a.after is distinct from to_jsonb(d) - 'body' or a.act <> 'added' or a.before is not null \
                or a.brand_no <> d.brand_no or a.made_by <> d.finalized_by",
        )
        .await;
    assert_eq!(differences, 0);
}

/// Brands with what could be issued for them.
fn told(looked: &[Looked]) -> Vec<String> {
    let told = |(brand, candidates): &Looked| {
        let candidates = candidates.as_ref().unwrap().iter();
        let of =
            |one: &prooftally::store::due::Candidate| (one.slot, one.etag(), one.findings.clone());
        format!("{} {:?}", brand.id.as_str(), candidates.map(of).collect::<Vec<_>>())
    };
    looked.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_find_what_one_does() {
    let brands = ["acme", "bolt", "coil", "drum", "etch"];
    let days = ["2026-03-01", "2026-03-20", "2026-04-02"];
    let receipts: Vec<(&str, &str)> =
        brands.iter().flat_map(|brand| days.map(|day| (*brand, day))).collect();
    let till = Till::with(&receipts).await;
    till.count("n", &[("nobody", "2026-03-05"), ("etch", "2026-03-07")]).await;
    let (store, terms, now) = (&till.world.store, terms(), chrono::Utc::now());
    let two = told(&billing_run::look(store, &terms, None, now, None).await.unwrap());
    assert_eq!(two.len(), 6);
    let mut snapshot = store.snapshot().await.unwrap();
    let one = billing_run::look_in(&mut snapshot, &terms, None, now, None).await.unwrap();
    assert_eq!(two, told(&one));
    // Brands whose numbers lie apart, and side by side.
    let numbers: Vec<i32> = one.iter().map(|(brand, _)| brand.no).collect();
    for places in [vec![0, 4], vec![1, 2], vec![3]] {
        let scope = Scope::these(places.iter().map(|place| numbers[*place]).collect());
        let some = billing_run::look_in(&mut snapshot, &terms, scope, now, None).await.unwrap();
        let expected: Vec<String> = places.iter().map(|place| two[*place].clone()).collect();
        assert_eq!(told(&some), expected);
    }
}

/// A second reader sees nothing that was committed after the snapshot of the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_reader_sees_the_snapshot_of_the_first() {
    let till = Till::with(&[("acme", "2026-03-01")]).await;
    let count = "select count(*) from brand";
    let mut snapshot = till.world.store.snapshot().await.unwrap();
    let before: i64 = sqlx::query_scalar(count).fetch_one(&mut *snapshot).await.unwrap();
    till.count("later", &[("newcomer", "2026-03-01")]).await;
    let mut second = beside::open(&till.world.store, &mut snapshot).await.unwrap();
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut second).await.unwrap();
    assert_eq!((before, seen), (1, 1));
    assert_eq!(till.scalar::<i64>(count).await, 2);
}
