//! What the parts of an engine need, out of the configuration.

use std::time::Duration;

use super::{Billing, Config};
use crate::actors::restart::Limits;
use crate::api;
use crate::bus::{self, intake, sorter, streams, witness};
use crate::store::due::{Issuer, Terms};
use crate::store::plan_file::folder::PriceLists;
use crate::{config, store};

impl Config {
    /// The parts' settings out of the configuration's.
    pub fn of(config: &config::Config) -> Self {
        let milliseconds = Duration::from_millis;
        let pull = &config.intake;
        // Delivered and not yet acknowledged: what is asked for, half as much again, and all chunks
        // in flight; twice that, so that the server never waits for an acknowledgement.
        let unacknowledged = pull.pull_messages * 2 + pull.chunk_messages_max * (pull.credits + 1);
        Self {
            store: store_config(config),
            migrate_on_start: config.database.migrate_on_start,
            segment_entries: config.ledger.segment_entries,
            bus: bus_config(config),
            intake: intake::Config {
                pull: bus::pull::Config {
                    stream: config.nats.stream.clone(),
                    consumer: config.nats.consumer.clone(),
                    messages: pull.pull_messages,
                    bytes: 2 * pull.chunk_bytes_max,
                    heartbeat: milliseconds(pull.heartbeat_ms),
                    ack_pending_max: i64::try_from(unacknowledged * 2).unwrap_or(i64::MAX),
                },
                chunk_messages_max: pull.chunk_messages_max,
                chunk_bytes_max: pull.chunk_bytes_max,
                credits: pull.credits,
                origin: origin_of_mirror(config),
                identity_every: milliseconds(config.nats.identity_every_ms),
            },
            sorter: sorter::Config {
                verified: config.nats.subjects.verified.clone(),
                failed: config.nats.subjects.failed.clone(),
                limits: bus::decode::Limits {
                    payload_bytes_max: pull.payload_bytes_max,
                    future_max: chrono::TimeDelta::milliseconds(
                        i64::try_from(pull.future_tolerance_ms).unwrap_or(i64::MAX / 2),
                    ),
                },
                brands_max: config.brands.auto_create_max,
                default_zone: config.brands.default_zone,
                predicates_max: pull.predicates_max,
            },
            witness: witness_config(config),
            time_to_loss_min: milliseconds(config.nats.time_to_loss_ms_min),
            restart: Limits {
                failures_max: config.supervision.restarts_max,
                window: milliseconds(config.supervision.restart_window_ms),
                backoff_min: milliseconds(config.supervision.backoff_ms_min),
            },
            audit_every: (config.audit.every_hours > 0)
                .then(|| Duration::from_secs(3_600 * u64::from(config.audit.every_hours))),
            brand_tries_max: config.supervision.brand_tries_max,
            passivate_after: milliseconds(config.brands.passivate_after_ms),
            billing: Billing {
                terms: billing_terms(config),
                finalizes: config.billing.finalize == config::Finalize::Automatic,
                every: BILL_EVERY,
            },
            api: config.api.enabled.then(|| api_config(config)),
            admin_listen: config.admin.listen,
            metrics_brands_max: config.admin.metrics_brands_max,
            shutdown_grace: milliseconds(config.service.shutdown_grace_ms),
        }
    }
}

/// How often drafts are refreshed.
const BILL_EVERY: Duration = Duration::from_secs(60);

/// Who issues documents, and when a period is complete.
pub fn billing_terms(config: &config::Config) -> Terms {
    let issuers = config.issuer.iter().map(|issuer| Issuer {
        from: issuer.from,
        zone: issuer.zone,
        party: issuer.party(),
    });
    Terms { issuers: issuers.collect(), grace_days: config.billing.grace_days }
}

/// How the API is served.
pub fn api_config(config: &config::Config) -> api::Config {
    let api = &config.api;
    let files = api.tls_certificate_file.clone().zip(api.tls_key_file.clone());
    api::Config {
        listen: api.listen,
        tls: files.map(|(certificate, key)| api::TlsFiles { certificate, key }),
        connections_max: api.connections_max,
        sockets: api::listener::Limits::default(),
        body_bytes_max: api.body_bytes_max,
        request_timeout: Duration::from_millis(api.request_timeout_ms),
        streams: api::stream::Limits::default(),
        page_rows_max: api.page_rows_max,
        requests_per_second: api.requests_per_second,
        requests_burst: api.requests_burst,
        oidc: (!api.oidc.issuer.is_empty()).then(|| oidc_config(&api.oidc)),
        terms: billing_terms(config),
        price_lists: price_lists(config),
    }
}

/// Where plan files are kept.
pub fn price_lists(config: &config::Config) -> PriceLists {
    let billing = &config.billing;
    PriceLists { folder: billing.plans_dir.clone(), default_plan: billing.default_plan.clone() }
}

/// How the database is reached.
pub fn store_config(config: &config::Config) -> store::Config {
    store::Config {
        url: config.database.url.clone(),
        connections_max: config.database.connections_max,
        acquire_timeout: Duration::from_millis(config.database.acquire_timeout_ms),
        commit_timeout: Duration::from_millis(config.database.commit_timeout_ms),
    }
}

/// How the bus is reached.
pub fn bus_config(config: &config::Config) -> bus::Config {
    bus::Config {
        url: config.nats.url.clone(),
        credentials_file: config.nats.credentials_file.clone(),
        ping_interval: Duration::from_millis(config.nats.ping_interval_ms),
    }
}

/// The origin of the stream that is read, if that is the mirror.
pub fn origin_of_mirror(config: &config::Config) -> Option<String> {
    let nats = &config.nats;
    (nats.stream != nats.origin.name).then(|| nats.origin.name.clone())
}

/// Where it is kept how far the last commit went.
pub fn witness_config(config: &config::Config) -> witness::Config {
    let nats = &config.nats;
    let bucket = match nats.witness_bucket.as_str() {
        "" => witness::bucket_of(&nats.consumer),
        bucket => bucket.to_owned(),
    };
    let is_mirror = origin_of_mirror(config).is_some();
    let replicas = if is_mirror { nats.mirror.replicas } else { nats.origin.replicas };
    witness::Config { bucket, replicas }
}

/// The streams that should be there, the origin first.
pub fn streams_wanted(config: &config::Config) -> Vec<streams::Wanted> {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
    let origin = &config.nats.origin;
    let mirror = &config.nats.mirror;
    let mut wanted = vec![streams::Wanted {
        name: origin.name.clone(),
        subjects: origin.subjects.clone(),
        mirror_of: None,
        messages_max: origin.messages_max,
        bytes_max: origin.bytes_max,
        age_max: days(origin.age_max_days),
        replicas: origin.replicas,
    }];
    if mirror.enabled {
        wanted.push(streams::Wanted {
            name: mirror.name.clone(),
            subjects: Vec::new(),
            mirror_of: Some(origin.name.clone()),
            messages_max: mirror.messages_max,
            bytes_max: mirror.bytes_max,
            age_max: days(mirror.age_max_days),
            replicas: mirror.replicas,
        });
    }
    wanted
}

/// Whose tokens the API accepts.
fn oidc_config(oidc: &config::Oidc) -> api::oidc::Config {
    let seconds = Duration::from_secs;
    let roles = &oidc.roles;
    api::oidc::Config {
        issuer: oidc.issuer.clone(),
        audience: oidc.audience.clone(),
        jwks_url: Some(oidc.jwks_url.clone()).filter(|url| !url.is_empty()),
        ca_file: oidc.ca_file.clone(),
        algorithms: oidc.algorithms.clone(),
        leeway: seconds(oidc.leeway_seconds),
        keys_fresh: seconds(oidc.keys_fresh_seconds),
        keys_kept: seconds(oidc.keys_kept_seconds),
        refetch_min: seconds(oidc.refetch_seconds_min),
        claims: api::oidc::Claims {
            roles: oidc.roles_claim.clone(),
            brand: oidc.brand_claim.clone(),
            name: oidc.name_claim.clone(),
        },
        roles: api::oidc::Roles {
            finance_read: roles.finance_read.clone(),
            finance: roles.finance.clone(),
            operator: roles.operator.clone(),
            admin: roles.admin.clone(),
            brand: roles.brand.clone(),
        },
    }
}
