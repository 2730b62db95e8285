//! What is due: the documents that could be issued for a brand now, computed in one snapshot, with what
//! speaks against each. Nothing is written.

use billing::billed;
use billing::completeness::{self, Answer, Cases, Facts, Finding, Numbers};
use billing::currency::Currency;
use billing::document::compose::{self, Parts, PeriodPart};
use billing::document::{Contact, Document, ElectronicAddress, Override, Party as Snapshot};
use billing::draft::{self, Input};
use billing::evidence::merkle;
use billing::hash::Hash;
use billing::numbering;
use billing::party::{Field, Party};
use billing::period::{Period, Slot};
use billing::plan::Plan;
use billing::tax::{self, Category, Treatment};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use sqlx::PgConnection;

use super::brands::Brand;
use super::evidence::{self, Wanted};
use super::unassigned::Unassigned;
use super::{Error, period_usage};

pub use known::{Invoiced, Known, OfBrand};

pub(super) mod known;

/// What the installation has decided.
#[derive(Clone, Debug)]
pub struct Terms {
    pub issuers: Vec<Issuer>,
    /// Days after a period's end in which late receipts still come onto its invoice.
    pub grace_days: u16,
}

/// Who issues documents from a day on.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub from: NaiveDate,
    pub zone: Tz,
    pub party: Party,
}

/// A document that could be issued.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub brand: Brand,
    /// The period that it is the regular invoice of; `None` for an adjustment.
    pub slot: Option<Slot>,
    pub currency: Option<Currency>,
    /// Without number and evidence; `None` while a party, the plan or the tax is not known.
    pub document: Option<Document>,
    /// All that speaks against issuing it, overridden or not.
    pub findings: Vec<Finding>,
    /// Who has answered for what, the newest first.
    pub answers: Vec<Answer>,
    pub cutoff: i64,
    pub billing_version: i64,
    /// Days to pay.
    pub terms_days: u16,
}

impl Candidate {
    /// What is left of the findings once overrides are let pass, and the overrides that were needed.
    ///
    /// # Errors
    /// What is left.
    pub fn decide(&self) -> Result<Vec<Override>, completeness::Blocked> {
        completeness::decide(self.findings.clone(), &self.answers)
    }

    /// Who has answered for all of a finding.
    pub fn answered(&self, finding: &Finding) -> Option<&Override> {
        completeness::answer(finding, &self.answers)
    }

    /// Names what a person approves: the document without what changes by itself (cutoff, evidence, dates,
    /// and its place in the chain). `None` if there is no document.
    pub fn etag(&self) -> Option<Hash> {
        let mut document = self.document.clone()?;
        document.issue_date = document.tax_point;
        document.due_date = document.due_date.map(|_| document.tax_point);
        document.billing_version = 0;
        document.previous = None;
        for period in &mut document.periods {
            (period.after, period.cutoff, period.size) = (0, 0, 0);
            period.root = merkle::empty_root();
        }
        document.hash().ok()
    }
}

/// A period to be charged.
struct Part {
    slot: Slot,
    plan: String,
    version: i32,
    tax: Option<Treatment>,
    after: i64,
    owed: Vec<billed::Owed>,
    unpriced: Vec<(String, u64)>,
}

/// What could be issued for `brand`, the invoice of its oldest open period first. Usage of billed periods
/// that changed goes on that invoice, or on the next one if none is open and one will be.
///
/// # Errors
/// If the database is away, what it holds cannot be read, or amounts do not fit.
pub async fn candidates(
    snapshot: &mut PgConnection,
    known: &Known,
    terms: &Terms,
    brand: &Brand,
    now: DateTime<Utc>,
) -> Result<Vec<Candidate>, Error> {
    let Some(of) = known.of(brand.no) else { return Ok(Vec::new()) };
    let today = billing::usage::usage_day(now, brand.zone);
    let mut late = Vec::new();
    for invoiced in of.invoiced.iter().filter(|invoiced| invoiced.has_changed) {
        let part = late_part(snapshot, known, of, brand, invoiced).await?;
        if !part.owed.is_empty() {
            late.push(part);
        }
    }
    let day_after = today.checked_add_days(Days::new(1)).unwrap_or(today);
    let mut found: Vec<Candidate> = Vec::new();
    let mut running = None;
    for assigned in of.timeline.periods_before(day_after) {
        let period = assigned.slot.period;
        if of.invoiced.iter().any(|one| one.slot.period == period) {
            continue;
        }
        let (plan_name, version) = (&assigned.assignment.plan, assigned.version);
        let plan = plan_of(known, plan_name, version)?;
        let currency = plan.terms().currency;
        let tax = tax::in_force(&of.taxes, period.last_day()).cloned();
        if period.end() > today {
            running = running.or(Some((currency, tax.as_ref().map(is_out_of_scope))));
            continue;
        }
        let priced = Priced { slot: assigned.slot, plan_name, version, plan, tax, after: 0 };
        let part = part(snapshot, known, of, brand, priced).await?;
        let earlier = found.first().and_then(|first| first.slot).map(|slot| slot.period.start());
        let (mut with, kind) = (Vec::new(), part.tax.as_ref().map(is_out_of_scope));
        if earlier.is_none() {
            with = take(&mut late, known, currency, kind)?;
        }
        let facts = regular_facts(known, of, terms, brand, &part, earlier);
        let case = Case { known, of, terms, brand, now, currency };
        found.push(case.candidate(Some(part), with, facts)?);
    }
    // A period that runs will have an invoice for the rest, unless it cannot stand on it.
    if let Some((currency, kind)) = running {
        take(&mut late, known, currency, kind)?;
    }
    if let Some(first) = late.first() {
        let currency = plan_of(known, &first.plan, first.version)?.terms().currency;
        let kind = first.tax.as_ref().map(is_out_of_scope);
        let with = take(&mut late, known, currency, kind)?;
        let case = Case { known, of, terms, brand, now, currency };
        let facts = adjustment_facts(known, of);
        found.push(case.candidate(None, with, facts)?);
    }
    found.extend(without_plan(known, of, brand, today, &found));
    Ok(found)
}

/// Days with usage that no invoice can be for: the brand has no plan on them, and no open period comes
/// after them that would tell.
fn without_plan(
    known: &Known,
    of: &OfBrand,
    brand: &Brand,
    today: NaiveDate,
    found: &[Candidate],
) -> Vec<Candidate> {
    let told = found.iter().filter_map(|one| one.slot).map(|slot| slot.period.end()).max();
    let untold = of.unassigned.iter().filter(|one| told.is_none_or(|end| end <= one.first_day));
    let candidates = untold.filter_map(|stretch| {
        let after = stretch.last_day.succ_opt()?;
        let period = Period::new(stretch.first_day, after.min(today))?;
        let facts = Facts {
            passed: true,
            stream_confirmed: true,
            uniqueness: Some(known.uniqueness.clone()),
            unassigned: unassigned([stretch]),
            tax_determined: true,
            has_plan: false,
            ..Facts::default()
        };
        Some(Candidate {
            brand: brand.clone(),
            slot: Some(Slot { period, whole: period }),
            currency: None,
            document: None,
            findings: completeness::findings(brand.id.as_str(), &facts),
            answers: Vec::new(),
            cutoff: known.cutoff,
            billing_version: of.billing_version,
            terms_days: 0,
        })
    });
    candidates.collect()
}

/// Builds the evidence of the candidates' documents, in the snapshot in which they were computed.
///
/// # Errors
/// If the database is away, or a row cannot be a leaf.
pub async fn add_evidence(
    snapshot: &mut PgConnection,
    candidates: &mut [&mut Candidate],
) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for candidate in candidates.iter() {
        for period in candidate.document.iter().flat_map(|document| &document.periods) {
            let days = Period::new(period.start, period.end)
                .ok_or_else(|| Error::Corrupt("a period without days".to_owned()))?;
            let number = |entry: u64| i64::try_from(entry).unwrap_or(i64::MAX);
            let (after, cutoff) = (number(period.after), number(period.cutoff));
            wanted.push(Wanted { brand_no: candidate.brand.no, days, after, cutoff });
        }
    }
    let mut trees = evidence::trees(snapshot, &wanted).await?.into_iter();
    for document in candidates.iter_mut().filter_map(|candidate| candidate.document.as_mut()) {
        for (period, (root, size)) in document.periods.iter_mut().zip(trees.by_ref()) {
            (period.root, period.size) = (root, size);
        }
    }
    Ok(())
}

fn is_out_of_scope(tax: &Treatment) -> bool {
    tax.category() == Category::OutOfScope
}

fn plan_of<'a>(known: &'a Known, name: &str, version: i32) -> Result<&'a Plan, Error> {
    let missing = || Error::Corrupt(format!("version {version} of plan {name} is gone"));
    known.catalog.plan(name, version).ok_or_else(missing)
}

/// Takes those of `late` out that can stand on a document of this currency and kind of tax.
fn take(
    late: &mut Vec<Part>,
    known: &Known,
    currency: Currency,
    out_of_scope: Option<bool>,
) -> Result<Vec<Part>, Error> {
    let mut taken = Vec::new();
    for part in std::mem::take(late) {
        let same = plan_of(known, &part.plan, part.version)?.terms().currency == currency;
        let kind = part.tax.as_ref().map(is_out_of_scope);
        let fits = out_of_scope.is_none_or(|wanted| kind == Some(wanted));
        if same && fits { &mut taken } else { &mut *late }.push(part);
    }
    Ok(taken)
}

/// A period, and by what it is priced.
struct Priced<'a> {
    slot: Slot,
    plan_name: &'a str,
    version: i32,
    plan: &'a Plan,
    tax: Option<Treatment>,
    after: i64,
}

async fn late_part(
    snapshot: &mut PgConnection,
    known: &Known,
    of: &OfBrand,
    brand: &Brand,
    invoiced: &Invoiced,
) -> Result<Part, Error> {
    let priced = Priced {
        slot: invoiced.slot,
        plan_name: &invoiced.plan,
        version: invoiced.version,
        plan: plan_of(known, &invoiced.plan, invoiced.version)?,
        tax: Some(invoiced.tax.clone()),
        after: invoiced.seen,
    };
    part(snapshot, known, of, brand, priced).await
}

/// Computes what a period owes.
async fn part(
    snapshot: &mut PgConnection,
    known: &Known,
    of: &OfBrand,
    brand: &Brand,
    priced: Priced<'_>,
) -> Result<Part, Error> {
    let Priced { slot, plan_name, version, plan, tax, after } = priced;
    let wrong = |error: String| {
        Error::Corrupt(format!("the period {} of {}: {error}", slot.period, brand.id))
    };
    let rows = known.usage_of(brand.no, slot.period).to_vec();
    let usage = period_usage::complete(snapshot, brand, slot.period, plan, rows).await?;
    let rows = usage.usage()?;
    let input = Input { plan, slot, usage: &rows, distinct: &usage.distinct, tax: tax.as_ref() };
    let draft = draft::draft(&input).map_err(|error| wrong(error.to_string()))?;
    let before = of.billed.get(&slot.period.start()).map_or(&[][..], Vec::as_slice);
    let owed = billed::owed(plan, &draft, before).map_err(|error| wrong(error.to_string()))?;
    let unpriced = draft
        .unpriced
        .iter()
        .map(|usage| (format!("{} {}", usage.kind.predicate, usage.kind.result), usage.receipts))
        .collect();
    Ok(Part { slot, plan: plan_name.to_owned(), version, tax, after, owed, unpriced })
}

/// What all candidates of a brand are made with.
struct Case<'a> {
    known: &'a Known,
    of: &'a OfBrand,
    terms: &'a Terms,
    brand: &'a Brand,
    now: DateTime<Utc>,
    currency: Currency,
}

impl Case<'_> {
    fn candidate(
        &self,
        regular: Option<Part>,
        with: Vec<Part>,
        mut facts: Facts,
    ) -> Result<Candidate, Error> {
        let slot = regular.as_ref().map(|part| part.slot);
        let parts: Vec<Part> = regular.into_iter().chain(with).collect();
        let first = parts.first().and_then(|part| part.tax.as_ref());
        let category = first.map(Treatment::category);
        let issuer = self.issuer();
        facts.issuer_lacks = match issuer {
            None => vec!["all: it is configured under [[issuer]]".to_owned()],
            Some(issuer) => lacks(&issuer.party, category),
        };
        facts.buyer_lacks = match &self.of.buyer {
            None => vec!["all: `prooftally brands profile set` sets it".to_owned()],
            Some(buyer) => lacks(buyer, category),
        };
        facts.tax_determined = parts.iter().all(|part| part.tax.is_some());
        let findings = completeness::findings(self.brand.id.as_str(), &facts);
        let start = slot.map(|slot| slot.period.start());
        let answers = self.of.answers.iter().filter(|(period, _)| Some(*period) == start);
        let answers: Vec<Answer> = answers.map(|(_, answer)| answer.clone()).collect();
        let terms_days = self.of.buyer.as_ref().and_then(Party::terms_days).unwrap_or(0);
        let document = match (issuer, &self.of.buyer, facts.tax_determined) {
            (Some(issuer), Some(buyer), true) => {
                Some(self.compose(issuer, buyer, slot, &parts, terms_days)?)
            }
            _ => None,
        };
        Ok(Candidate {
            brand: self.brand.clone(),
            slot,
            currency: Some(self.currency),
            document,
            findings,
            answers,
            cutoff: self.known.cutoff,
            billing_version: self.of.billing_version,
            terms_days,
        })
    }

    fn issuer(&self) -> Option<&Issuer> {
        issuer_at(&self.terms.issuers, self.now)
    }

    fn compose(
        &self,
        issuer: &Issuer,
        buyer: &Party,
        slot: Option<Slot>,
        parts: &[Part],
        terms_days: u16,
    ) -> Result<Document, Error> {
        let (issuer_party, buyer) = (snapshot_of(&issuer.party), snapshot_of(buyer));
        let cutoff = self.known.cutoff.unsigned_abs();
        let periods = parts.iter().filter_map(|part| {
            Some(PeriodPart {
                slot: part.slot,
                plan: &part.plan,
                plan_version: u64::from(part.version.unsigned_abs()),
                tax: part.tax.as_ref()?,
                after: part.after.unsigned_abs().min(cutoff),
                cutoff,
                root: merkle::empty_root(),
                size: 0,
                owed: part.owed.clone(),
            })
        });
        let parts = Parts {
            brand: self.brand.id.as_str(),
            currency: self.currency,
            zone: self.brand.zone.name(),
            issuer: &issuer_party,
            buyer: &buyer,
            regular: slot.is_some(),
            periods: periods.collect(),
            issue_date: numbering::issue_date(self.now, issuer.zone, None),
            terms_days,
            overrides: Vec::new(),
            billing_version: self.of.billing_version.unsigned_abs(),
            previous: self.of.previous,
        };
        compose::compose(parts)
            .map_err(|error| Error::Corrupt(format!("the draft of {}: {error}", self.brand.id)))
    }
}

/// The issuer in force at a moment, by its own calendar.
pub fn issuer_at(issuers: &[Issuer], now: DateTime<Utc>) -> Option<&Issuer> {
    let begun = issuers.iter().filter(|one| one.from <= billing::usage::usage_day(now, one.zone));
    begun.max_by_key(|one| one.from)
}

fn lacks(party: &Party, category: Option<Category>) -> Vec<String> {
    let any = party.missing(category).into_iter();
    any.map(|any| any.iter().map(|field| field.as_str()).collect::<Vec<_>>().join(" or ")).collect()
}

/// A party as it stands on a document.
fn snapshot_of(party: &Party) -> Snapshot {
    let get = |field| party.get(field).map(str::to_owned);
    let street = match (party.get(Field::Street), party.get(Field::StreetMore)) {
        (Some(street), Some(more)) => Some(format!("{street}, {more}")),
        (street, _) => street.map(str::to_owned),
    };
    let contact = Contact {
        name: get(Field::ContactName),
        telephone: get(Field::ContactPhone),
        email: get(Field::ContactEmail),
    };
    let is_known = contact.name.is_some() || contact.telephone.is_some() || contact.email.is_some();
    let address = get(Field::ElectronicScheme).zip(get(Field::ElectronicAddress));
    Snapshot {
        legal_name: get(Field::LegalName),
        street,
        city: get(Field::City),
        postcode: get(Field::Postcode),
        country: get(Field::Country),
        vat_id: get(Field::VatId),
        registration_id: get(Field::RegistrationId),
        electronic_address: address.map(|(scheme, id)| ElectronicAddress { scheme, id }),
        contact: is_known.then_some(contact),
        iban: get(Field::Iban),
        buyer_reference: get(Field::BuyerReference),
        purchase_order: get(Field::PurchaseOrder),
    }
}

fn regular_facts(
    known: &Known,
    of: &OfBrand,
    terms: &Terms,
    brand: &Brand,
    part: &Part,
    earlier_period: Option<NaiveDate>,
) -> Facts {
    let period = part.slot.period;
    let begins = begins(period.start(), brand.zone);
    let grace = Days::new(terms.grace_days.into());
    let over = period.end().checked_add_days(grace).map(|day| self::begins(day, brand.zone));
    let may_hit = |next: &Option<DateTime<Utc>>| next.is_none_or(|next| next > begins);
    let before_end = of.unassigned.iter().filter(|one| one.first_day < period.end());
    let holds = of.holds.iter().filter(|(day, _)| day.is_none_or(|day| day == period.start()));
    Facts {
        gaps: known.gaps.iter().filter(|(_, next)| may_hit(next)).map(|(gap, _)| *gap).collect(),
        passed: over.is_some_and(|over| known.caught_up >= over),
        until: Some(period.end()),
        stream_confirmed: known.stream_doubts.is_empty(),
        stream_doubts: known.stream_doubts.clone(),
        rejections: of.rejections.clone(),
        conflicts: of.conflicts.clone(),
        parked: of.parked.clone(),
        unassigned: unassigned(before_end),
        unpriced: part.unpriced.clone(),
        earlier_period,
        uniqueness: Some(known.uniqueness.clone()),
        audit: known.audit.clone(),
        audit_findings: known.audit_findings.clone(),
        has_plan: true,
        holds: holds.map(|(_, because)| because.clone()).collect(),
        ..Facts::default()
    }
}

/// Usage without a plan, by the stretch of days that it is on.
fn unassigned<'a>(stretches: impl IntoIterator<Item = &'a Unassigned>) -> Cases {
    stretches.into_iter().fold(Cases::default(), |cases, stretch| {
        let name = format!("receipt from {} to {}", stretch.first_day, stretch.last_day);
        cases.with(name, Numbers::up_to(stretch.receipts.unsigned_abs()))
    })
}

/// An adjustment charges for periods that were complete once: what waits for a person now goes on a later
/// one.
fn adjustment_facts(known: &Known, of: &OfBrand) -> Facts {
    let holds = of.holds.iter().filter(|(day, _)| day.is_none());
    Facts {
        passed: true,
        stream_confirmed: known.stream_doubts.is_empty(),
        stream_doubts: known.stream_doubts.clone(),
        uniqueness: Some(known.uniqueness.clone()),
        audit: known.audit.clone(),
        audit_findings: known.audit_findings.clone(),
        has_plan: true,
        holds: holds.map(|(_, because)| because.clone()).collect(),
        ..Facts::default()
    }
}

/// The moment at which a day begins in a zone; where clocks skip it, an hour later at most.
fn begins(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let steps = (0..=180).map(|minutes| midnight + chrono::TimeDelta::minutes(minutes));
    let first =
        steps.filter_map(|at| at.and_local_timezone(zone).earliest()).map(|at| at.to_utc()).next();
    first.unwrap_or_else(|| midnight.and_utc())
}
