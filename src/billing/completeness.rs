//! The gate before a document is issued: why a period may still miss usage, or its document would
//! be invalid.
//!
//! The list of reasons is closed. Each finding says what to do about it. Most can be overridden by
//! an admin, whose name and words are then kept on the document; those without which a document
//! cannot exist, and a hold, cannot. An override is for the cases that were there when it was given, and
//! for none that comes later.
#![deny(clippy::arithmetic_side_effects)]

use chrono::NaiveDate;

use crate::document::Override;

pub use cases::{Cases, Numbers};

mod cases;

/// Why a document is not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    Gap,
    NotPassed,
    StreamUnconfirmed,
    Rejections,
    Conflicts,
    Parked,
    Unassigned,
    Unpriced,
    EarlierPeriod,
    UniquenessUnproved,
    UniquenessFailed,
    AuditRed,
    NoPlan,
    BuyerIncomplete,
    IssuerIncomplete,
    TaxUndetermined,
    Hold,
}

impl Reason {
    pub const ALL: [Reason; 17] = [
        Reason::Gap,
        Reason::NotPassed,
        Reason::StreamUnconfirmed,
        Reason::Rejections,
        Reason::Conflicts,
        Reason::Parked,
        Reason::Unassigned,
        Reason::Unpriced,
        Reason::EarlierPeriod,
        Reason::UniquenessUnproved,
        Reason::UniquenessFailed,
        Reason::AuditRed,
        Reason::NoPlan,
        Reason::BuyerIncomplete,
        Reason::IssuerIncomplete,
        Reason::TaxUndetermined,
        Reason::Hold,
    ];

    /// The name on documents, in the API and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Gap => "gap",
            Reason::NotPassed => "not_passed",
            Reason::StreamUnconfirmed => "stream_unconfirmed",
            Reason::Rejections => "rejections",
            Reason::Conflicts => "conflicts",
            Reason::Parked => "parked",
            Reason::Unassigned => "unassigned",
            Reason::Unpriced => "unpriced",
            Reason::EarlierPeriod => "earlier_period",
            Reason::UniquenessUnproved => "uniqueness_unproved",
            Reason::UniquenessFailed => "uniqueness_failed",
            Reason::AuditRed => "audit_red",
            Reason::NoPlan => "no_plan",
            Reason::BuyerIncomplete => "buyer_incomplete",
            Reason::IssuerIncomplete => "issuer_incomplete",
            Reason::TaxUndetermined => "tax_undetermined",
            Reason::Hold => "hold",
        }
    }

    /// The names of all of them.
    pub fn names() -> [&'static str; Self::ALL.len()] {
        Self::ALL.map(Self::as_str)
    }

    /// Finds a reason by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }

    /// True if an admin may override it with an explanation.
    pub fn can_be_overridden(self) -> bool {
        !matches!(
            self,
            Reason::NoPlan
                | Reason::BuyerIncomplete
                | Reason::IssuerIncomplete
                | Reason::TaxUndetermined
                | Reason::Hold
        )
    }
}

/// What is known about a brand's period when its document is to be issued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, false if unknown")]
pub struct Facts {
    /// Unaccepted gaps before the first message after which the period is whole.
    pub gaps: Vec<Gap>,
    /// At some moment at or after the period's end and grace time the cursor had everything that
    /// the stream had.
    pub passed: bool,
    /// The day after the period's last.
    pub until: Option<NaiveDate>,
    /// The stream is the one that was read, and no commit behind an acknowledgement was lost.
    pub stream_confirmed: bool,
    /// What says that it may not be.
    pub stream_doubts: Cases,
    /// The brand's open rejections, open conflicts, parked events and receipts on days without an
    /// assignment.
    pub rejections: Cases,
    pub conflicts: Cases,
    pub parked: Cases,
    pub unassigned: Cases,
    /// Receipts of the period that no charge of its plan takes, by kind in words.
    pub unpriced: Vec<(String, u64)>,
    /// The start of the brand's earliest ended period that has no document yet, if it is earlier.
    pub earlier_period: Option<NaiveDate>,
    /// `None` if nobody has looked.
    pub uniqueness: Option<Uniqueness>,
    /// What the last audit found, in short, and each of its findings.
    pub audit: Vec<String>,
    pub audit_findings: Cases,
    /// A plan is assigned on each day of the period.
    pub has_plan: bool,
    /// Fields that the buyer or the issuer must have and has not.
    pub buyer_lacks: Vec<String>,
    pub issuer_lacks: Vec<String>,
    /// The brand's tax treatment on the period's last day is known.
    pub tax_determined: bool,
    /// Why the brand or the draft is on hold.
    pub holds: Vec<String>,
}

/// Positions of the stream that nobody has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub epoch: u32,
    pub first: u64,
    pub last: u64,
}

/// What is left of the proof that no receipt was counted twice up to the cutoff. It is proved if there is
/// neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uniqueness {
    /// Segments of which it is not proved.
    pub unproved: Cases,
    /// What was counted twice.
    pub doubles: Cases,
}

/// A reason that holds, in words that say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub reason: Reason,
    pub message: String,
    /// What it is about; nothing for what cannot be overridden.
    pub cases: Cases,
}

/// What somebody has said of a reason, and the cases that were there then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub said: Override,
    pub seen: Cases,
}

impl Answer {
    /// True if it answers for all of a finding.
    fn is_for(&self, finding: &Finding) -> bool {
        let Override { reason, by, because } = &self.said;
        finding.reason.can_be_overridden()
            && reason == finding.reason.as_str()
            && !by.trim().is_empty()
            && !because.trim().is_empty()
            && self.seen.cover(&finding.cases)
    }
}

/// Finalization is refused; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the period is not complete: {}", joined(.0))]
pub struct Blocked(pub Vec<Finding>);

fn joined(findings: &[Finding]) -> String {
    let texts = findings
        .iter()
        .map(|Finding { reason, message, .. }| format!("{}: {message}", reason.as_str()));
    texts.collect::<Vec<_>>().join("; ")
}

/// Everything that speaks against issuing a document for `brand`, in the order of the reasons.
pub fn findings(brand: &str, facts: &Facts) -> Vec<Finding> {
    let finding = |reason| {
        let message = message(reason, brand, facts)?;
        Some(Finding { reason, message, cases: cases(reason, facts) })
    };
    Reason::ALL.into_iter().filter_map(finding).collect()
}

/// The first of `answers` that is for all of a finding.
pub fn answer<'a>(finding: &Finding, answers: &'a [Answer]) -> Option<&'a Override> {
    answers.iter().find(|answer| answer.is_for(finding)).map(|answer| &answer.said)
}

/// Lets pass what is answered for, and returns the overrides that were needed.
///
/// # Errors
/// What is left: not answered for, or not in full since there are cases that came later, answered for without
/// a name or an explanation, or not to be overridden.
pub fn decide(findings: Vec<Finding>, answers: &[Answer]) -> Result<Vec<Override>, Blocked> {
    let mut used = Vec::new();
    let mut left = Vec::new();
    for finding in findings {
        match answer(&finding, answers) {
            Some(said) => used.push(said.clone()),
            None => left.push(finding),
        }
    }
    if left.is_empty() { Ok(used) } else { Err(Blocked(left)) }
}

/// What a reason that holds is about.
fn cases(reason: Reason, facts: &Facts) -> Cases {
    let uniqueness = facts.uniqueness.as_ref();
    match reason {
        Reason::Gap => facts.gaps.iter().fold(Cases::default(), |cases, gap| {
            let Gap { epoch, first, last } = *gap;
            cases.with(format!("position of epoch {epoch}"), vec![(first, last)].into())
        }),
        // A period can become longer until it is issued.
        Reason::NotPassed => facts
            .until
            .map_or_else(Cases::default, |until| Cases::one(format!("period until {until}"))),
        Reason::StreamUnconfirmed => facts.stream_doubts.clone(),
        Reason::Rejections => facts.rejections.clone(),
        Reason::Conflicts => facts.conflicts.clone(),
        Reason::Parked => facts.parked.clone(),
        Reason::Unassigned => facts.unassigned.clone(),
        Reason::Unpriced => facts.unpriced.iter().fold(Cases::default(), |cases, (kind, count)| {
            cases.with(format!("receipt of {kind}"), Numbers::up_to(*count))
        }),
        Reason::EarlierPeriod => facts
            .earlier_period
            .map_or_else(Cases::default, |start| Cases::one(format!("period from {start}"))),
        Reason::UniquenessUnproved => {
            uniqueness.map_or_else(Cases::default, |found| found.unproved.clone())
        }
        Reason::UniquenessFailed => {
            uniqueness.map_or_else(Cases::default, |found| found.doubles.clone())
        }
        Reason::AuditRed => facts.audit_findings.clone(),
        Reason::NoPlan
        | Reason::BuyerIncomplete
        | Reason::IssuerIncomplete
        | Reason::TaxUndetermined
        | Reason::Hold => Cases::default(),
    }
}

/// What to do about a reason; `None` if it does not hold.
fn message(reason: Reason, brand: &str, facts: &Facts) -> Option<String> {
    match reason {
        Reason::Gap => gaps(&facts.gaps),
        Reason::NotPassed => unless(
            facts.passed,
            "the engine has not yet read everything that was in the stream after the period and \
             its grace time; wait, or see `prooftally stream info`",
        ),
        Reason::StreamUnconfirmed => unless(
            facts.stream_confirmed,
            "the stream may not be the one that was read before, or commits were lost; see \
             `prooftally stream info` and accept what it shows",
        ),
        Reason::Rejections
        | Reason::Conflicts
        | Reason::Parked
        | Reason::Unassigned
        | Reason::Unpriced => usage(reason, brand, facts),
        Reason::EarlierPeriod => facts.earlier_period.map(|start| {
            format!(
                "the period from {start} has no document yet; periods are invoiced oldest first"
            )
        }),
        Reason::UniquenessUnproved => unless(
            facts.uniqueness.as_ref().is_some_and(|found| found.unproved.is_empty()),
            "it is not yet proved that no receipt was counted twice; run it again when the segment \
             is sealed",
        ),
        Reason::UniquenessFailed => {
            let count = facts.uniqueness.as_ref().map_or(0, |found| found.doubles.count());
            (count > 0).then(|| {
                format!("{count} receipts were counted twice; run `prooftally audit repair`")
            })
        }
        Reason::AuditRed => list(&facts.audit).map(|findings| {
            format!("the audit has open findings: {findings}; see `prooftally audit`")
        }),
        Reason::NoPlan => unless(
            facts.has_plan,
            "the brand has no plan on some day of the period; assign one: `prooftally assignments`",
        ),
        Reason::BuyerIncomplete => list(&facts.buyer_lacks)
            .map(|fields| format!("the brand's profile lacks {fields}; complete it")),
        Reason::IssuerIncomplete => list(&facts.issuer_lacks)
            .map(|fields| format!("the issuer lacks {fields}; complete it")),
        Reason::TaxUndetermined => unless(
            facts.tax_determined,
            "how the brand is taxed on the period's last day is not known; set its tax treatment",
        ),
        Reason::Hold => list(&facts.holds)
            .map(|reasons| format!("on hold: {reasons}; release it when that is settled")),
    }
}

/// The reasons that are about the brand's own usage.
fn usage(reason: Reason, brand: &str, facts: &Facts) -> Option<String> {
    let (cases, what_to_do) = match reason {
        Reason::Rejections => (
            &facts.rejections,
            "open rejections; retry or dismiss them: `prooftally events rejected list`",
        ),
        Reason::Conflicts => {
            (&facts.conflicts, "open conflicts; resolve them: `prooftally conflicts list`")
        }
        Reason::Parked => (
            &facts.parked,
            "parked events; mend the cause and unpark them: `prooftally brands unpark`",
        ),
        Reason::Unassigned => (
            &facts.unassigned,
            "receipts on days without a plan; assign one back-dated: `prooftally assignments`, or \
             waive them with a reason: `prooftally waive`",
        ),
        Reason::Unpriced => return unpriced(&facts.unpriced),
        _ => return None,
    };
    let count = cases.count();
    (count > 0).then(|| format!("{brand} has {count} {what_to_do}"))
}

fn unless(good: bool, what_to_do: &str) -> Option<String> {
    (!good).then(|| what_to_do.to_owned())
}

fn list(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn gaps(gaps: &[Gap]) -> Option<String> {
    let texts: Vec<String> = gaps
        .iter()
        .map(|Gap { epoch, first, last }| format!("{first} to {last} of epoch {epoch}"))
        .collect();
    list(&texts).map(|ranges| {
        format!("positions were never seen: {ranges}; accept them with a reason: `prooftally gaps`")
    })
}

fn unpriced(kinds: &[(String, u64)]) -> Option<String> {
    let texts: Vec<String> =
        kinds.iter().map(|(kind, receipts)| format!("{receipts} of {kind}")).collect();
    list(&texts).map(|kinds| {
        format!("no charge of the plan takes {kinds}; see `prooftally plans unpriced`")
    })
}

#[cfg(test)]
mod tests;
