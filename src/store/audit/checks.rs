//! The checks: each asks the database one question, and answers in sentences.

use sqlx::PgConnection;

use crate::store::epochs::{self, Extent};
use crate::store::verification::{self, Difference};
use crate::store::{Error, cursor};

/// At most so many findings of a check are told one by one.
pub const FINDINGS_MAX: i64 = 20;

/// Dispositions tile each epoch of the stream: each run begins where the one before ended.
pub(super) async fn tiling(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let breaks: Vec<(i32, i64, i64)> = sqlx::query_as(
        "with epochs as ( \
            select epoch, began_after from epoch union all select epoch, began_after from cursor), \
         runs as ( \
            select epoch, sequence as first, sequence as last from ledger where source = 0 \
            union all select epoch, first, last from disposition), \
         placed as ( \
            select epoch, first, last, \
                lag(last) over (partition by epoch order by first, last) as before from runs) \
         select epoch, coalesce(before, began_after, 0), first \
         from placed left join epochs using (epoch) \
         where first <> coalesce(before, began_after, 0) + 1 order by epoch, first limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut findings: Vec<String> = breaks
        .into_iter()
        .map(|(epoch, before, first)| {
            let what = if first > before + 1 { "has no disposition" } else { "has two" };
            format!("epoch {epoch}: a position between {before} and {first} {what}")
        })
        .collect();
    for Extent { epoch, began_after, sequence } in epochs::extents(&mut *connection).await? {
        let last: Option<i64> = sqlx::query_scalar(
            "select greatest((select max(sequence) from ledger where source = 0 and epoch = $1), \
                (select max(last) from disposition where epoch = $1))",
        )
        .bind(epoch)
        .fetch_one(&mut *connection)
        .await?;
        let last = last.unwrap_or(began_after);
        if last != sequence {
            findings.push(format!(
                "epoch {epoch}: the cursor is at position {sequence} and the last disposition at {last}"
            ));
        }
    }
    Ok(findings)
}

/// Positions that the stream no longer had are an open or accepted gap, and no others are.
pub(super) async fn gaps(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let differences: Vec<(i32, i64, bool)> = sqlx::query_as(
        "with disposed as (select epoch, first, last from disposition where kind = 'gap'), \
            noted as (select epoch, first, last from gap where reason = 'missing') \
         select epoch, first, n.first is null from disposed d \
         full join noted n using (epoch, first, last) \
         where d.last is null or n.last is null order by 1, 2 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(differences
        .into_iter()
        .map(|(epoch, first, is_disposed)| {
            if is_disposed {
                format!("epoch {epoch}: the gap from position {first} is not among the gaps")
            } else {
                format!("epoch {epoch}: a gap from position {first} has no such disposition")
            }
        })
        .collect())
}

/// No receipt of a brand is counted twice: not by two events, and not by what is left after what was
/// taken back.
pub(super) async fn uniqueness(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let doubles: Vec<(String, String, Vec<i64>)> = sqlx::query_as(
        "select b.brand_id, min(l.receipt_id), array_agg(l.entry order by l.entry) \
         from ledger l join brand b using (brand_no) \
         group by b.brand_id, l.receipt_key \
         having count(*) filter (where source < 3) > 1 \
            or sum(case source when 4 then -1 else 1 end) not in (0, 1) order by 3 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(doubles
        .into_iter()
        .map(|(brand, receipt, entries)| {
            format!(
                "receipt {receipt} of {brand} is counted {} times: entries {entries:?}",
                entries.len()
            )
        })
        .collect())
}

/// Entries are dense from 1 to the cursor's, those that were moved out as doubles included.
pub(super) async fn entries(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let cursor = cursor::read(&mut *connection).await?;
    let (count, first, last): (i64, Option<i64>, Option<i64>) = sqlx::query_as(
        "select count(*), min(entry), max(entry) from ( \
            select entry from ledger union all select entry from ledger_double) as given",
    )
    .fetch_one(&mut *connection)
    .await?;
    let (first, last) = (first.unwrap_or(1), last.unwrap_or(0));
    let mut findings = Vec::new();
    if (first, last, count) != (1, cursor.entry, cursor.entry) {
        findings.push(format!(
            "{count} entries from {first} to {last}, and the cursor says 1 to {}",
            cursor.entry
        ));
    }
    let twice: Vec<i64> = sqlx::query_scalar(
        "select entry from ledger_double join ledger using (entry) order by 1 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    let both =
        |entry| format!("entry {entry} was moved out as a double and is in the ledger still");
    findings.extend(twice.into_iter().map(both));
    Ok(findings)
}

/// Each void and resolution names an entry of the same receipt, and is recorded with its reason.
pub(super) async fn corrections(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let wrong: Vec<(i64, Option<i64>)> = sqlx::query_as(
        "select l.entry, l.of_entry from ledger l left join correction c on c.entry = l.entry \
         where l.source >= 3 and (c.of_entry is distinct from l.of_entry \
            or c.kind <> case l.source when 4 then 'void' else 'resolution' end \
            or not exists (select from ledger o where o.entry = l.of_entry and o.source <> 4 \
                and o.brand_no = l.brand_no and o.receipt_key = l.receipt_key)) \
         union all \
         select c.entry, c.of_entry from correction c left join ledger l \
            on l.entry = c.entry and l.source >= 3 where l.entry is null order by 1 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(wrong
        .into_iter()
        .map(|(entry, of)| {
            let of = of.map_or_else(|| "nothing".to_owned(), |of| format!("entry {of}"));
            format!("entry {entry} corrects {of}, and ledger and record do not bear it out")
        })
        .collect())
}

/// A conflict contradicts an entry of the ledger, of the same receipt.
pub(super) async fn conflicts(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let dangling: Vec<(i64, i64)> = sqlx::query_as(
        "select conflict_no, entry from conflict c where not exists ( \
            select from ledger l where l.entry = c.entry and l.brand_no = c.brand_no \
                and l.receipt_key = c.receipt_key and l.source <> 4) \
         order by conflict_no limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(dangling
        .into_iter()
        .map(|(conflict, entry)| {
            format!("conflict {conflict} contradicts entry {entry}, which is none of its receipt")
        })
        .collect())
}

/// Events wait parked only as long as their brand is parked: nobody would meter them later.
pub(super) async fn parking(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let stranded: Vec<(String, i64)> = sqlx::query_as(
        "select b.brand_id, count(*) from parked_event p join brand b using (brand_no) \
         where p.outcome is null and b.parked_at is null group by 1 order by 1 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(stranded
        .into_iter()
        .map(|(brand, events)| {
            format!(
                "{events} parked events of {brand} wait, and the brand is not parked: unpark it"
            )
        })
        .collect())
}

/// What is a duplicate or a conflict is one of a receipt that was counted.
pub(super) async fn duplicates(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    // All are found first. With the limit among the conditions PostgreSQL counts on finding some soon, and looks
    // them up one by one: there are none, and that took minutes for a million receipts.
    let of_nothing: Vec<(String, i32, i64)> = sqlx::query_as(
        "with of_nothing as materialized ( \
            select d.kind, d.epoch, d.first from disposition d \
            where d.kind in ('duplicate', 'conflict') and not exists ( \
                select from ledger l where l.brand_no = d.brand_no and l.receipt_key = d.receipt_key)) \
         select kind, epoch, first from of_nothing order by epoch, first limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(of_nothing
        .into_iter()
        .map(|(kind, epoch, sequence)| {
            format!("position {sequence} of epoch {epoch} is a {kind} of a receipt never counted")
        })
        .collect())
}

/// Usage rows are the ledger summed up, as far as it was added to them.
pub(super) async fn usage(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let differences: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "with counted as ( \
            select brand_no, usage_day, predicate_no, coalesce(result, true) as result, \
                count(*) filter (where source <> 4) as receipts, \
                count(*) filter (where source = 4) as voided from ledger \
            where entry <= (select entry from usage_fold) group by 1, 2, 3, 4) \
         select coalesce(b.brand_id, 'a brand without a row, ' || brand_no), \
            format('%s %s@%s %s', usage_day, p.name, p.version, result), \
            coalesce(u.receipts - u.voided, 0), coalesce(c.receipts - c.voided, 0) \
         from counted c full join usage_day u using (brand_no, usage_day, predicate_no, result) \
         left join brand b using (brand_no) left join predicate p using (predicate_no) \
         where b.brand_no is null or p.predicate_no is null \
            or coalesce(u.receipts, 0) <> coalesce(c.receipts, 0) \
            or coalesce(u.voided, 0) <> coalesce(c.voided, 0) order by 1, 2 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(differences
        .into_iter()
        .map(|(brand, group, usage, ledger)| {
            format!("usage of {brand} on {group} is {usage} and the ledger has {ledger}")
        })
        .collect())
}

/// What was rejected or parked is kept with its bytes.
pub(super) async fn evidence_of_rejection(
    connection: &mut PgConnection,
) -> Result<Vec<String>, Error> {
    let missing: Vec<(String, i32, i64)> = sqlx::query_as(
        "select d.kind, d.epoch, d.first from disposition d \
         left join rejection r on r.epoch = d.epoch and r.sequence = d.first \
         left join parked_event p on p.epoch = d.epoch and p.sequence = d.first \
         where (d.kind = 'rejected' and r.sequence is null) \
            or (d.kind = 'parked' and p.sequence is null) \
         order by d.epoch, d.first limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(missing
        .into_iter()
        .map(|(kind, epoch, sequence)| {
            format!("position {sequence} of epoch {epoch} is {kind} and its event is not kept")
        })
        .collect())
}

/// What a retry or an unpark has counted is an entry that came from there, and the other way round.
pub(super) async fn counted_later(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let wrong: Vec<(String, i32, i64)> = sqlx::query_as(
        "with said as ( \
            select 'rejection' as what, 1 as source, epoch, sequence, entry from rejection \
                where entry is not null \
            union all select 'parked event', 2, epoch, sequence, entry from parked_event \
                where entry is not null), \
         given as ( \
            select source, epoch, sequence, entry from ledger where source in (1, 2) \
            union all select source, epoch, sequence, entry from ledger_double \
                where source in (1, 2)) \
         select coalesce(what, 'ledger'), epoch, sequence \
         from said full join given using (source, epoch, sequence, entry) \
         where said.what is null or given.entry is null \
         union all \
         select 'parked event', epoch, sequence from parked_event p where p.outcome = 'rejected' \
            and not exists (select from rejection r \
                where r.epoch = p.epoch and r.sequence = p.sequence) \
         order by 2, 3 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(wrong
        .into_iter()
        .map(|(what, epoch, sequence)| {
            format!(
                "position {sequence} of epoch {epoch}: the {what} tells another story than the rest"
            )
        })
        .collect())
}

/// Documents have the bytes that they were issued with, their rows say the same, and each names the one
/// before it. The ledger behind them is for `invoices verify`.
pub(super) async fn documents(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let differences = verification::check_all(connection).await?;
    let most = usize::try_from(FINDINGS_MAX).unwrap_or(usize::MAX);
    let say = |found: Difference| format!("{}: {}", found.document, found.what);
    Ok(differences.into_iter().take(most).map(say).collect())
}

/// What a cancelled document charged is given back, line by line, by notes that stand.
pub(super) async fn cancellations(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let open: Vec<(String, i32, String, String)> = sqlx::query_as(
        "select coalesce(d.number, d.document_no::text), l.line, l.amount::text, c.amount::text \
         from document_event e join document d using (document_no) join document_line l using (document_no) \
         cross join lateral ( \
            select coalesce(sum(n.amount), 0) as amount from document_line n \
            where (n.credits_document, n.credits_line) = (l.document_no, l.line) \
                and not exists (select from document_event v where v.document_no = n.document_no \
                    and v.kind in ('voided', 'cancelled'))) c \
         where e.kind = 'cancelled' and c.amount <> l.amount order by l.document_no, l.line limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(open
        .into_iter()
        .map(|(name, line, charged, credited)| {
            format!(
                "{name} is cancelled, and {credited} of {charged} of its line {line} is credited"
            )
        })
        .collect())
}

/// Receipt ids that are counted for more than one brand: right by the rules, since an id is a brand's
/// own, and worth a look, since a gateway may have named the wrong one.
pub(super) async fn shared_receipts(connection: &mut PgConnection) -> Result<Vec<String>, Error> {
    let shared: Vec<(String, Vec<String>)> = sqlx::query_as(
        "select min(l.receipt_id), array_agg(distinct b.brand_id) \
         from ledger l join brand b using (brand_no) where l.source < 3 \
         group by l.receipt_key having count(distinct l.brand_no) > 1 order by 1 limit $1",
    )
    .bind(FINDINGS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(shared
        .into_iter()
        .map(|(receipt, brands)| {
            format!("receipt {receipt} is counted for each of {}", brands.join(", "))
        })
        .collect())
}
