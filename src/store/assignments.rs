//! Assignments: which plan a brand has from which day. Rows are added and never changed.

use std::collections::BTreeMap;

use billing::assignment::{self, Assignment, Limits, Refusal, Taken, Timeline};
use billing::ids::BrandId;
use billing::period::{Anchor, Change};
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool};

use super::brands::{self, Brand, Scope};
use super::catalog::{self, Catalog};
use super::over_brands::{self, Listed, Place};
use super::{Error, change, forms, usage, waivers};

/// Most assignments of one brand.
pub const ASSIGNMENTS_MAX: usize = 1_000;

/// An assignment as it stands.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Record {
    pub assignment_no: i64,
    pub brand_no: i32,
    pub brand_id: String,
    pub plan_name: String,
    pub from_day: NaiveDate,
    pub until_day: Option<NaiveDate>,
    /// The day from which periods are counted; `None` for the calendar.
    pub anchor_day: Option<NaiveDate>,
    pub is_split: bool,
    pub because: Option<String>,
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    /// The assignment that took over from it, if it ends for that.
    pub replaced_by: Option<i64>,
}

impl Record {
    fn assignment(&self) -> Assignment {
        Assignment {
            no: self.assignment_no,
            plan: self.plan_name.clone(),
            anchor: self.anchor_day.map_or(Anchor::Calendar, Anchor::Anniversary),
            change: if self.is_split { Change::Split } else { Change::NextPeriod },
            from: self.from_day,
            until: self.until_day,
        }
    }
}

/// Something that was done to a brand's assignments.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Act {
    pub made_at: DateTime<Utc>,
    pub made_by: String,
    pub brand_id: String,
    pub assignment_no: i64,
    /// `created`, `ended`, `withdrawn`, `replaced` or `restored`.
    pub act: String,
    pub plan_name: String,
    pub from_day: NaiveDate,
    pub until_day: Option<NaiveDate>,
    /// The assignment that took over.
    pub replaced_by: Option<i64>,
    pub because: Option<String>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct New {
    pub plan: String,
    pub from: NaiveDate,
    pub until: Option<NaiveDate>,
    pub anchor: Anchor,
    pub change: Change,
    pub because: Option<String>,
}

/// Why something is refused that the brand's other assignments or the plans stand against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Place(#[from] Refusal),
    #[error(transparent)]
    Timeline(#[from] assignment::Error),
    #[error("the brand has {ASSIGNMENTS_MAX} assignments, which is the most that one may have")]
    TooMany,
}

impl Refused {
    /// The refusal's name for machines; it never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Refused::Place(refusal) => refusal.name(),
            Refused::Timeline(error) => error.name(),
            Refused::TooMany => "too_many_assignments",
        }
    }
}

/// Reads from which day periods are counted: `calendar`, `anniversary` (the first day of the
/// assignment, `from`), or a day.
///
/// # Errors
/// What is wrong, for the person who wrote it.
pub fn anchor(text: &str, from: NaiveDate) -> Result<Anchor, String> {
    match text {
        "calendar" => Ok(Anchor::Calendar),
        "anniversary" => Ok(Anchor::Anniversary(from)),
        text => forms::day(text)
            .map(Anchor::Anniversary)
            .map_err(|why| format!("it is not calendar, anniversary or a day: {why}")),
    }
}

/// An assignment that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub no: i64,
    /// The one that it took over from, which now ends on its first day.
    pub replaced: Option<i64>,
    /// The first day that it prices, which may come after its first day.
    pub priced_from: NaiveDate,
    /// Others that waited, and now never price a day.
    pub overtaken: Vec<i64>,
    /// The first day after it, if nothing has that.
    pub nothing_from: Option<NaiveDate>,
}

/// An assignment that was ended or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// True if it never held.
    pub is_withdrawn: bool,
    /// The one that it had taken over from, which goes on, with its plan and the first day after it.
    pub restored: Option<(i64, String, Option<NaiveDate>)>,
    /// True if the brand has no plan on the day.
    pub is_without: bool,
    /// Others that price other days now, and itself if it prices none, by number.
    pub moved: Vec<(i64, Priced)>,
}

/// The days that an assignment prices: the first, and the first day after them; `None` if none.
pub type Priced = Option<(NaiveDate, Option<NaiveDate>)>;

/// The assignments of all brands, or of some, by brand and day; withdrawn ones too.
///
/// # Errors
/// If the database is away.
pub async fn records(
    executor: impl PgExecutor<'_>,
    scope: impl Into<Scope>,
) -> Result<Vec<Record>, Error> {
    Ok(sqlx::query_as(
        "select a.*, b.brand_id from assignment_now a join brand b using (brand_no) \
         where $1::int[] is null or a.brand_no = any($1) \
         order by b.brand_id, a.from_day, a.assignment_no",
    )
    .bind(scope.into().numbers())
    .fetch_all(executor)
    .await?)
}

/// At most `limit` assignments of all brands or of one, withdrawn ones too, by the bytes of the brand's id, day and
/// number, after a place.
///
/// # Errors
/// If the database is away.
pub async fn page(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<Record>, Error> {
    let listed = Listed {
        table: "assignment",
        no: "assignment_no",
        select: "select a.*, b.brand_id from b join assignment_now a using (brand_no)",
    };
    over_brands::page(executor, listed, brand_no, after, limit).await
}

/// The assignment of this number.
///
/// # Errors
/// If the database is away.
pub async fn find(
    executor: impl PgExecutor<'_>,
    assignment_no: i64,
) -> Result<Option<Record>, Error> {
    Ok(sqlx::query_as(
        "select a.*, b.brand_id from assignment_now a join brand b using (brand_no) \
         where a.assignment_no = $1",
    )
    .bind(assignment_no)
    .fetch_optional(executor)
    .await?)
}

/// Everything that was done to assignments, oldest first.
///
/// # Errors
/// If the database is away.
pub async fn history(
    executor: impl PgExecutor<'_>,
    brand_no: Option<i32>,
) -> Result<Vec<Act>, Error> {
    Ok(sqlx::query_as(
        "select h.*, b.brand_id from ( \
            select made_at, made_by, brand_no, assignment_no, 'created' as act, plan_name, from_day, \
                until_day, null::bigint as replaced_by, because, 0::bigint as end_no \
            from assignment \
            union all \
            select e.made_at, e.made_by, a.brand_no, a.assignment_no, \
                case when e.is_restored then 'restored' when e.replaced_by is not null then 'replaced' \
                     when e.until_day <= a.from_day then 'withdrawn' else 'ended' end, \
                a.plan_name, a.from_day, e.until_day, e.replaced_by, e.because, e.end_no \
            from assignment_end e join assignment a using (assignment_no) \
         ) h join brand b using (brand_no) \
         where $1::int is null or h.brand_no = $1 \
         order by h.made_at, h.end_no, h.assignment_no",
    )
    .bind(brand_no)
    .fetch_all(executor)
    .await?)
}

/// The timelines of all brands that have assignments, or of some.
///
/// # Errors
/// If the database is away, or what it holds contradicts itself.
pub async fn timelines(
    connection: &mut PgConnection,
    catalog: &Catalog,
    scope: impl Into<Scope>,
) -> Result<BTreeMap<i32, Timeline>, Error> {
    let mut by_brand: BTreeMap<i32, Vec<Assignment>> = BTreeMap::new();
    for record in records(connection, scope).await? {
        by_brand.entry(record.brand_no).or_default().push(record.assignment());
    }
    let timeline = |(brand_no, assignments)| {
        let timeline = Timeline::new(assignments, &catalog.versions)
            .map_err(|error| Error::Corrupt(format!("brand number {brand_no}: {error}")))?;
        Ok((brand_no, timeline))
    };
    by_brand.into_iter().map(timeline).collect()
}

/// Assigns a plan. An open assignment that holds on the first day ends there.
///
/// # Errors
/// If the database is away; the inner error says why it is refused.
pub async fn create(
    pool: &PgPool,
    brand: &BrandId,
    new: &New,
    now: DateTime<Utc>,
    by: &str,
) -> Result<Result<Made, Refused>, Error> {
    let mut transaction = change::begin(pool).await?;
    let held = Held::lock(&mut transaction, brand, now).await?;
    let catalog = catalog::read(&mut *transaction).await?;
    let placed = match held.place(new, &catalog) {
        Ok(placed) => placed,
        Err(refused) => return Ok(Err(refused)),
    };
    let replaced = placed.replaced;
    let anchor = match new.anchor {
        Anchor::Calendar => None,
        Anchor::Anniversary(day) => Some(day),
    };
    let no: i64 = sqlx::query_scalar(
        "insert into assignment \
            (brand_no, plan_name, from_day, until_day, anchor_day, is_split, because, made_by) \
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning assignment_no",
    )
    .bind(held.brand.no)
    .bind(&new.plan)
    .bind(new.from)
    .bind(new.until)
    .bind(anchor)
    .bind(placed.change == Change::Split)
    .bind(&new.because)
    .bind(by)
    .fetch_one(&mut *transaction)
    .await?;
    if let Some(replaced) = replaced {
        let until = Some(new.from);
        let end =
            End { no: replaced, until, replaced_by: Some(no), because: None, is_restored: false };
        insert_end(&mut transaction, end, by).await?;
    }
    transaction.commit().await?;
    Ok(Ok(Made {
        no,
        replaced,
        priced_from: placed.priced_from,
        overtaken: placed.overtaken,
        nothing_from: placed.nothing_from,
    }))
}

/// Lets an assignment end on `until`, its first day without; on its first day it is withdrawn, and the
/// one that it had taken over from goes on.
///
/// # Errors
/// If the database is away; the inner error says why it is refused.
pub async fn end(
    pool: &PgPool,
    brand: &BrandId,
    no: i64,
    until: NaiveDate,
    because: &str,
    now: DateTime<Utc>,
    by: &str,
) -> Result<Result<Ended, Refused>, Error> {
    let mut transaction = change::begin(pool).await?;
    let held = Held::lock(&mut transaction, brand, now).await?;
    if let Err(refusal) = assignment::check_end(&held.taken(), no, until, held.limits) {
        return Ok(Err(refusal.into()));
    }
    let catalog = catalog::read(&mut *transaction).await?;
    let (ended, restored) = match held.without(no, until, &catalog) {
        Ok(found) => found,
        Err(refused) => return Ok(Err(refused)),
    };
    let (because, until, withdrawn) = (Some(because), Some(until), no);
    let end = End { no, until, replaced_by: None, because, is_restored: false };
    insert_end(&mut transaction, end, by).await?;
    if let Some(restored) = restored {
        let (no, until) = (restored.no, restored.until);
        let replaced_by = held.replaced_by.get(&withdrawn).copied();
        let end = End { no, until, replaced_by, because, is_restored: true };
        insert_end(&mut transaction, end, by).await?;
    }
    transaction.commit().await?;
    Ok(Ok(ended))
}

/// A row of `assignment_end`.
struct End<'a> {
    no: i64,
    until: Option<NaiveDate>,
    replaced_by: Option<i64>,
    because: Option<&'a str>,
    is_restored: bool,
}

async fn insert_end(connection: &mut PgConnection, end: End<'_>, by: &str) -> Result<(), Error> {
    sqlx::query(
        "insert into assignment_end \
            (assignment_no, until_day, replaced_by, because, is_restored, made_by) \
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(end.no)
    .bind(end.until)
    .bind(end.replaced_by)
    .bind(end.because)
    .bind(end.is_restored)
    .bind(by)
    .execute(connection)
    .await?;
    Ok(())
}

/// The days of a brand that are taken, while its row is locked.
pub(super) struct Held {
    pub(super) brand: Brand,
    assignments: Vec<Assignment>,
    /// Of those that end because another takes over: which one does.
    replaced_by: BTreeMap<i64, i64>,
    waivers: Vec<assignment::Stretch>,
    limits: Limits,
}

impl Held {
    /// Locks the brand's row, so that nobody else places anything meanwhile. Metering, which only
    /// refers to the row, does not wait for this.
    pub(super) async fn lock(
        connection: &mut PgConnection,
        brand: &BrandId,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let brand = brands::lock(&mut *connection, brand).await?;
        let records = records(&mut *connection, Some(brand.no)).await?;
        let waivers = waivers::standing(&mut *connection, Some(brand.no)).await?;
        let today = billing::usage::usage_day(now, brand.zone);
        let first = usage::first_day(&mut *connection, brand.no).await?;
        let open_from =
            sqlx::query_scalar("select max(period_end) from standing_invoice where brand_no = $1")
                .bind(brand.no)
                .fetch_one(&mut *connection)
                .await?;
        let limits = Limits { earliest: first.map_or(today, |first| first.min(today)), open_from };
        let replaced_by =
            records.iter().filter_map(|one| Some((one.assignment_no, one.replaced_by?))).collect();
        let assignments = records.iter().map(Record::assignment).collect();
        let waivers = waivers.iter().map(waivers::Record::stretch).collect();
        Ok(Self { brand, assignments, replaced_by, waivers, limits })
    }

    pub(super) fn taken(&self) -> Taken<'_> {
        Taken { assignments: &self.assignments, waivers: &self.waivers }
    }

    /// Checks where `new` stands among the others, that each of its days has a price, and that it prices
    /// a day at all.
    fn place(&self, new: &New, catalog: &Catalog) -> Result<Placed, Refused> {
        if self.assignments.len() >= ASSIGNMENTS_MAX {
            return Err(Refused::TooMany);
        }
        let replaced = assignment::check_new(&self.taken(), new.from, new.until, self.limits)?;
        // What takes over from nobody begins on its day, whatever is placed before it later.
        let change = if replaced.is_some() { new.change } else { Change::Split };
        let before = Timeline::new(self.assignments.clone(), &catalog.versions)?;
        let mut all = self.assignments.clone();
        for one in all.iter_mut().filter(|one| Some(one.no) == replaced) {
            one.until = Some(new.from);
        }
        let no = i64::MAX;
        let New { plan, from, until, anchor, .. } = new.clone();
        all.push(Assignment { no, plan, anchor, change, from, until });
        let after = Timeline::new(all, &catalog.versions)?;
        let (priced_from, priced_until) = assignment::check_priced(&after, no, from, until)?;
        // One that takes over ends the other for good, which is told.
        if let (None, Some(until)) = (replaced, until) {
            assignment::check_later_days(&before, &after, until)?;
        }
        let priced = |one: &&Assignment| before.priced(one.no).is_some();
        let overtaken = self.assignments.iter().filter(priced);
        let overtaken = overtaken.map(|one| one.no).filter(|no| after.priced(*no).is_none());
        Ok(Placed {
            replaced,
            change,
            priced_from,
            overtaken: overtaken.collect(),
            nothing_from: priced_until.filter(|day| after.period_of(*day).is_none()),
        })
    }

    /// What holds once assignment `no` ends on `until`: withdrawn, it gives its days back to the one that
    /// it took over from, which is the second answer.
    fn without(
        &self,
        no: i64,
        until: NaiveDate,
        catalog: &Catalog,
    ) -> Result<(Ended, Option<Assignment>), Refused> {
        let mut all = self.assignments.clone();
        let mut gives_back = None;
        for one in all.iter_mut().filter(|one| one.no == no) {
            gives_back = (until <= one.from).then_some(one.until);
            one.until = Some(until);
        }
        let mut restored = None;
        if let Some(back_until) = gives_back {
            for one in &mut all {
                if self.replaced_by.get(&one.no) == Some(&no) {
                    one.until = back_until;
                    restored = Some(one.clone());
                }
            }
        }
        let before = Timeline::new(self.assignments.clone(), &catalog.versions)?;
        let after = Timeline::new(all, &catalog.versions)?;
        let goes_on = restored.as_ref().map(|one| one.no);
        let is_withdrawn = gives_back.is_some();
        // That the assignment itself has its end, and the restored one its days, is no news.
        let is_news = |(other, now): &(i64, Priced)| {
            let is_expected =
                Some(*other) == goes_on || *other == no && (is_withdrawn || now.is_some());
            !is_expected && before.priced(*other) != *now
        };
        let priced = self.assignments.iter().map(|one| (one.no, after.priced(one.no)));
        let moved = priced.filter(is_news).collect();
        let told = restored.as_ref().map(|one| (one.no, one.plan.clone(), one.until));
        let is_without = after.period_of(until).is_none();
        Ok((Ended { is_withdrawn, restored: told, is_without, moved }, restored))
    }
}

/// Where a new assignment stands.
struct Placed {
    replaced: Option<i64>,
    change: Change,
    priced_from: NaiveDate,
    overtaken: Vec<i64>,
    nothing_from: Option<NaiveDate>,
}
