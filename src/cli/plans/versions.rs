//! `prooftally plans apply|withdraw|list|show`.

use billing::plan::Plan;
use chrono::{Months, NaiveDate, Utc};

use super::changes::changes;
use super::{Apply, Show, Withdraw};
use crate::cli::Problem;
use crate::cli::asking::operator;
use crate::cli::output::{Cell, Listing, Output};
use crate::store::plans::{self, Next, Version};
use crate::store::{Error, Store, plan_file};

/// How far ahead a version may take effect.
const AHEAD_MAX: Months = Months::new(24);

/// Adds the plan of a file as a new version, or only says what it would change.
pub async fn apply(store: &Store, apply: Apply, output: Output) -> anyhow::Result<()> {
    let Apply { file, dry_run, effective_from } = apply;
    let source = super::read(&file)?;
    let after = plan_file::parse(&source)
        .map_err(|error| Problem::Refused(format!("{}: {error}", file.display())))?;
    let name = after.terms().name.clone();
    let asked_from = effective_from;
    let newest = plans::versions(&store.pool, Some(&name)).await?.pop();
    let effective_from = in_force_from(&name, newest.is_none(), asked_from)?;
    let next = if dry_run {
        let last = plans::last_number(&store.pool, &name).await?;
        Next::after(newest, last, &source, effective_from)
    } else {
        plans::apply(&store.pool, &name, &source, effective_from, &operator())
            .await
            .map_err(refused)?
    };
    let number = match next {
        Next::Version(number) => number,
        Next::Same(newest) if asked_from.is_some_and(|from| from != newest.effective_from) => {
            let text = format!(
                "version {} of {name} has this very text and takes effect on {}, which does not change: \
                 withdraw it first (`prooftally plans withdraw`), if no document has used it",
                newest.version, newest.effective_from
            );
            return Err(Problem::Refused(text).into());
        }
        Next::Same(newest) => {
            eprintln!("version {} of {name} has this very text: nothing to change", newest.version);
            return Ok(());
        }
        Next::NotLater(newest) => {
            let text = format!(
                "version {} of {name} takes effect on {}, and a new one must do so later: give \
                 --effective-from a day after it, or withdraw that one first (`prooftally plans \
                 withdraw`), if no document has used it",
                newest.version, newest.effective_from
            );
            return Err(Problem::Refused(text).into());
        }
    };
    let versions = plans::versions(&store.pool, Some(&name)).await?;
    let before = versions.iter().rfind(|version| version.version < number);
    changes(before.map(plan).transpose()?.as_ref(), &after).print(output)?;
    if dry_run {
        eprintln!("dry run: version {number} of {name}, from {effective_from}, is not applied");
    } else {
        eprintln!("version {number} of {name} is in force from {effective_from}");
    }
    Ok(())
}

/// From when a new version is in force. No later version may take effect before it, so the first one
/// needs a day that somebody chose, and none may lie far ahead by a slip of the pen.
fn in_force_from(
    name: &str,
    is_first: bool,
    asked_from: Option<NaiveDate>,
) -> anyhow::Result<NaiveDate> {
    let today = Utc::now().date_naive();
    let Some(day) = asked_from else {
        if is_first {
            let text = format!(
                "the first version of {name} needs --effective-from: the first day that it may ever price, \
                 which no later version can go before"
            );
            return Err(Problem::Refused(text).into());
        }
        return Ok(today);
    };
    let latest = today.checked_add_months(AHEAD_MAX).unwrap_or(NaiveDate::MAX);
    if day > latest {
        let text = format!(
            "--effective-from {day} is more than two years ahead, and until then no other version of \
             {name} could be applied: give {latest} or earlier"
        );
        return Err(Problem::Refused(text).into());
    }
    Ok(day)
}

/// What the database's rules refuse, in its words.
pub fn refused(error: Error) -> anyhow::Error {
    match error.refusal_for_good() {
        Some(why) => {
            let why = why.split_once(": ").map_or(&*why, |(_code, why)| why);
            Problem::Refused(why.to_owned()).into()
        }
        None => error.into(),
    }
}

/// Withdraws a version that no document has used.
pub async fn withdraw(store: &Store, withdraw: Withdraw) -> anyhow::Result<()> {
    let Withdraw { name, version, because } = withdraw;
    if !(1..=plans::last_number(&store.pool, &name).await?).contains(&version) {
        return Err(Problem::NotFound(format!("plan {name} has no version {version}")).into());
    }
    plans::withdraw(&store.pool, &name, version, &because, &operator()).await.map_err(refused)?;
    match plans::versions(&store.pool, Some(&name)).await?.pop() {
        None => eprintln!("version {version} of {name} is withdrawn, and no other is left"),
        Some(newest) => eprintln!(
            "version {version} of {name} is withdrawn; version {} of {} is the newest again",
            newest.version, newest.effective_from
        ),
    }
    Ok(())
}

/// Every version of every plan; of those that were withdrawn also why.
pub async fn list(store: &Store, output: Output) -> anyhow::Result<()> {
    let today = Utc::now().date_naive();
    let versions = plans::versions(&store.pool, None).await?;
    let withdrawn = plans::withdrawn(&store.pool, None).await?;
    let mut listing = Listing::new([
        "plan",
        "version",
        "effective_from",
        "in_force",
        "applied_at",
        "applied_by",
        "sha256",
        "withdrawn_because",
    ]);
    for (at, version) in versions.iter().enumerate() {
        let next = versions.get(at + 1).filter(|next| next.plan_name == version.plan_name);
        let is_over = next.is_some_and(|next| next.effective_from <= today);
        listing.row([
            version.plan_name.clone().into(),
            i64::from(version.version).into(),
            version.effective_from.into(),
            (version.effective_from <= today && !is_over).into(),
            version.applied_at.into(),
            version.applied_by.clone().into(),
            version.sha256.clone().into(),
            Cell::Nothing,
        ]);
    }
    for (version, withdrawal) in withdrawn {
        listing.row([
            version.plan_name.into(),
            i64::from(version.version).into(),
            version.effective_from.into(),
            false.into(),
            version.applied_at.into(),
            version.applied_by.into(),
            version.sha256.into(),
            withdrawal.because.into(),
        ]);
    }
    listing.print(output)
}

/// The text of a version as it was applied, also of one that was withdrawn; the newest that holds if no
/// number is given.
pub async fn show(store: &Store, show: Show, output: Output) -> anyhow::Result<()> {
    let Show { name, version } = show;
    let mut versions = plans::versions(&store.pool, Some(&name)).await?;
    let wanted = version.or(versions.last().map(|newest| newest.version)).unwrap_or(0);
    let withdrawn = plans::withdrawn(&store.pool, Some(&name)).await?;
    versions.extend(withdrawn.into_iter().map(|(version, _)| version));
    let newest = versions.iter().map(|version| version.version).max().unwrap_or(0);
    let Some(found) = versions.into_iter().find(|found| found.version == wanted) else {
        let text = match newest {
            0 => format!("no plan {name} was applied; `prooftally plans list` has those that were"),
            newest => format!("plan {name} has versions 1 to {newest}, and no {wanted}"),
        };
        return Err(Problem::NotFound(text).into());
    };
    if output == Output::Table {
        eprintln!(
            "version {wanted} of {newest} of {name}, from {}, applied by {}",
            found.effective_from, found.applied_by
        );
        crate::cli::output::print(&found.source)?;
        return Ok(());
    }
    let mut listing = Listing::new([
        "plan",
        "version",
        "effective_from",
        "applied_at",
        "applied_by",
        "sha256",
        "source",
    ]);
    listing.row([
        found.plan_name.into(),
        Cell::Integer(found.version.into()),
        found.effective_from.into(),
        found.applied_at.into(),
        found.applied_by.into(),
        found.sha256.into(),
        found.source.into(),
    ]);
    listing.print(output)
}

fn plan(version: &Version) -> Result<Plan, Error> {
    plan_file::parse(&version.source).map_err(|error| {
        let Version { plan_name, version, .. } = version;
        Error::Corrupt(format!("version {version} of plan {plan_name} cannot be read: {error}"))
    })
}
