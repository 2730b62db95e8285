//! `prooftally assignments create|end|list|history|unassigned|waive|waivers|coverage`.

use billing::ids::BrandId;
use billing::period::Change;
use chrono::{NaiveDate, Utc};
use clap::{Args, Subcommand};

use super::asking::operator;
use super::output::{Cell, Listing, Output};
use super::plans::versions::refused;
use super::{Problem, brands};
use crate::store::assignments::{self, Made, New, Priced};
use crate::store::forms::reason;
use crate::store::{Store, catalog, unassigned, waivers};

#[derive(Debug, Subcommand)]
pub enum Assignments {
    /// Give a brand a plan from a day on
    Create(Create),
    /// Let an assignment end, or withdraw it by ending it on its first day
    End(End),
    /// The assignments of all brands, or of one, as they stand
    List {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Everything that was done to assignments: who, when and why
    History {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Usage on days without an assignment, which nobody pays for yet
    Unassigned {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Say that nobody will pay for the usage of days without an assignment
    Waive(Waive),
    /// All waivers, withdrawn ones too
    Waivers {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
    },
    /// Receipts of each brand: counted = assigned + waived + unassigned
    Coverage {
        /// Only this brand
        #[arg(long)]
        brand: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "A period takes the version of the plan that is in force on its first day. An \
    assignment that is open on --from ends there. The new one then waits for the end of the period that \
    is running, unless --split ends that period on --from."
)]
pub struct Create {
    /// The brand that pays
    #[arg(long)]
    brand: String,
    /// The plan, which must have been applied
    #[arg(long)]
    plan: String,
    /// First day, in the brand's zone; as early as the first usage day
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    from: NaiveDate,
    /// First day on which it no longer holds; open if it is left out
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    until: Option<NaiveDate>,
    /// From which day periods are counted: calendar, anniversary (the first day), or a date
    #[arg(long, default_value = "calendar")]
    anchor: String,
    /// End the period that is running on --from and begin another there
    #[arg(long)]
    split: bool,
    /// Why, for the history
    #[arg(long, value_parser = reason)]
    because: Option<String>,
}

#[derive(Debug, Args)]
pub struct End {
    /// The brand that pays
    #[arg(long)]
    brand: String,
    /// The assignment's number; the open one if it is left out
    #[arg(long, value_name = "N")]
    assignment: Option<i64>,
    /// First day on which it no longer holds; its period ends the day before
    #[arg(long, value_name = "DATE", value_parser = super::day::day)]
    on: NaiveDate,
    /// Why, for the history
    #[arg(long, value_parser = reason)]
    because: String,
}

#[derive(Debug, Args)]
pub struct Waive {
    /// The brand whose usage it is
    #[arg(long)]
    brand: String,
    /// First day
    #[arg(long, value_name = "DATE", value_parser = super::day::day, required_unless_present = "withdraw")]
    from: Option<NaiveDate>,
    /// First day that is not waived
    #[arg(long, value_name = "DATE", value_parser = super::day::day, required_unless_present = "withdraw")]
    until: Option<NaiveDate>,
    /// Withdraw this waiver instead, so that its days are unassigned again
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "until"])]
    withdraw: Option<i64>,
    /// Why, for the books
    #[arg(long, value_parser = reason)]
    because: String,
}

impl Assignments {
    pub async fn run(self, store: &Store, output: Output) -> anyhow::Result<()> {
        match self {
            Assignments::Create(one) => create(store, one).await,
            Assignments::End(one) => end(store, one).await,
            Assignments::Waive(one) => waive(store, one).await,
            Assignments::List { brand } => list(store, number(store, brand).await?, output).await,
            Assignments::History { brand } => {
                history(store, number(store, brand).await?, output).await
            }
            Assignments::Unassigned { brand } => {
                unassigned(store, number(store, brand).await?, output).await
            }
            Assignments::Waivers { brand } => {
                list_waivers(store, number(store, brand).await?, output).await
            }
            Assignments::Coverage { brand } => {
                coverage(store, number(store, brand).await?, output).await
            }
        }
    }
}

/// The brand's number, if one was named.
async fn number(store: &Store, brand: Option<String>) -> anyhow::Result<Option<i32>> {
    match brand {
        None => Ok(None),
        Some(brand) => Ok(Some(brands::known(store, &brand).await?.no)),
    }
}

async fn create(store: &Store, create: Create) -> anyhow::Result<()> {
    let Create { brand, plan, from, until, anchor, split, because } = create;
    let brand = brands::known(store, &brand).await?.id;
    let anchor = assignments::anchor(&anchor, from)
        .map_err(|why| Problem::Refused(format!("--anchor {anchor}: {why}")))?;
    let change = if split { Change::Split } else { Change::NextPeriod };
    let new = New { plan, from, until, anchor, change, because };
    let made = assign(store, &brand, &new).await?;
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    eprintln!("assignment {}: {brand} has plan {} from {from}{until}", made.no, new.plan);
    if let Some(replaced) = made.replaced {
        eprintln!("assignment {replaced} ends there");
    }
    if made.priced_from != from {
        let day = made.priced_from;
        eprintln!(
            "it waits for the end of the running period: the first day that it prices is {day}"
        );
    }
    for overtaken in made.overtaken {
        eprintln!("assignment {overtaken} was still waiting, and never prices a day now");
    }
    if let Some(day) = made.nothing_from {
        eprintln!("{}", without(&brand, day));
    }
    Ok(())
}

fn days_priced(priced: Priced) -> String {
    match priced {
        None => "prices no day now".to_owned(),
        Some((first, None)) => format!("prices the days from {first} on now"),
        Some((first, Some(end))) => format!("prices the days from {first} until {end} now"),
    }
}

fn without(brand: &BrandId, day: NaiveDate) -> String {
    format!(
        "from {day} on {brand} has no plan: `prooftally assignments create --brand {brand} --plan NAME \
         --from {day}` gives it one"
    )
}

/// Assigns a plan.
///
/// # Errors
/// [`Problem::Refused`] with the reason.
pub async fn assign(store: &Store, brand: &BrandId, new: &New) -> anyhow::Result<Made> {
    let made = assignments::create(&store.pool, brand, new, Utc::now(), &operator()).await;
    made.map_err(refused)?.map_err(|refused| Problem::Refused(refused.to_string()).into())
}

async fn end(store: &Store, end: End) -> anyhow::Result<()> {
    let End { brand, assignment, on, because } = end;
    let brand = brands::known(store, &brand).await?;
    let no = match assignment {
        Some(no) => no,
        None => open(store, brand.no).await?.ok_or_else(|| {
            let text = format!("{} has no open assignment: name one by --assignment", brand.id);
            Problem::NotFound(text)
        })?,
    };
    let ended = assignments::end(&store.pool, &brand.id, no, on, &because, Utc::now(), &operator())
        .await?
        .map_err(|refused| Problem::Refused(refused.to_string()))?;
    if ended.is_withdrawn {
        eprintln!("assignment {no} of {} is withdrawn", brand.id);
    } else {
        eprintln!("assignment {no} of {} ends: {on} is the first day without it", brand.id);
    }
    if let Some((restored, plan, until)) = ended.restored {
        let until = until.map_or_else(String::new, |until| format!(" until {until}"));
        eprintln!("assignment {restored}, of plan {plan}, goes on from {on}{until}");
    }
    for (other, priced) in ended.moved {
        eprintln!("assignment {other} {}", days_priced(priced));
    }
    if ended.is_without {
        eprintln!("{}", without(&brand.id, on));
    }
    Ok(())
}

async fn open(store: &Store, brand_no: i32) -> anyhow::Result<Option<i64>> {
    let records = assignments::records(&store.pool, Some(brand_no)).await?;
    Ok(records.iter().find(|one| one.until_day.is_none()).map(|one| one.assignment_no))
}

async fn waive(store: &Store, waive: Waive) -> anyhow::Result<()> {
    let Waive { brand, from, until, withdraw, because } = waive;
    let brand = brands::known(store, &brand).await?.id;
    if let Some(no) = withdraw {
        if !waivers::withdraw(&store.pool, &brand, no, &because, &operator()).await? {
            let text = format!("{brand} has no waiver {no} that stands");
            return Err(Problem::NotFound(text).into());
        }
        eprintln!("waiver {no} of {brand} is withdrawn: its days are unassigned again");
        return Ok(());
    }
    let (Some(from), Some(until)) = (from, until) else {
        return Err(Problem::Refused("say which days: --from and --until".to_owned()).into());
    };
    let days = (from, until);
    let no = waivers::waive(&store.pool, &brand, days, &because, Utc::now(), &operator())
        .await?
        .map_err(|refusal| Problem::Refused(refusal.to_string()))?;
    eprintln!("waiver {no}: nobody pays for the usage of {brand} from {from} until {until}");
    Ok(())
}

async fn list(store: &Store, brand: Option<i32>, output: Output) -> anyhow::Result<()> {
    let mut listing = Listing::new([
        "assignment",
        "brand",
        "plan",
        "from",
        "until",
        "first_priced_day",
        "last_priced_day",
        "anchor",
        "split",
        "because",
        "made_at",
        "made_by",
    ]);
    let mut snapshot = store.snapshot().await?;
    let catalog = catalog::read(&mut *snapshot).await?;
    let timelines = assignments::timelines(&mut snapshot, &catalog, brand).await?;
    for one in assignments::records(&mut *snapshot, brand).await? {
        let timeline = timelines.get(&one.brand_no);
        let priced = timeline.and_then(|timeline| timeline.priced(one.assignment_no));
        let anchor = one.anchor_day.map_or_else(|| "calendar".to_owned(), |day| day.to_string());
        listing.row([
            one.assignment_no.into(),
            one.brand_id.into(),
            one.plan_name.into(),
            one.from_day.into(),
            one.until_day.into(),
            priced.map(|(first, _)| first).into(),
            priced.and_then(|(_, end)| end?.pred_opt()).into(),
            anchor.into(),
            one.is_split.into(),
            one.because.into(),
            one.made_at.into(),
            one.made_by.into(),
        ]);
    }
    listing.print(output)
}

async fn history(store: &Store, brand: Option<i32>, output: Output) -> anyhow::Result<()> {
    let mut listing = Listing::new([
        "at",
        "by",
        "brand",
        "assignment",
        "act",
        "plan",
        "from",
        "until",
        "replaced_by",
        "because",
    ]);
    for act in assignments::history(&store.pool, brand).await? {
        listing.row([
            act.made_at.into(),
            act.made_by.into(),
            act.brand_id.into(),
            act.assignment_no.into(),
            act.act.into(),
            act.plan_name.into(),
            act.from_day.into(),
            act.until_day.into(),
            act.replaced_by.into(),
            act.because.into(),
        ]);
    }
    listing.print(output)
}

async fn unassigned(store: &Store, brand: Option<i32>, output: Output) -> anyhow::Result<()> {
    let rows = unassigned::unassigned(&store.pool, brand).await?;
    if output == Output::Table && rows.is_empty() {
        eprintln!("all usage is assigned or waived");
        return Ok(());
    }
    let mut listing = Listing::new(["brand", "first_day", "last_day", "receipts"]);
    for row in rows {
        listing.row([
            row.brand.into(),
            row.first_day.into(),
            row.last_day.into(),
            row.receipts.into(),
        ]);
    }
    listing.print(output)
}

async fn list_waivers(store: &Store, brand: Option<i32>, output: Output) -> anyhow::Result<()> {
    let mut listing = Listing::new([
        "waiver",
        "brand",
        "from",
        "until",
        "because",
        "made_at",
        "made_by",
        "withdrawn_at",
        "withdrawn_by",
        "withdrawn_because",
    ]);
    for one in waivers::records(&store.pool, brand).await? {
        listing.row([
            one.waiver_no.into(),
            one.brand_id.into(),
            one.from_day.into(),
            one.until_day.into(),
            one.because.into(),
            one.made_at.into(),
            one.made_by.into(),
            one.withdrawn_at.into(),
            one.withdrawn_by.into(),
            one.withdrawn_because.into(),
        ]);
    }
    listing.print(output)
}

async fn coverage(store: &Store, brand: Option<i32>, output: Output) -> anyhow::Result<()> {
    let mut listing = Listing::new(["brand", "counted", "assigned", "waived", "unassigned"]);
    for row in unassigned::coverage(&store.pool, brand).await? {
        listing.row([
            row.brand.into(),
            Cell::Integer(row.counted),
            row.assigned.into(),
            row.waived.into(),
            row.unassigned.into(),
        ]);
    }
    listing.print(output)
}
