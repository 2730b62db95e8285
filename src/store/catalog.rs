//! The catalog: every plan version, read and checked, with what periods depend on.

use std::collections::BTreeMap;

use billing::assignment::{Version, Versions};
use billing::plan::Plan;
use sqlx::PgExecutor;

use super::{Error, plan_file, plans};

/// Every plan version.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By name of the plan.
    pub versions: Versions,
    plans: BTreeMap<(String, i32), Plan>,
}

impl Catalog {
    /// The plan of a version.
    pub fn plan(&self, name: &str, version: i32) -> Option<&Plan> {
        self.plans.get(&(name.to_owned(), version))
    }

    /// The number of the newest version; `None` if the plan was never applied.
    pub fn newest(&self, name: &str) -> Option<i32> {
        self.versions.get(name)?.iter().map(|version| version.number).max()
    }
}

/// Reads every plan version.
///
/// # Errors
/// If the database is away, or what was applied cannot be read.
pub async fn read(executor: impl PgExecutor<'_>) -> Result<Catalog, Error> {
    let mut catalog = Catalog::default();
    for row in plans::versions(executor, None).await? {
        let plan = plan_file::stored(&row.source).map_err(|error| {
            let (name, version) = (&row.plan_name, row.version);
            Error::Corrupt(format!("version {version} of plan {name} cannot be read: {error}"))
        })?;
        let version = Version {
            number: row.version,
            effective_from: row.effective_from,
            cadence: plan.terms().cadence,
        };
        catalog.versions.entry(row.plan_name.clone()).or_default().push(version);
        catalog.plans.insert((row.plan_name, row.version), plan);
    }
    Ok(catalog)
}
