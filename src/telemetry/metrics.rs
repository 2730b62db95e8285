//! Every metric, declared once. Labels come from closed sets, or are capped.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::store::audit::{CHECKS, STREAM_CHECK, Severity};
use crate::store::audit_runs::AuditRun;
use crate::store::commit::Commit;
use crate::store::gaps::Reason;

/// The label value of brands beyond the cap.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UsageLabels {
    brand: String,
    predicate: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DispositionLabels {
    disposition: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpenLabels {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    check: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActorLabels {
    actor: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DueLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SegmentLabels {
    state: &'static str,
}

/// The engine's metrics, and the registry that renders them.
pub struct Metrics {
    registry: Registry,
    usage: Family<UsageLabels, Counter>,
    brands: Mutex<HashSet<String>>,
    brands_max: usize,
    events: Family<DispositionLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    commit_duration: Histogram,
    commit_events: Histogram,
    restarts: Family<ActorLabels, Counter>,
    recoveries: Counter,
    lag_messages: Gauge,
    lag_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    chunks_in_flight: Gauge,
    usage_behind: Gauge,
    brand_actors: Gauge,
    brands_parked: Gauge,
    api_busy: Counter,
    cursor: Gauge,
    segments: Family<SegmentLabels, Gauge>,
    sealing_duration: Histogram,
    stream: Streams,
    conflicts_open: Gauge,
    documents_due: Family<DueLabels, Gauge>,
    rejections_open: Family<OpenLabels, Gauge>,
    audit_findings: Family<CheckLabels, Gauge>,
    audit_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    audit_clean: Gauge,
}

impl Metrics {
    /// `brands_max` caps the brands that have a label of their own.
    pub fn new(brands_max: usize) -> Self {
        let mut registry = Registry::with_prefix("prooftally");
        let commit_buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        let event_buckets = [1.0, 10.0, 100.0, 1000.0, 2500.0, 5000.0, 10000.0, 32768.0];
        let metrics = Self {
            usage: Family::default(),
            brands: Mutex::new(HashSet::new()),
            brands_max,
            events: Family::default(),
            rejected: Family::default(),
            commit_duration: Histogram::new(commit_buckets),
            commit_events: Histogram::new(event_buckets),
            restarts: Family::default(),
            recoveries: Counter::default(),
            lag_messages: Gauge::default(),
            lag_seconds: Gauge::default(),
            chunks_in_flight: Gauge::default(),
            usage_behind: Gauge::default(),
            brand_actors: Gauge::default(),
            brands_parked: Gauge::default(),
            api_busy: Counter::default(),
            cursor: Gauge::default(),
            segments: Family::default(),
            sealing_duration: Histogram::new([0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]),
            stream: Streams::default(),
            conflicts_open: Gauge::default(),
            documents_due: Family::default(),
            rejections_open: Family::default(),
            audit_findings: Family::default(),
            audit_age: Gauge::default(),
            audit_clean: Gauge::default(),
            registry: Registry::default(),
        };
        // No audit yet, which is neither clean nor not.
        metrics.audit_age.set(f64::INFINITY);
        metrics.audit_clean.set(-1);
        metrics.register(&mut registry);
        metrics.register_cases(&mut registry);
        Self { registry, ..metrics }
    }

    fn register(&self, registry: &mut Registry) {
        let usage = "Receipts counted by this process, by brand and predicate";
        registry.register("usage_receipts", usage, self.usage.clone());
        let events = "Positions of the stream by disposition, since this process started";
        registry.register("events", events, self.events.clone());
        let rejected = "Events rejected since this process started, by reason";
        registry.register("rejected_events", rejected, self.rejected.clone());
        let duration = "From a chunk being complete to its commit, waits for the database included";
        let commit_duration = self.commit_duration.clone();
        registry.register_with_unit("commit_duration", duration, Unit::Seconds, commit_duration);
        let events = "Positions of the stream in a commit";
        registry.register("commit_events", events, self.commit_events.clone());
        let restarts = "Actors that failed and were started again";
        registry.register("restarts", restarts, self.restarts.clone());
        let recoveries = "Times that the intake began again from the cursor";
        registry.register("intake_recoveries", recoveries, self.recoveries.clone());
        let lag = "Messages of the stream after the cursor";
        registry.register("lag_messages", lag, self.lag_messages.clone());
        let lag = "Age of the cursor's last message while messages wait; 0 when none do";
        registry.register_with_unit("lag", lag, Unit::Seconds, self.lag_seconds.clone());
        let chunks = "Chunks between intake and commit";
        registry.register("chunks_in_flight", chunks, self.chunks_in_flight.clone());
        let behind = "Entries of the ledger that usage does not have yet";
        registry.register("usage_behind_entries", behind, self.usage_behind.clone());
        let actors = "Brands that have an actor";
        registry.register("brand_actors", actors, self.brand_actors.clone());
        let parked = "Brands whose events are parked";
        registry.register("brands_parked", parked, self.brands_parked.clone());
        let busy = "Requests of the API that found no connection to the database, or no turn to make a change";
        registry.register("api_busy", busy, self.api_busy.clone());
        let cursor = "Last position of the stream that is committed";
        registry.register("cursor_sequence", cursor, self.cursor.clone());
        let segments =
            "Full segments of the ledger: sealed, unsealed, or broken (a receipt counted twice)";
        registry.register("segments", segments, self.segments.clone());
        let sealing = "From the start of a segment's proof to its filter being in use";
        let duration = self.sealing_duration.clone();
        registry.register_with_unit("sealing_duration", sealing, Unit::Seconds, duration);
        self.stream.register(registry);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
    }

    fn register_cases(&self, registry: &mut Registry) {
        let open = "Contents that contradict a counted receipt and wait for a person";
        registry.register("conflicts_open", open, self.conflicts_open.clone());
        let due =
            "Documents that could be issued now: ready, blocked, or of a brand whose drafts fail";
        registry.register("documents_due", due, self.documents_due.clone());
        let open = "Rejections that wait for a person, by reason";
        registry.register("rejections_open", open, self.rejections_open.clone());
        let findings = "Findings of the last audit, by check; each check tells at most 20";
        registry.register("audit_findings", findings, self.audit_findings.clone());
        let age = "Since the last audit ended; infinite if there was none";
        registry.register_with_unit("audit_age", age, Unit::Seconds, self.audit_age.clone());
        let clean = "1 if the last audit found no violation, 0 if it did, -1 if there was none";
        registry.register("audit_clean", clean, self.audit_clean.clone());
    }

    /// The last audit, seen again now and then.
    pub fn audited(&self, last: &AuditRun) {
        let stream = last.with_stream.then_some((STREAM_CHECK, Severity::Violation));
        for (check, severity) in CHECKS.into_iter().chain(stream) {
            let labels = CheckLabels { check, severity: severity.as_str() };
            self.audit_findings.get_or_create(&labels).set(last.findings_of(check));
        }
        self.audit_age.set(last.age_s);
        self.audit_clean.set(i64::from(last.violations == 0));
    }

    /// Documents that are due, by state; failed counts brands.
    pub fn documents_due(&self, ready: i64, blocked: i64, failed: i64) {
        for (state, due) in [("ready", ready), ("blocked", blocked), ("failed", failed)] {
            self.documents_due.get_or_create(&DueLabels { state }).set(due);
        }
    }

    pub fn conflicts_open(&self, open: i64) {
        self.conflicts_open.set(open);
    }

    /// Open rejections by reason; a reason that is not given has none.
    pub fn rejections_open(&self, open: &[(String, i64)]) {
        self.rejections_open.clear();
        for (reason, rejections) in open {
            let labels = OpenLabels { reason: reason.clone() };
            self.rejections_open.get_or_create(&labels).set(*rejections);
        }
    }

    /// Counts the receipts of a brand.
    pub fn usage_counter(&self, brand: &str, predicate: &str) -> Counter {
        let labels =
            UsageLabels { brand: self.label(brand).to_owned(), predicate: predicate.to_owned() };
        self.usage.get_or_create(&labels).clone()
    }

    /// A chunk was committed.
    pub fn committed(&self, duration: Duration, commit: &Commit) {
        self.commit_duration.observe(duration.as_secs_f64());
        let totals = &commit.totals;
        let by_disposition = [
            ("counted", totals.counted),
            ("duplicate", totals.duplicate),
            ("conflict", totals.conflict),
            ("rejected", totals.rejected),
            ("ignored", totals.ignored),
            ("parked", totals.parked),
            ("gap", totals.gap),
        ];
        for (disposition, events) in by_disposition {
            let labels = DispositionLabels { disposition };
            self.events.get_or_create(&labels).inc_by(events.unsigned_abs());
        }
        for rejection in &commit.rejections {
            self.rejected.get_or_create(&ReasonLabels { reason: rejection.reason }).inc();
        }
        for gap in &commit.gaps {
            self.gap_found(gap.reason, gap.positions());
        }
        let positions = u32::try_from(totals.positions()).unwrap_or(u32::MAX);
        self.commit_events.observe(f64::from(positions));
        self.cursor.set(commit.sequence);
    }

    /// Whether the stream is the one that was metered.
    pub fn identified(&self, is_same: bool) {
        self.stream.identity_ok.set(i64::from(is_same));
    }

    /// A gap was found, with so many positions as far as that is known.
    pub fn gap_found(&self, reason: Reason, positions: i64) {
        let labels = ReasonLabels { reason: reason.as_str() };
        self.stream.gap_positions.get_or_create(&labels).inc_by(positions.unsigned_abs());
    }

    pub fn gaps_open(&self, open: &[(Reason, i64)]) {
        for (reason, gaps) in open {
            let labels = ReasonLabels { reason: reason.as_str() };
            self.stream.gaps_open.get_or_create(&labels).set(*gaps);
        }
    }

    /// The last position of the stream that is read, and of the origin that it mirrors.
    pub fn stream_ends(&self, last: i64, origin_last: Option<i64>) {
        self.stream.last.set(last);
        if let Some(origin_last) = origin_last {
            self.stream.origin_last.set(origin_last);
            self.stream.mirror_lag.set(origin_last - last);
        }
    }

    /// `None` if nothing is ever lost.
    pub fn time_to_loss(&self, time: Option<Duration>) {
        self.stream.time_to_loss.set(time.map_or(f64::INFINITY, |time| time.as_secs_f64()));
    }

    pub fn restarted(&self, actor: &'static str) {
        self.restarts.get_or_create(&ActorLabels { actor }).inc();
    }

    pub fn recovered(&self) {
        self.recoveries.inc();
    }

    pub fn lag(&self, messages: i64, age: Duration) {
        self.lag_messages.set(messages);
        self.lag_seconds.set(age.as_secs_f64());
    }

    /// Usage lacks so many entries of the ledger.
    pub fn usage_behind(&self, entries: i64) {
        self.usage_behind.set(entries);
    }

    pub fn load(&self, chunks: usize, actors: usize, parked: usize) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.chunks_in_flight.set(gauge(chunks));
        self.brand_actors.set(gauge(actors));
        self.brands_parked.set(gauge(parked));
    }

    /// A request of the API found each of its connections to the database in use, or no turn to make a change.
    pub fn api_busy(&self) {
        self.api_busy.inc();
    }

    /// Full segments by state; a broken one is unsealed too.
    pub fn segments(&self, sealed: usize, unsealed: usize, broken: usize) {
        let states = [("sealed", sealed), ("unsealed", unsealed), ("broken", broken)];
        for (state, segments) in states {
            let gauge = self.segments.get_or_create(&SegmentLabels { state });
            gauge.set(i64::try_from(segments).unwrap_or(i64::MAX));
        }
    }

    /// A segment was sealed.
    pub fn sealed(&self, duration: Duration) {
        self.sealing_duration.observe(duration.as_secs_f64());
    }

    /// The metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    fn label<'a>(&self, brand: &'a str) -> &'a str {
        let mut brands = self.brands.lock();
        if brands.contains(brand) {
            return brand;
        }
        if brands.len() >= self.brands_max {
            return OTHER;
        }
        brands.insert(brand.to_owned());
        brand
    }
}

/// What is known of the streams.
#[derive(Default)]
struct Streams {
    identity_ok: Gauge,
    gaps_open: Family<ReasonLabels, Gauge>,
    gap_positions: Family<ReasonLabels, Counter>,
    last: Gauge,
    origin_last: Gauge,
    mirror_lag: Gauge,
    time_to_loss: Gauge<f64, std::sync::atomic::AtomicU64>,
}

impl Streams {
    fn register(&self, registry: &mut Registry) {
        let identity = "1 if the stream was the one that was metered when last looked at, else 0";
        registry.register("stream_identity_ok", identity, self.identity_ok.clone());
        let open = "Gaps that nobody has accepted, by reason";
        registry.register("gaps_open", open, self.gaps_open.clone());
        let positions = "Positions found to be gaps since this process started, by reason";
        registry.register("gap_positions", positions, self.gap_positions.clone());
        let last = "Last position of the stream that is read";
        registry.register("stream_last_sequence", last, self.last.clone());
        let last = "Last position of the origin, where a mirror of it is read";
        registry.register("origin_last_sequence", last, self.origin_last.clone());
        let lag = "Last position of the origin less that of the mirror that is read";
        registry.register("mirror_lag_messages", lag, self.mirror_lag.clone());
        let loss = "Time until unread messages are dropped, at the rate of the last minutes";
        let time_to_loss = self.time_to_loss.clone();
        registry.register_with_unit("stream_time_to_loss", loss, Unit::Seconds, time_to_loss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brands_beyond_the_cap_share_a_label() {
        let metrics = Metrics::new(1);
        metrics.usage_counter("acme", "CERT_VALID@V1").inc_by(2);
        metrics.usage_counter("zeta", "CERT_VALID@V1").inc_by(3);
        metrics.usage_counter("acme", "CERT_VALID@V1").inc_by(1);
        metrics.usage_counter("yota", "CERT_VALID@V1").inc_by(4);
        let text = metrics.render();
        let acme = r#"prooftally_usage_receipts_total{brand="acme",predicate="CERT_VALID@V1"} 3"#;
        let other = r#"prooftally_usage_receipts_total{brand="other",predicate="CERT_VALID@V1"} 7"#;
        assert!(text.contains(acme), "{text}");
        assert!(text.contains(other), "{text}");
    }
}
