//! The directory: brands and predicates that are known, and their numbers in the ledger.
//!
//! The intake looks names up and adds what is new; the ledger looks numbers up.

use std::sync::Arc;

use billing::ids::{BrandId, Predicate};
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::store::brands::{Brand, NumberedPredicate};

/// Shared by the intake and the ledger. Bounded by `brands.auto_create_max` and
/// `intake.predicates_max`, which the intake keeps.
#[derive(Default)]
pub struct Directory {
    brands: RwLock<HashMap<BrandId, Arc<Brand>>>,
    predicates: RwLock<Predicates>,
}

#[derive(Default)]
struct Predicates {
    /// Versions and numbers by name; a name has few versions.
    numbers_of: HashMap<String, Vec<(String, i32)>>,
    name_of: HashMap<i32, Arc<str>>,
}

impl Directory {
    pub fn brand(&self, id: &str) -> Option<Arc<Brand>> {
        self.brands.read().get(id).map(Arc::clone)
    }

    pub fn brand_count(&self) -> usize {
        self.brands.read().len()
    }

    pub fn brand_numbers(&self) -> Vec<i32> {
        self.brands.read().values().map(|brand| brand.no).collect()
    }

    /// The numbers of brands whose events were parked when they were loaded.
    pub fn parked_brands(&self) -> Vec<i32> {
        let brands = self.brands.read();
        brands.values().filter(|brand| brand.is_parked).map(|brand| brand.no).collect()
    }

    /// Adds brands; a brand that is known gets its new zone.
    pub fn add_brands(&self, brands: Vec<Brand>) {
        let mut known = self.brands.write();
        known.extend(brands.into_iter().map(|brand| (brand.id.clone(), Arc::new(brand))));
    }

    pub fn predicate_no(&self, predicate: Predicate<'_>) -> Option<i32> {
        let known = self.predicates.read();
        let versions = known.numbers_of.get(predicate.name)?;
        versions.iter().find(|(version, _)| version == predicate.version).map(|(_, no)| *no)
    }

    pub fn predicate_count(&self) -> usize {
        self.predicates.read().name_of.len()
    }

    pub fn add_predicates(&self, predicates: Vec<NumberedPredicate>) {
        let mut known = self.predicates.write();
        for NumberedPredicate { predicate_no, name, version } in predicates {
            let joined = format!("{name}@{version}");
            if known.name_of.insert(predicate_no, joined.into()).is_none() {
                known.numbers_of.entry(name).or_default().push((version, predicate_no));
            }
        }
    }

    /// `NAME@VERSION` of a number that the intake gave out.
    pub fn predicate_name(&self, predicate_no: i32) -> Arc<str> {
        let known = self.predicates.read();
        known.name_of.get(&predicate_no).map_or_else(|| Arc::from("unknown"), Arc::clone)
    }
}
