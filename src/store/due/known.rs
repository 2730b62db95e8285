//! What a billing run knows of all brands, or of one, read in one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use billing::assignment::Timeline;
use billing::completeness::{Answer, Cases, Gap, Numbers, Uniqueness};
use billing::document::{Charged, Override};
use billing::hash::Hash;
use billing::line::LineKey;
use billing::money::Money;
use billing::party::Party;
use billing::period::{Period, Slot};
use billing::tax::{Category, Dated, Treatment};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::store::audit::FINDINGS_MAX;
use crate::store::beside::Readers;
use crate::store::brands::{self, Brand, Scope};
use crate::store::catalog::{self, Catalog};
use crate::store::period_usage::{self, Row as UsageRow};
use crate::store::unassigned::{self, Unassigned};
use crate::store::{Error, assignments, audit_runs, profiles, uniqueness, usage_fold};

/// Everything that drafts and the gate are computed from, but usage.
pub struct Known {
    pub brands: Vec<Brand>,
    pub catalog: Catalog,
    /// The last entry of the ledger.
    pub cutoff: i64,
    pub gaps: Vec<(Gap, Option<DateTime<Utc>>)>,
    /// Open gaps that say that the stream may not be the one that was read.
    pub stream_doubts: Cases,
    pub caught_up: DateTime<Utc>,
    /// What the last audit found, in short, and each of its findings.
    pub audit: Vec<String>,
    pub audit_findings: Cases,
    pub uniqueness: Uniqueness,
    of: BTreeMap<i32, OfBrand>,
    /// Usage rows by brand and first day of the periods that are computed.
    usage: BTreeMap<(i32, NaiveDate), Vec<UsageRow>>,
}

/// What is known of one brand.
#[derive(Default)]
pub struct OfBrand {
    pub timeline: Timeline,
    pub taxes: Vec<Dated>,
    pub buyer: Option<Party>,
    /// 1 if nothing has moved it yet.
    pub billing_version: i64,
    pub previous: Option<Hash>,
    /// Periods with an invoice that stands, oldest first.
    pub invoiced: Vec<Invoiced>,
    pub rejections: Cases,
    pub conflicts: Cases,
    pub parked: Cases,
    pub unassigned: Vec<Unassigned>,
    /// Of the brand (no day), or of the period that begins on the day.
    pub holds: Vec<(Option<NaiveDate>, String)>,
    /// By first day of the period, the newest first.
    pub answers: Vec<(NaiveDate, Answer)>,
    pub billed: BTreeMap<NaiveDate, Vec<Charged>>,
}

/// A period with an invoice that stands, and by what it was priced.
pub struct Invoiced {
    pub slot: Slot,
    pub plan: String,
    pub version: i32,
    pub tax: Treatment,
    /// The last entry that any document of it that stands has seen.
    pub seen: i64,
    /// Its usage may not be what was billed.
    pub has_changed: bool,
}

#[derive(FromRow)]
struct InvoicedRow {
    brand_no: i32,
    period_start: NaiveDate,
    period_end: NaiveDate,
    whole_start: NaiveDate,
    whole_end: NaiveDate,
    plan_name: String,
    plan_version: i32,
    tax_category: String,
    tax_rate_percent: Decimal,
    tax_exemption: Option<String>,
    seen: i64,
    has_changed: bool,
}

impl Known {
    /// Reads it, of all brands or of some. If something is to be issued, `proves` that no receipt is counted
    /// twice, which reads what is not sealed of the ledger; otherwise no more is known than what was found.
    /// Usage without a plan, which takes longer than all the rest, is looked for beside it.
    ///
    /// # Errors
    /// If the database is away, or what it holds cannot be read.
    pub async fn read(
        readers: &mut Readers<'_>,
        scope: &Scope,
        proves: bool,
    ) -> Result<Self, Error> {
        let (known, unassigned) = match &mut readers.beside {
            Some(beside) => tokio::join!(
                Self::read_rest(readers.snapshot, scope, proves),
                unassigned::unassigned(&mut **beside, scope)
            ),
            None => (
                Self::read_rest(readers.snapshot, scope, proves).await,
                unassigned::unassigned(&mut *readers.snapshot, scope).await,
            ),
        };
        let mut known = known?;
        let numbers: BTreeMap<String, i32> =
            known.brands.iter().map(|brand| (brand.id.as_str().to_owned(), brand.no)).collect();
        for found in unassigned? {
            if let Some(brand) = numbers.get(&found.brand) {
                known.with(*brand, |of| of.unassigned.push(found));
            }
        }
        Ok(known)
    }

    /// All but the usage without a plan.
    async fn read_rest(
        snapshot: &mut PgConnection,
        scope: &Scope,
        proves: bool,
    ) -> Result<Self, Error> {
        let brands = brands::within(&mut *snapshot, scope).await?;
        let catalog = catalog::read(&mut *snapshot).await?;
        let cutoff = usage_fold::last_entry(&mut *snapshot).await?;
        let (gaps, stream_doubts) = gaps(snapshot).await?;
        let (audit, audit_findings) = audit(snapshot).await?;
        let caught_up: Option<DateTime<Utc>> =
            sqlx::query_scalar("select nullif(at, '-infinity') from caught_up")
                .fetch_one(&mut *snapshot)
                .await?;
        let mut known = Self {
            of: brands.iter().map(|brand| (brand.no, OfBrand::new())).collect(),
            brands,
            catalog,
            cutoff,
            gaps,
            stream_doubts,
            caught_up: caught_up.unwrap_or(DateTime::<Utc>::MIN_UTC),
            audit,
            audit_findings,
            uniqueness: if proves {
                uniqueness::prove(snapshot, cutoff, scope).await?
            } else {
                uniqueness::of_sealed(snapshot).await?
            },
            usage: BTreeMap::new(),
        };
        known.read_terms(snapshot, scope).await?;
        known.read_billing(snapshot, scope).await?;
        known.read_invoiced(snapshot, scope).await?;
        known.read_billed(snapshot, scope).await?;
        known.read_cases(snapshot, scope).await?;
        Ok(known)
    }

    /// Reads the usage of all periods that are computed now, of all brands at once: those that have ended
    /// and have no invoice, and those whose invoice may be another one by now. Each reader takes half of the
    /// brands.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn read_usage(
        &mut self,
        readers: &mut Readers<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut wanted = Vec::new();
        for brand in &self.brands {
            let Some(of) = self.of.get(&brand.no) else { continue };
            let changed = of.invoiced.iter().filter(|one| one.has_changed);
            let changed = changed.map(|one| one.slot.period);
            let ended = of.open(billing::usage::usage_day(now, brand.zone));
            wanted.extend(changed.chain(ended).map(|period| (brand.no, period)));
        }
        // By number, so that each half lies together in the table.
        wanted.sort_unstable_by_key(|(brand, _)| *brand);
        let rows = match &mut readers.beside {
            None => period_usage::read_many(readers.snapshot, &wanted).await?,
            Some(beside) => {
                let (half, other) = wanted.split_at(wanted.len() / 2);
                let (rows, others) = tokio::join!(
                    period_usage::read_many(readers.snapshot, half),
                    period_usage::read_many(beside, other)
                );
                let mut rows = rows?;
                rows.extend(others?);
                rows
            }
        };
        let keys = wanted.iter().map(|(brand, period)| (*brand, period.start()));
        self.usage = keys.zip(rows).collect();
        Ok(())
    }

    /// The usage rows of a brand's period that were read.
    pub fn usage_of(&self, brand_no: i32, period: Period) -> &[UsageRow] {
        self.usage.get(&(brand_no, period.start())).map_or(&[], Vec::as_slice)
    }

    /// What is known of a brand; `None` if it was not asked for.
    pub fn of(&self, brand_no: i32) -> Option<&OfBrand> {
        self.of.get(&brand_no)
    }

    fn with(&mut self, brand_no: i32, change: impl FnOnce(&mut OfBrand)) {
        if let Some(of) = self.of.get_mut(&brand_no) {
            change(of);
        }
    }

    /// Assignments, taxes and profiles.
    async fn read_terms(
        &mut self,
        snapshot: &mut PgConnection,
        scope: &Scope,
    ) -> Result<(), Error> {
        let timelines = assignments::timelines(&mut *snapshot, &self.catalog, scope).await?;
        for (brand, timeline) in timelines {
            self.with(brand, |of| of.timeline = timeline);
        }
        for (brand, records) in profiles::taxes(&mut *snapshot, scope).await? {
            let dated = records.into_iter().map(|record| record.dated).collect();
            self.with(brand, |of| of.taxes = dated);
        }
        for (brand, party) in profiles::newest(&mut *snapshot, scope).await? {
            self.with(brand, |of| of.buyer = Some(party));
        }
        Ok(())
    }

    async fn read_billing(
        &mut self,
        snapshot: &mut PgConnection,
        scope: &Scope,
    ) -> Result<(), Error> {
        let rows: Vec<(i32, i64, Option<Vec<u8>>)> = sqlx::query_as(
            "select b.brand_no, b.version, d.hash from brand_billing b \
             left join document d on d.brand_no = b.brand_no and d.chain = b.documents \
             where $1::int[] is null or b.brand_no = any($1)",
        )
        .bind(scope.numbers())
        .fetch_all(&mut *snapshot)
        .await?;
        for (brand, version, hash) in rows {
            let previous = hash.map(|hash| hash_of(&hash)).transpose()?;
            self.with(brand, |of| {
                of.billing_version = version;
                of.previous = previous;
            });
        }
        Ok(())
    }

    async fn read_invoiced(
        &mut self,
        snapshot: &mut PgConnection,
        scope: &Scope,
    ) -> Result<(), Error> {
        // Usage has changed if an entry came after the last one seen, or one was taken back.
        let rows: Vec<InvoicedRow> = sqlx::query_as(
            "select p.brand_no, p.period_start, p.period_end, p.whole_start, p.whole_end, \
                p.plan_name, p.plan_version, p.tax_category, p.tax_rate_percent, p.tax_exemption, \
                seen.cutoff as seen, \
                coalesce(u.last_entry > seen.cutoff, false) \
                    or coalesce(u.receipts, 0) <> billed.receipts as has_changed \
             from standing_invoice s join document_period p using (document_no, period_start) \
             cross join lateral (select max(q.cutoff) as cutoff from document_period q \
                join document_now d using (document_no) \
                where q.brand_no = s.brand_no and q.period_start = s.period_start \
                    and d.state = 'finalized') seen \
             cross join lateral (select coalesce(sum(receipts), 0) as receipts from billed b \
                where b.brand_no = s.brand_no and b.period_start = s.period_start) billed \
             cross join lateral (select max(last_entry) as last_entry, \
                sum(receipts - voided) as receipts from usage_day u \
                where u.brand_no = s.brand_no and u.usage_day >= s.period_start \
                    and u.usage_day < s.period_end) u \
             where $1::int[] is null or s.brand_no = any($1) order by s.brand_no, s.period_start",
        )
        .bind(scope.numbers())
        .fetch_all(&mut *snapshot)
        .await?;
        for row in rows {
            let brand = row.brand_no;
            let invoiced = row.read()?;
            self.with(brand, |of| of.invoiced.push(invoiced));
        }
        Ok(())
    }

    async fn read_billed(
        &mut self,
        snapshot: &mut PgConnection,
        scope: &Scope,
    ) -> Result<(), Error> {
        type Row = (i32, NaiveDate, String, i64, i64, Decimal, String);
        // What was taken back is as if it had never been charged.
        let rows: Vec<Row> = sqlx::query_as(
            "select b.brand_no, b.period_start, b.line_key, b.quantity, b.receipts, b.amount, \
                d.currency \
             from billed b join document_now d using (document_no) \
             where d.state = 'finalized' and not b.is_opposite \
                and ($1::int[] is null or b.brand_no = any($1))",
        )
        .bind(scope.numbers())
        .fetch_all(&mut *snapshot)
        .await?;
        for (brand, period, key, quantity, receipts, amount, currency) in rows {
            let corrupt =
                || Error::Corrupt(format!("billed: {key} of {period} of brand number {brand}"));
            let currency = billing::currency::Currency::from_code(&currency).ok_or_else(corrupt)?;
            let charged = Charged {
                period,
                key: LineKey::parse(&key).ok_or_else(corrupt)?,
                quantity,
                receipts,
                amount: Money::new(amount, currency).ok_or_else(corrupt)?,
            };
            self.with(brand, |of| of.billed.entry(period).or_default().push(charged));
        }
        Ok(())
    }

    /// What waits for a person.
    async fn read_cases(
        &mut self,
        snapshot: &mut PgConnection,
        scope: &Scope,
    ) -> Result<(), Error> {
        self.read_open(snapshot, scope).await?;
        let holds: Vec<(i32, Option<NaiveDate>, String)> = sqlx::query_as(
            "select brand_no, period_start, because from hold_now \
             where $1::int[] is null or brand_no = any($1) order by hold_no",
        )
        .bind(scope.numbers())
        .fetch_all(&mut *snapshot)
        .await?;
        for (brand, period, because) in holds {
            self.with(brand, |of| of.holds.push((period, because)));
        }
        // Those that were given before it was noted for what answer for nothing.
        let answers: Vec<(i32, NaiveDate, String, String, String, Json<Cases>)> = sqlx::query_as(
            "select brand_no, period_start, reason, made_by, because, cases from period_override \
             where cases is not null and ($1::int[] is null or brand_no = any($1)) \
             order by override_no desc",
        )
        .bind(scope.numbers())
        .fetch_all(&mut *snapshot)
        .await?;
        for (brand, period, reason, by, because, Json(seen)) in answers {
            let said = Override { reason, by, because };
            self.with(brand, |of| of.answers.push((period, Answer { said, seen })));
        }
        Ok(())
    }

    /// Open rejections and conflicts by their numbers, and parked events by their positions.
    async fn read_open(&mut self, snapshot: &mut PgConnection, scope: &Scope) -> Result<(), Error> {
        // Numbers that follow each other are one range, so that many cases are little to read and to keep.
        let open: Vec<(i32, String, Option<i32>, Json<Numbers>)> = sqlx::query_as(
            "select brand_no, kind, epoch, jsonb_agg(jsonb_build_array(lower(r), upper(r) - 1)) \
             from ( \
                select b.brand_no, 'rejection' as kind, null::int as epoch, \
                    range_agg(int8range(rejection_no, rejection_no, '[]')) as numbers \
                from rejection x join brand b using (brand_id) where x.state = 'open' \
                    and ($1::int[] is null or b.brand_no = any($1)) group by 1 \
                union all select brand_no, 'conflict', null, \
                    range_agg(int8range(conflict_no, conflict_no, '[]')) \
                from conflict where state = 'open' \
                    and ($1::int[] is null or brand_no = any($1)) group by 1 \
                union all select brand_no, 'parked', epoch, \
                    range_agg(int8range(sequence, sequence, '[]')) \
                from parked_event where outcome is null \
                    and ($1::int[] is null or brand_no = any($1)) group by 1, 3) n \
             cross join unnest(numbers) as r group by 1, 2, 3",
        )
        .bind(scope.numbers())
        .fetch_all(&mut *snapshot)
        .await?;
        for (brand, kind, epoch, Json(numbers)) in open {
            self.with(brand, |of| match (kind.as_str(), epoch) {
                (_, Some(epoch)) => of.parked.add(format!("position of epoch {epoch}"), numbers),
                ("rejection", None) => of.rejections.add(kind, numbers),
                (_, None) => of.conflicts.add(kind, numbers),
            });
        }
        Ok(())
    }
}

impl OfBrand {
    fn new() -> Self {
        Self { billing_version: 1, ..Self::default() }
    }

    /// Periods that have ended by the brand's day and have no invoice that stands, oldest first.
    fn open(&self, today: NaiveDate) -> impl Iterator<Item = Period> {
        let invoiced: BTreeSet<Period> = self.invoiced.iter().map(|one| one.slot.period).collect();
        let periods = self.timeline.periods_before(today).map(|assigned| assigned.slot.period);
        periods.filter(move |period| period.end() <= today && !invoiced.contains(period))
    }
}

impl InvoicedRow {
    fn read(self) -> Result<Invoiced, Error> {
        let corrupt = |what: &str| {
            let (brand, start) = (self.brand_no, self.period_start);
            Error::Corrupt(format!("the invoiced period from {start} of brand {brand}: {what}"))
        };
        let period = Period::new(self.period_start, self.period_end);
        let whole = Period::new(self.whole_start, self.whole_end);
        let (period, whole) = period.zip(whole).ok_or_else(|| corrupt("no days"))?;
        let category =
            Category::from_code(&self.tax_category).ok_or_else(|| corrupt("tax category"))?;
        let tax = Treatment::new(category, self.tax_rate_percent, self.tax_exemption.clone())
            .map_err(|error| corrupt(&error.to_string()))?;
        Ok(Invoiced {
            slot: Slot { period, whole },
            plan: self.plan_name,
            version: self.plan_version,
            tax,
            seen: self.seen,
            has_changed: self.has_changed,
        })
    }
}

pub(crate) fn hash_of(bytes: &[u8]) -> Result<Hash, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Corrupt("a hash has not 32 bytes".into()))?;
    Ok(Hash::from_bytes(bytes))
}

type Gaps = Vec<(Gap, Option<DateTime<Utc>>)>;

/// Open gaps with the time of the next message; and those that say that the stream may not be the one that
/// was read.
async fn gaps(snapshot: &mut PgConnection) -> Result<(Gaps, Cases), Error> {
    type Row = (i64, i32, i64, Option<i64>, Option<DateTime<Utc>>, bool);
    let rows: Vec<Row> = sqlx::query_as(
        "select gap_no, epoch, first, last, next_stored_at, reason = 'missing' from gap \
         where accepted_at is null order by gap_no",
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let (mut gaps, mut doubts) = (Vec::new(), Cases::default());
    for (gap_no, epoch, first, last, next, is_missing) in rows {
        if is_missing {
            let last = last.unwrap_or(first).unsigned_abs();
            gaps.push((
                Gap { epoch: epoch.unsigned_abs(), first: first.unsigned_abs(), last },
                next,
            ));
        } else {
            let number = gap_no.unsigned_abs();
            doubts.add("gap", vec![(number, number)].into());
        }
    }
    Ok((gaps, doubts))
}

/// What the last audit found to be wrong, in short, and each of its findings.
async fn audit(snapshot: &mut PgConnection) -> Result<(Vec<String>, Cases), Error> {
    let last = audit_runs::last(&mut *snapshot).await?;
    let Some(red) = last.filter(|last| last.violations > 0) else { return Ok(Default::default()) };
    let violations = audit_runs::violations(&mut *snapshot, red.run_no).await?;
    let short = format!("{} violations in audit {}", red.violations, red.run_no);
    Ok((vec![short], found_by_audit(red.run_no, violations)))
}

/// The cases of an audit: each finding in its words. What a check did not list may be another thing in each
/// audit, so nobody has answered for it.
fn found_by_audit(run_no: i64, violations: Vec<(String, i64)>) -> Cases {
    let mut by_check = BTreeMap::<String, u64>::new();
    let mut found = Cases::default();
    for (what, count) in violations {
        let check = what.split(": ").next().unwrap_or_default().to_owned();
        *by_check.entry(check).or_default() += count.unsigned_abs();
        found.add(what, Numbers::up_to(count.unsigned_abs()));
    }
    for (check, _) in by_check.iter().filter(|(_, count)| **count >= FINDINGS_MAX.unsigned_abs()) {
        found.add(format!("{check}: what audit {run_no} did not list"), Numbers::up_to(1));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_that_lists_a_part_is_answered_for_until_the_next_one() {
        let found = |run_no, violations: i64| {
            let all = (0..violations).map(|n| (format!("usage: brand {n} differs"), 1));
            found_by_audit(run_no, all.collect())
        };
        let (whole, cut) = (FINDINGS_MAX - 1, FINDINGS_MAX);
        assert!(found(1, whole).cover(&found(2, whole)), "the same in each audit");
        assert!(!found(1, whole - 1).cover(&found(2, whole)), "one more");
        assert!(found(1, cut).cover(&found(1, cut)));
        assert!(!found(1, cut).cover(&found(2, cut)), "there may be others behind those listed");
    }
}
