//! Checks of a whole configuration: each value by its rule, then values that must go together.

use toml::{Table, Value};

use super::problem::{Error, Problem};
use super::rules::RULES;
use super::{Config, api, issuer};

impl Config {
    /// Checks every value and what must hold between them, for a configuration that was changed
    /// after it was loaded.
    ///
    /// # Errors
    /// [`Error::Refused`] with all problems.
    pub fn validate(&self) -> Result<(), Error> {
        let values = Table::try_from(self)?;
        let mut problems: Vec<Problem> = RULES
            .iter()
            .filter_map(|(key, rule)| {
                let given = rule.fault(key, get(&values, key)?)?;
                Some(Problem::Value { key: (*key).to_owned(), origin: None, given })
            })
            .collect();
        let issuers = get(&values, "issuer").map(issuer::faults).unwrap_or_default();
        problems.extend(issuers.into_iter().map(|why| Problem::Issuer { origin: None, why }));
        problems.extend(contradictions(self));
        if problems.is_empty() { Ok(()) } else { Err(Error::Refused(problems)) }
    }
}

/// The value at a key.
pub(super) fn get<'a>(values: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => get(values.get(section)?.as_table()?, rest),
        None => values.get(key),
    }
}

/// What does not go together.
pub(super) fn contradictions(config: &Config) -> Vec<Problem> {
    let single =
        [stream_is_known, streams_differ, subjects_are_apart, events_fit, budget_can_be_spent];
    let mut problems: Vec<Problem> = single.iter().filter_map(|check| check(config)).collect();
    problems.extend(mirror_outlives(config));
    problems.extend(subjects_are_captured(config));
    problems.extend(api::contradictions(config));
    problems
}

fn stream_is_known(config: &Config) -> Option<Problem> {
    let nats = &config.nats;
    let (stream, origin, mirror) = (&nats.stream, &nats.origin.name, &nats.mirror.name);
    if stream == origin || (stream == mirror && nats.mirror.enabled) {
        return None;
    }
    let why = if stream == mirror {
        format!(
            "`nats.stream` is the mirror \"{stream}\", but `nats.mirror.enabled` is false: enable \
             the mirror, or read the origin \"{origin}\""
        )
    } else {
        format!(
            "`nats.stream` is \"{stream}\", which is neither the origin nor an enabled mirror: set \
             it to `nats.origin.name` (\"{origin}\") or `nats.mirror.name` (\"{mirror}\"), or \
             change those"
        )
    };
    let keys = &["nats.stream", "nats.origin.name", "nats.mirror.name", "nats.mirror.enabled"];
    Some(Problem::Contradiction { keys, why })
}

fn streams_differ(config: &Config) -> Option<Problem> {
    let (origin, mirror) = (&config.nats.origin, &config.nats.mirror);
    (mirror.enabled && origin.name == mirror.name).then(|| Problem::Contradiction {
        keys: &["nats.origin.name", "nats.mirror.name", "nats.mirror.enabled"],
        why: format!(
            "`nats.origin.name` and `nats.mirror.name` are both \"{}\": a stream cannot mirror \
             itself",
            origin.name
        ),
    })
}

/// A mirror that drops messages before its origin does is of no use.
fn mirror_outlives(config: &Config) -> Vec<Problem> {
    let (origin, mirror) = (&config.nats.origin, &config.nats.mirror);
    if !mirror.enabled {
        return Vec::new();
    }
    let ages = (i64::from(origin.age_max_days), i64::from(mirror.age_max_days));
    let limits: [(_, &[_], _, _); 3] = [
        (
            "messages_max",
            &["nats.mirror.enabled", "nats.mirror.messages_max", "nats.origin.messages_max"],
            origin.messages_max,
            mirror.messages_max,
        ),
        (
            "bytes_max",
            &["nats.mirror.enabled", "nats.mirror.bytes_max", "nats.origin.bytes_max"],
            origin.bytes_max,
            mirror.bytes_max,
        ),
        (
            "age_max_days",
            &["nats.mirror.enabled", "nats.mirror.age_max_days", "nats.origin.age_max_days"],
            ages.0,
            ages.1,
        ),
    ];
    // NATS writes "no limit" as -1, and as 0 for the age.
    let open = |limit: i64| if limit <= 0 { i64::MAX } else { limit };
    let too_low =
        limits.into_iter().filter(|(.., origins, mirrors)| open(*mirrors) < open(*origins));
    let problem = |(name, keys, origins, mirrors)| Problem::Contradiction {
        keys,
        why: format!(
            "`nats.mirror.{name}` ({mirrors}) is below `nats.origin.{name}` ({origins}): a mirror \
             is there to keep messages longer than its origin does; raise it"
        ),
    };
    too_low.map(problem).collect()
}

fn events_fit(config: &Config) -> Option<Problem> {
    let intake = &config.intake;
    (intake.chunk_bytes_max < intake.payload_bytes_max).then(|| Problem::Contradiction {
        keys: &["intake.chunk_bytes_max", "intake.payload_bytes_max"],
        why: format!(
            "`intake.chunk_bytes_max` ({}) is below `intake.payload_bytes_max` ({}): a chunk must \
             hold the longest event; raise the former or lower the latter",
            intake.chunk_bytes_max, intake.payload_bytes_max
        ),
    })
}

/// If the waits alone outlast the window, failures never add up, and what is broken is restarted
/// for ever.
fn budget_can_be_spent(config: &Config) -> Option<Problem> {
    let supervision = &config.supervision;
    let doublings = u32::try_from(supervision.restarts_max).unwrap_or(u32::MAX);
    let waits = 2u64.saturating_pow(doublings).saturating_sub(1);
    let waits_ms = supervision.backoff_ms_min.saturating_mul(waits);
    (waits_ms >= supervision.restart_window_ms).then(|| Problem::Contradiction {
        keys: &[
            "supervision.restarts_max",
            "supervision.restart_window_ms",
            "supervision.backoff_ms_min",
        ],
        why: format!(
            "`supervision.restart_window_ms` ({}) is over before {} restarts with waits from {} ms \
             doubled each time are: nothing would ever count as failing too often; widen the \
             window, or lower `supervision.restarts_max` or `supervision.backoff_ms_min`",
            supervision.restart_window_ms, supervision.restarts_max, supervision.backoff_ms_min
        ),
    })
}

/// Each subject stands for all below it, too.
fn subjects_are_apart(config: &Config) -> Option<Problem> {
    let subjects = &config.nats.subjects;
    let within = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}."));
    let (verified, failed) = (&subjects.verified, &subjects.failed);
    (within(verified, failed) || within(failed, verified)).then(|| Problem::Contradiction {
        keys: &["nats.subjects.verified", "nats.subjects.failed"],
        why: format!(
            "`nats.subjects.verified` (\"{verified}\") and `nats.subjects.failed` (\"{failed}\") \
             overlap, as each stands for all below it: an event is metered or tallied, never both"
        ),
    })
}

/// A subject that the origin does not capture is never seen, and nothing else would say so.
fn subjects_are_captured(config: &Config) -> Vec<Problem> {
    let origin = &config.nats.origin;
    let subjects = &config.nats.subjects;
    [("verified", &subjects.verified), ("failed", &subjects.failed)]
        .into_iter()
        .filter(|(_, subject)| !origin.subjects.iter().any(|pattern| captures(pattern, subject)))
        .map(|(name, subject)| Problem::Contradiction {
            keys: &["nats.subjects.verified", "nats.subjects.failed", "nats.origin.subjects"],
            why: format!(
                "`nats.subjects.{name}` (\"{subject}\") is not among `nats.origin.subjects` \
                 ({:?}): the stream would never hold such an event",
                origin.subjects
            ),
        })
        .collect()
}

/// True if the pattern of NATS captures the subject.
fn captures(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}
