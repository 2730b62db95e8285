//! `prooftally plans apply|withdraw|list|show`.

use chrono::Utc;

use super::{Apply, Show, Withdraw, changes};
use crate::cli::Problem;
use crate::cli::asking::operator;
use crate::cli::output::{Cell, Listing, Output};
use crate::store::plan_change::{self, Applied, Outcome, Refused, Wanted};
use crate::store::{Error, Store, plans};

/// Adds the plan of a file as a new version, or only says what it would change.
pub async fn apply(store: &Store, apply: Apply, output: Output) -> anyhow::Result<()> {
    let Apply { file, dry_run, effective_from } = apply;
    let source = super::read(&file)?;
    let wanted = Wanted { name: None, source: &source, effective_from, is_dry_run: dry_run };
    let today = Utc::now().date_naive();
    let applied = plan_change::apply(&store.pool, &wanted, today, &operator()).await?;
    let applied = applied.map_err(|refused| {
        Problem::Refused(match refused {
            Refused::File(error) => format!("{}: {error}", file.display()),
            refused => refused.to_string(),
        })
    })?;
    let Applied { name, version, effective_from, outcome, changes } = applied;
    if outcome == Outcome::Same {
        eprintln!("version {version} of {name} has this very text: nothing to change");
        return Ok(());
    }
    changes::listing(&changes).print(output)?;
    if outcome == Outcome::NotApplied {
        eprintln!("dry run: version {version} of {name}, from {effective_from}, is not applied");
    } else {
        eprintln!("version {version} of {name} is in force from {effective_from}");
    }
    Ok(())
}

/// What the database's rules refuse, in its words.
pub fn refused(error: Error) -> anyhow::Error {
    match error.rule() {
        Some(why) => Problem::Refused(why).into(),
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
    let withdrawn = plans::withdrawn(&mut *store.pool.acquire().await?, None).await?;
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
    let withdrawn = plans::withdrawn(&mut *store.pool.acquire().await?, Some(&name)).await?;
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
