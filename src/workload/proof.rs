//! The proofs behind the events: what was verified, and how an event tells it.
//!
//! A proof is a function of seed and number. Nothing is remembered: an earlier one is drawn again.

use chrono::DateTime;

use super::draw::{self, Draw, Series};
use super::names::{ERROR_CODES, PREDICATES, PRODUCTS};
use super::shape::Shape;
use super::spec::{Percent, Quotas, Spec};

/// Suppliers that work for one brand.
const SUPPLIERS_PER_BRAND: u32 = 8;
/// How much earlier than its place in the stream says a proof may be verified.
const LATE_MS_MAX: u64 = 30_000;
/// How much later a receipt's second event may say that it was verified.
const REEMIT_MS_MAX: u64 = 5_000;
const DAY_MS: i64 = 86_400_000;

const REJECTED_PROOFS: Percent = Percent::from_basis_points(600);
/// Flat events that leave a field out.
const WITHOUT_PRODUCT: Percent = Percent::from_basis_points(1_000);
const WITHOUT_RESULT: Percent = Percent::from_basis_points(1_500);
const WITHOUT_EXPIRY: Percent = Percent::from_basis_points(2_000);
const WITHOUT_RECEIPT: Percent = Percent::from_basis_points(3_000);

/// What was verified. Times are milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub receipt_id: u128,
    pub brand: u32,
    pub supplier: u32,
    pub product: u32,
    pub predicate: u8,
    pub result: bool,
    pub verified_ms: i64,
    pub expires_ms: i64,
}

/// How an event tells a proof.
#[derive(Clone, Debug)]
pub struct Telling {
    pub shape: Shape,
    pub product: bool,
    pub result: bool,
    pub expiry: bool,
    /// For what a reader ignores: event id, trace id and the like.
    pub noise: Draw,
}

/// A proof that failed, and whether its event names the receipt.
pub struct Failure {
    pub proof: Proof,
    pub error_code: &'static str,
    pub names_receipt: bool,
    pub telling: Telling,
}

/// Draws proofs.
pub struct Source {
    seed: u64,
    /// Running sum of the brands' weights.
    weights: Vec<u64>,
    suppliers: u32,
    envelope: Percent,
    from_ms: i64,
    span_ms: u64,
    originals: u64,
}

impl Source {
    pub fn new(spec: &Spec, quotas: &Quotas) -> Self {
        let from_ms = spec.from.timestamp_millis();
        let span_ms = spec.until.timestamp_millis() - from_ms;
        Self {
            seed: spec.seed,
            weights: running_weights(spec.brands, spec.skew),
            suppliers: spec.suppliers,
            envelope: spec.envelope,
            from_ms,
            span_ms: u64::try_from(span_ms).expect("a checked span begins before it ends"),
            originals: quotas.originals.max(1),
        }
    }

    /// The first event of receipt `number`.
    pub fn original(&self, number: u64) -> (Proof, Telling) {
        let mut draw = Draw::new(self.seed, Series::Original, number);
        let proof = self.proof(&mut draw, Series::Original, number, number);
        let mut telling = self.telling(draw);
        // What is left out means true, so only a true result may be left out.
        telling.result |= !proof.result;
        (proof, telling)
    }

    /// Event `number` of those that tell an earlier receipt again. A false result may be left out
    /// here: what is absent contradicts nothing.
    pub fn reemission(&self, number: u64, of: u64) -> (Proof, Telling) {
        let mut draw = Draw::new(self.seed, Series::Reemission, number);
        let (mut proof, _) = self.original(of);
        proof.verified_ms += 1 + small(draw.below(REEMIT_MS_MAX));
        (proof, self.telling(draw))
    }

    /// Event `number` of those that contradict an earlier receipt, in a field that both tell.
    pub fn conflict(&self, number: u64, of: u64) -> (Proof, Telling) {
        let mut draw = Draw::new(self.seed, Series::Conflict, number);
        let (mut proof, first) = self.original(of);
        let (field, step) = (draw.below(4), draw.bits());
        proof.verified_ms += 1 + small(draw.below(REEMIT_MS_MAX));
        let mut telling = self.telling(draw);
        let another = |value: u32, of: u32| {
            let step = 1 + (step % u64::from(of - 1)) as u32;
            (value + step) % of
        };
        match field {
            0 if self.suppliers > 1 => proof.supplier = another(proof.supplier, self.suppliers),
            1 if first.product => {
                proof.product = another(proof.product, PRODUCTS);
                telling.product = true;
            }
            2 if first.result => {
                proof.result = !proof.result;
                telling.result = true;
            }
            _ => {
                let count = PREDICATES.len() as u32;
                proof.predicate = another(u32::from(proof.predicate), count) as u8;
            }
        }
        (proof, telling)
    }

    /// Failed event `number`, sent between originals `near - 1` and `near`.
    pub fn failure(&self, number: u64, near: u64) -> Failure {
        let mut draw = Draw::new(self.seed, Series::Failed, number);
        let proof = self.proof(&mut draw, Series::Failed, number, near);
        let error_code = ERROR_CODES[draw.below(ERROR_CODES.len() as u64) as usize];
        let names_receipt = !draw.chance(WITHOUT_RECEIPT);
        Failure { proof, error_code, names_receipt, telling: self.telling(draw) }
    }

    /// The good event from which malformed event `number` is made. It has a plain product and no
    /// expiry, so that it has no other fault than the one that is put in.
    pub fn unspoilt(&self, number: u64, near: u64) -> (Proof, Telling) {
        let mut draw = Draw::new(self.seed, Series::Malformed, number);
        let mut proof = self.proof(&mut draw, Series::Malformed, number, near);
        proof.product = proof.product.max(1);
        (proof, Telling { product: true, result: true, expiry: false, ..self.telling(draw) })
    }

    fn proof(&self, draw: &mut Draw, series: Series, number: u64, near: u64) -> Proof {
        let brand = self.brand(draw);
        let supplier = u64::from(brand) * 5 + draw.below(u64::from(SUPPLIERS_PER_BRAND));
        let verified_ms = self.time(near, draw.below(LATE_MS_MAX));
        Proof {
            receipt_id: draw::receipt_id(self.seed, series, number),
            brand,
            supplier: (supplier % u64::from(self.suppliers)) as u32,
            product: draw.below_u32(PRODUCTS),
            predicate: draw.below(PREDICATES.len() as u64) as u8,
            result: !draw.chance(REJECTED_PROOFS),
            verified_ms,
            expires_ms: verified_ms + DAY_MS * (1 + small(draw.below(730))),
        }
    }

    fn telling(&self, mut draw: Draw) -> Telling {
        let shape = if draw.chance(self.envelope) { Shape::Envelope } else { Shape::Flat };
        // An envelope always has product and result, and never an expiry.
        let flat = shape == Shape::Flat;
        Telling {
            shape,
            product: !(draw.chance(WITHOUT_PRODUCT) && flat),
            result: !(draw.chance(WITHOUT_RESULT) && flat),
            expiry: !draw.chance(WITHOUT_EXPIRY) && flat,
            noise: draw,
        }
    }

    fn brand(&self, draw: &mut Draw) -> u32 {
        let sum = self.weights.last().copied().unwrap_or(1);
        let at = draw.below(sum);
        self.weights.partition_point(|running| *running <= at) as u32
    }

    /// The originals are spread evenly over the span, each up to `late` before its time.
    fn time(&self, near: u64, late: u64) -> i64 {
        let near = u128::from(near.min(self.originals - 1));
        let even = near * u128::from(self.span_ms) / u128::from(self.originals);
        let even = u64::try_from(even).expect("a part of the span is not longer than the span");
        self.from_ms + small(even.saturating_sub(late))
    }
}

/// Milliseconds as a date and time.
pub fn instant(ms: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_millis(ms)
        .expect("a checked span, and what may be added to it, is within chrono's range")
}

fn small(number: u64) -> i64 {
    i64::try_from(number).expect("spans of a thousand years in milliseconds have 45 bits")
}

/// Zipf's weights `rank ^ -skew` as a running sum. Powers are made of products and square roots
/// alone, which every machine rounds alike.
fn running_weights(brands: u32, skew: f64) -> Vec<u64> {
    const ONE: f64 = (1_u64 << 32) as f64;
    let steps = (skew * 65_536.0).round() as u32;
    let mut sum = 0;
    let weigh = |rank: u32| {
        sum += ((ONE / power(f64::from(rank), steps)) as u64).max(1);
        sum
    };
    (1..=brands).map(weigh).collect()
}

/// `base ^ (steps / 65,536)`.
fn power(base: f64, steps: u32) -> f64 {
    let mut power = (0..steps >> 16).fold(1.0, |power, _| power * base);
    let mut root = base;
    for bit in (0..16).rev() {
        root = root.sqrt();
        if steps >> bit & 1 == 1 {
            power *= root;
        }
    }
    power
}
