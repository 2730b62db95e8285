//! Turns what serde read of a case into what is run, and says on which line it cannot.

use std::collections::{BTreeMap, BTreeSet};

use billing::assignment::{Assignment, Timeline, Version, Versions};
use billing::draft::Distinct;
use billing::ids::Predicate;
use billing::line::LineKey;
use billing::period::{Anchor, Cadence, Change, Grid, Period, Slot};
use billing::plain;
use billing::plan::{Meter, Plan};
use billing::tax::{Category, Treatment};
use chrono::{DateTime, NaiveDate};
use toml::Spanned;

use super::format::{
    DistinctFile, LineFile, PeriodFile, PlanSource, PriceFile, TaxFile, UsageDayFile, UsageFile,
};
use super::{Error, ExpectedLine, NAME_CHARS_MAX, PeriodCase, PriceCase, UsageCount, UsageDayCase};
use crate::store::plan_file::{self, Reader, list};

pub(super) struct CaseReader<'a> {
    text: Reader<'a>,
    read: &'a dyn Fn(&str) -> Result<String, String>,
    /// Plan files that were read, by path.
    plans: BTreeMap<String, Plan>,
    /// Names of cases, each of which stands for one case.
    names: BTreeSet<String>,
}

impl<'a> CaseReader<'a> {
    pub(super) fn new(text: &'a str, read: &'a dyn Fn(&str) -> Result<String, String>) -> Self {
        Self { text: Reader { text }, read, plans: BTreeMap::new(), names: BTreeSet::new() }
    }

    pub(super) fn plan(&mut self, source: Spanned<PlanSource>) -> Result<Plan, Error> {
        let line = self.text.line(&source);
        let at = |why: String| Error::Line { line, why };
        match source.into_inner() {
            PlanSource::Inline(file) => {
                let terms = self.text.terms(*file).map_err(|error| match error {
                    plan_file::Error::Line { line, why } => Error::Line { line, why },
                    error => at(error.to_string()),
                })?;
                Plan::new(terms).map_err(|refused| at(refused.to_string()))
            }
            PlanSource::Path(path) => {
                if let Some(plan) = self.plans.get(&path) {
                    return Ok(plan.clone());
                }
                let text = (self.read)(&path)
                    .map_err(|why| at(format!("plan {path:?} cannot be read: {why}")))?;
                let plan = plan_file::parse(&text)
                    .map_err(|error| at(format!("plan {path:?} cannot be used: {error}")))?;
                self.plans.insert(path, plan.clone());
                Ok(plan)
            }
        }
    }

    pub(super) fn price(
        &mut self,
        case: Spanned<PriceFile>,
        shared: Option<&Plan>,
    ) -> Result<PriceCase, Error> {
        self.expects_something(&case)?;
        let case = case.into_inner();
        let name = self.name(&case.case)?;
        let plan = match (case.plan, shared) {
            (Some(own), _) => self.plan(own)?,
            (None, Some(shared)) => shared.clone(),
            (None, None) => {
                let why = "it has no plan: write plan = \"FILE\" or a plan's table, here or above \
                           the first case";
                return Err(self.wrong(&case.case, why.to_owned()));
            }
        };
        let anchor = self.anchor(case.anchor.as_ref())?;
        let grid = Grid { cadence: plan.terms().cadence, anchor };
        let slot = self.slot(grid, &case.first_day, case.last_day.as_ref())?;
        let usage = case.usage.into_iter().map(|usage| self.usage(usage));
        let usage = usage.collect::<Result<_, _>>()?;
        let distinct = case.distinct.iter().map(|distinct| self.distinct(&plan, distinct));
        let distinct = distinct.collect::<Result<_, _>>()?;
        let lines = case.lines.map(|lines| self.lines(&lines)).transpose()?;
        Ok(PriceCase {
            name,
            plan,
            slot,
            usage,
            distinct,
            tax: case.tax.map(|tax| self.tax(&tax)).transpose()?,
            lines,
            net_total: case.net_total.map(|amount| amount.0),
            tax_total: case.tax_total.map(|amount| amount.into_inner().0),
            total: case.total.map(|amount| amount.into_inner().0),
            unpriced: case.unpriced,
        })
    }

    fn expects_something(&self, case: &Spanned<PriceFile>) -> Result<(), Error> {
        let PriceFile { case: name, lines, net_total, tax_total, total, tax, .. } = case.get_ref();
        if lines.is_none() && net_total.is_none() && tax_total.is_none() && total.is_none() {
            let why = "it expects nothing, so it could never fail: write lines, net_total or total";
            return Err(self.wrong(name, why.to_owned()));
        }
        match [tax_total, total].into_iter().flatten().next() {
            Some(amount) if tax.is_none() => {
                let why = "tax_total and total need tax = { category = …, rate_percent = … }";
                Err(self.wrong(amount, why.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn slot(
        &self,
        grid: Grid,
        first: &Spanned<toml::Value>,
        last: Option<&Spanned<toml::Value>>,
    ) -> Result<Slot, Error> {
        let start = self.day(first)?;
        let whole = grid
            .whole_period(start)
            .ok_or_else(|| self.wrong(first, "is outside the years 1970 to 9999".to_owned()))?;
        let Some(last) = last else {
            return Ok(Slot { period: self.days(first, start, whole.last_day())?, whole });
        };
        let period = self.days(last, start, self.day(last)?)?;
        if period.end() > whole.end() {
            let why = format!(
                "the {} period that {start} is in ends on {}",
                grid.cadence.as_str(),
                whole.last_day()
            );
            return Err(self.wrong(last, why));
        }
        Ok(Slot { period, whole })
    }

    fn days(
        &self,
        place: &Spanned<toml::Value>,
        first: NaiveDate,
        last: NaiveDate,
    ) -> Result<Period, Error> {
        last.succ_opt()
            .and_then(|end| Period::new(first, end))
            .ok_or_else(|| self.wrong(place, format!("the last day, {last}, is before {first}")))
    }

    fn usage(&self, usage: UsageFile) -> Result<UsageCount, Error> {
        let UsageFile { predicate, result, product, supplier, receipts } = usage;
        if Predicate::parse(predicate.get_ref()).is_none() {
            let why = format!("`{}` is no predicate: write NAME@VERSION", predicate.get_ref());
            return Err(self.wrong(&predicate, why));
        }
        let predicate = predicate.into_inner();
        let (has_product, has_supplier) = (product, supplier);
        Ok(UsageCount { predicate, result, has_product, has_supplier, receipts })
    }

    fn distinct(&self, plan: &Plan, distinct: &DistinctFile) -> Result<Distinct, Error> {
        let charge = *distinct.charge.get_ref();
        let counts = plan.numbered_charges().find(|(number, _)| *number == charge);
        if counts.is_none_or(|(_, counts)| counts.meter == Meter::Receipts) {
            let why = format!(
                "charge {charge} of plan {} does not count products or suppliers",
                plan.terms().name
            );
            return Err(self.wrong(&distinct.charge, why));
        }
        Ok(Distinct { charge, values: distinct.values })
    }

    fn lines(&self, lines: &[LineFile]) -> Result<Vec<ExpectedLine>, Error> {
        let mut keys = BTreeSet::new();
        let mut found = Vec::new();
        for LineFile { key: place, quantity, amount } in lines {
            let text = place.get_ref();
            let key = LineKey::parse(text).ok_or_else(|| {
                let why = format!(
                    "`{text}` is no line: write fixed_fee, charge:1, discount:1, minimum or \
                     maximum, with the number that the charge or discount has in its plan"
                );
                self.wrong(place, why)
            })?;
            if !keys.insert(key) {
                return Err(self.wrong(place, format!("the line `{text}` stands twice")));
            }
            found.push(ExpectedLine { key, quantity: *quantity, amount: amount.0 });
        }
        Ok(found)
    }

    fn tax(&self, tax: &Spanned<TaxFile>) -> Result<Treatment, Error> {
        let TaxFile { category, rate_percent, exemption } = tax.get_ref();
        let found = Category::from_code(category.get_ref()).ok_or_else(|| {
            let codes = list(Category::ALL.map(Category::code));
            self.wrong(category, format!("`{}` is not {codes}", category.get_ref()))
        })?;
        Treatment::new(found, rate_percent.0, exemption.clone())
            .map_err(|error| self.wrong(tax, error.to_string()))
    }

    pub(super) fn period(&mut self, case: &PeriodFile) -> Result<PeriodCase, Error> {
        let name = self.name(&case.case)?;
        let (first, last) = (self.day(&case.first_day)?, self.day(&case.last_day)?);
        let expected = self.days(&case.last_day, first, last)?;
        let (timeline, day) = self.timeline(case)?;
        Ok(PeriodCase { name, timeline, day, expected })
    }

    /// The periods of one assignment, by the very rules of billing.
    fn timeline(&self, case: &PeriodFile) -> Result<(Timeline, NaiveDate), Error> {
        let cadence = Cadence::from_name(case.cadence.get_ref()).ok_or_else(|| {
            let names = list(Cadence::ALL.map(Cadence::as_str));
            let why = format!("`{}` is not {names}", case.cadence.get_ref());
            self.wrong(&case.cadence, why)
        })?;
        let grid = Grid { cadence, anchor: self.anchor(case.anchor.as_ref())? };
        let day = self.day(&case.day)?;
        // Without a first day of its own the assignment begins where the whole period of the day does.
        let from = match &case.assigned_from {
            Some(first_day) => self.day(first_day)?,
            None => grid.whole_period(day).map_or(day, Period::start),
        };
        let until = case.assigned_until.as_ref().map(|until| self.day(until)).transpose()?;
        if let Some(place) = &case.assigned_until
            && until.is_some_and(|until| until <= from)
        {
            let why = format!("the first day without the assignment must lie after {from}");
            return Err(self.wrong(place, why));
        }
        let (plan, change, anchor) = (String::new(), Change::Split, grid.anchor);
        let version = Version { number: 1, effective_from: from, cadence };
        let versions = Versions::from([(plan.clone(), vec![version])]);
        let one = Assignment { no: 1, plan, anchor, change, from, until };
        let timeline = Timeline::new(vec![one], &versions)
            .map_err(|error| self.wrong(&case.day, error.to_string()))?;
        Ok((timeline, day))
    }

    fn anchor(&self, anchor: Option<&Spanned<toml::Value>>) -> Result<Anchor, Error> {
        match anchor {
            None => Ok(Anchor::Calendar),
            Some(text) if text.get_ref().as_str() == Some("calendar") => Ok(Anchor::Calendar),
            Some(day) => Ok(Anchor::Anniversary(self.day(day)?)),
        }
    }

    /// A date, with or without quotes.
    fn day(&self, value: &Spanned<toml::Value>) -> Result<NaiveDate, Error> {
        let text = written(value.get_ref());
        text.parse().map_err(|_| self.wrong(value, format!("`{text}` is no day: write YYYY-MM-DD")))
    }

    pub(super) fn usage_day(&mut self, case: &UsageDayFile) -> Result<UsageDayCase, Error> {
        let text = written(case.instant.get_ref());
        let instant = DateTime::parse_from_rfc3339(&text).map_err(|_| {
            let why = format!("`{text}` is no moment: write it as 2026-09-30T22:00:00Z");
            self.wrong(&case.instant, why)
        })?;
        let zone = case.zone.get_ref().parse().map_err(|_| {
            let why = format!("`{}` is no IANA zone, like Europe/Berlin", case.zone.get_ref());
            self.wrong(&case.zone, why)
        })?;
        Ok(UsageDayCase {
            name: self.name(&case.case)?,
            instant: instant.to_utc(),
            zone,
            expected: self.day(&case.usage_day)?,
        })
    }

    fn wrong<T>(&self, place: &Spanned<T>, why: String) -> Error {
        Error::Line { line: self.text.line(place), why }
    }

    fn name(&mut self, name: &Spanned<String>) -> Result<String, Error> {
        let chars = name.get_ref().chars().count();
        if !(1..=NAME_CHARS_MAX).contains(&chars) {
            let why = format!("a case's name has 1 to {NAME_CHARS_MAX} printable characters");
            return Err(self.wrong(name, why));
        }
        if let Some(fault) = plain::fault(name.get_ref()) {
            return Err(self.wrong(name, format!("a case's name {fault}")));
        }
        if !self.names.insert(name.get_ref().clone()) {
            let why = format!("another case is called {:?} already", name.get_ref());
            return Err(self.wrong(name, why));
        }
        Ok(name.get_ref().clone())
    }
}

/// A value as it stands in the file, without its quotes.
fn written(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
