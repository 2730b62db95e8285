//! Giving brands plans, and ending or withdrawing that.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use billing::ids::BrandId;
use billing::period::Change;
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::brands::known;
use super::caller::{Caller, no_brand};
use super::form::{Because, Day, Reason};
use super::page::{Body, Path};
use super::problem::{Fault, Problem};
use crate::store::assignments::{self, Ended, Made, New, Refused};

/// A plan that a brand is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAssignment {
    #[schema(example = "brand-acme")]
    brand: String,
    /// It must have been applied.
    #[schema(example = "zkdpp-standard")]
    plan: String,
    /// First day, in the brand's zone; as early as the first usage day.
    #[schema(value_type = String, format = Date, example = "2026-03-01")]
    from: Day,
    /// First day on which it no longer holds; open if it is left out.
    #[schema(value_type = Option<String>, format = Date, example = json!(null))]
    until: Option<Day>,
    /// From which day periods are counted: `calendar`, which is what is taken without it, `anniversary`
    /// (the first day), or a day.
    #[schema(example = "calendar")]
    anchor: Option<String>,
    /// Ends the period that is running on `from`, and begins another there. Without it the assignment waits
    /// for the end of that period.
    #[serde(default)]
    #[schema(example = false)]
    split: bool,
    /// Why, for the history.
    #[schema(value_type = Option<String>, example = "contract of February", min_length = 1,
        max_length = 1000)]
    because: Option<Reason>,
}

/// An assignment that was made, and what it did to others.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeAssignment {
    #[schema(example = 4)]
    assignment_no: i64,
    /// The one that it took over from, which ends on its first day.
    #[schema(example = 3)]
    replaced: Option<i64>,
    /// The first day that it prices, which may come after its first day.
    #[schema(example = "2026-03-01")]
    priced_from: NaiveDate,
    /// Others that waited, and now never price a day.
    #[schema(example = json!([]))]
    overtaken: Vec<i64>,
    /// The first day after it on which the brand has no plan, if there is one.
    #[schema(example = json!(null))]
    nothing_from: Option<NaiveDate>,
}

impl From<Made> for MadeAssignment {
    fn from(made: Made) -> Self {
        Self {
            assignment_no: made.no,
            replaced: made.replaced,
            priced_from: made.priced_from,
            overtaken: made.overtaken,
            nothing_from: made.nothing_from,
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let fault = Fault { code: refused.name().to_owned(), detail: refused.to_string() };
        Self::refused(refused).with_errors(vec![fault])
    }
}

/// Gives a brand a plan from a day on. An assignment that is open on that day ends there. A period takes the
/// version of the plan that is in force on its first day.
#[utoipa::path(post, path = "/v1/assignments", tag = "assignments", request_body = NewAssignment,
    responses((status = 201, description = "It is made", body = MadeAssignment)))]
pub async fn create(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewAssignment>,
) -> Result<(StatusCode, Json<MadeAssignment>), Problem> {
    let brand = existing(&api, &caller, &new.brand).await?;
    let anchor = new.anchor.as_deref().unwrap_or("calendar");
    let anchor = assignments::anchor(anchor, new.from.0)
        .map_err(|why| Problem::body(format!("anchor: {why}")))?;
    let wanted = New {
        plan: new.plan,
        from: new.from.0,
        until: new.until.map(|day| day.0),
        anchor,
        change: if new.split { Change::Split } else { Change::NextPeriod },
        because: new.because.map(|because| because.0),
    };
    let pool = &api.store().pool;
    let made = assignments::create(pool, &brand, &wanted, Utc::now(), &caller.name).await;
    let made = made.map_err(Problem::of_rule)??;
    Ok((StatusCode::CREATED, Json(made.into())))
}

async fn existing(api: &Api, caller: &Caller, brand: &str) -> Result<BrandId, Problem> {
    let mut snapshot = api.read(caller).await?;
    let brand = known(&mut snapshot, caller, brand).await?;
    drop(snapshot);
    Ok(brand.id)
}

/// When an assignment ends, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndAssignment {
    /// First day on which it no longer holds; its period ends the day before.
    #[schema(value_type = String, format = Date, example = "2026-07-01")]
    on: Day,
    /// Why, for the history.
    #[schema(value_type = String, example = "the contract ends", min_length = 1, max_length = 1000)]
    because: Reason,
}

/// An assignment that was ended or withdrawn, and what that did to others.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndedAssignment {
    #[schema(example = 4)]
    assignment_no: i64,
    /// True if it never held.
    #[schema(example = false)]
    is_withdrawn: bool,
    /// The one that it had taken over from, which goes on.
    restored: Option<RestoredAssignment>,
    /// The brand has no plan on the day.
    #[schema(example = true)]
    is_without: bool,
    /// Others that price other days now, and itself if it prices none.
    moved: Vec<MovedAssignment>,
}

/// An assignment that goes on.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoredAssignment {
    #[schema(example = 3)]
    assignment_no: i64,
    #[schema(example = "zkdpp-standard")]
    plan: String,
    /// The first day without it; null while it is open.
    #[schema(example = json!(null))]
    until: Option<NaiveDate>,
}

/// An assignment that prices other days.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovedAssignment {
    #[schema(example = 5)]
    assignment_no: i64,
    /// The first day that it prices now; null if it prices none.
    #[schema(example = "2026-07-01")]
    priced_from: Option<NaiveDate>,
    /// The first day after those; null while they are open.
    #[schema(example = json!(null))]
    priced_until: Option<NaiveDate>,
}

impl EndedAssignment {
    fn of(assignment_no: i64, ended: Ended) -> Self {
        let restored =
            |(assignment_no, plan, until)| RestoredAssignment { assignment_no, plan, until };
        let moved = |(assignment_no, priced): (i64, assignments::Priced)| MovedAssignment {
            assignment_no,
            priced_from: priced.map(|(first, _)| first),
            priced_until: priced.and_then(|(_, end)| end),
        };
        Self {
            assignment_no,
            is_withdrawn: ended.is_withdrawn,
            restored: ended.restored.map(restored),
            is_without: ended.is_without,
            moved: ended.moved.into_iter().map(moved).collect(),
        }
    }
}

/// Lets an assignment end. On its first day it is withdrawn.
#[utoipa::path(post, path = "/v1/assignments/{assignment_no}/end", tag = "assignments",
    params(("assignment_no" = i64, Path, description = "Its number", example = 4)),
    request_body = EndAssignment,
    responses((status = 200, description = "It ends", body = EndedAssignment)))]
pub async fn end(
    State(api): State<Api>,
    caller: Caller,
    Path(assignment_no): Path<i64>,
    Body(EndAssignment { on, because }): Body<EndAssignment>,
) -> Result<Json<EndedAssignment>, Problem> {
    let record = record(&api, &caller, assignment_no).await?;
    end_on(&api, &caller, &record, on.0, &because).await
}

/// Withdraws an assignment, as if it had never been made: the one that it took over from goes on.
#[utoipa::path(post, path = "/v1/assignments/{assignment_no}/withdraw", tag = "assignments",
    params(("assignment_no" = i64, Path, description = "Its number", example = 4)),
    request_body = Because,
    responses((status = 200, description = "It is withdrawn", body = EndedAssignment)))]
pub async fn withdraw(
    State(api): State<Api>,
    caller: Caller,
    Path(assignment_no): Path<i64>,
    Body(Because { because }): Body<Because>,
) -> Result<Json<EndedAssignment>, Problem> {
    let record = record(&api, &caller, assignment_no).await?;
    end_on(&api, &caller, &record, record.from_day, &because).await
}

async fn record(
    api: &Api,
    caller: &Caller,
    assignment_no: i64,
) -> Result<assignments::Record, Problem> {
    let mut snapshot = api.read(caller).await?;
    let found = assignments::find(&mut *snapshot, assignment_no).await?;
    drop(snapshot);
    found.ok_or_else(|| Problem::not_found(format!("assignment {assignment_no}")))
}

async fn end_on(
    api: &Api,
    caller: &Caller,
    record: &assignments::Record,
    on: NaiveDate,
    because: &Reason,
) -> Result<Json<EndedAssignment>, Problem> {
    let brand = BrandId::new(&record.brand_id).ok_or_else(|| no_brand(&record.brand_id))?;
    let (pool, no, now) = (&api.store().pool, record.assignment_no, Utc::now());
    let ended = assignments::end(pool, &brand, no, on, &because.0, now, &caller.name).await;
    let ended = ended.map_err(Problem::of_rule)??;
    Ok(Json(EndedAssignment::of(no, ended)))
}
