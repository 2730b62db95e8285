//! Every key with what its value must be. One row a key, in the order in which they are shown.

use std::net::SocketAddr;

use chrono_tz::Tz;
use toml::Value;
use tracing_subscriber::EnvFilter;

use super::nearest;
use super::problem::Given;
use super::secret;

/// What a value must be.
pub(super) enum Rule {
    /// From the first to the second, both included.
    Integer(i64, i64),
    /// -1, or from 1 to this.
    Limit(i64),
    Toggle,
    OneOf(&'static [&'static str]),
    Text(Form),
    /// A list of such texts, at least one.
    Texts(Form),
    /// Tables, which `issuer::faults` checks.
    Issuers,
}

/// What a text must look like.
pub(super) struct Form {
    must: &'static str,
    holds: fn(&str) -> bool,
}

const DAY_MS: i64 = 86_400_000;
/// Beyond any disk: a slip of the finger, not a wish.
const STREAM_BYTES_MAX: i64 = 1_000_000_000_000_000;
const STREAM_MESSAGES_MAX: i64 = 1_000_000_000_000;
/// NATS keeps a stream on at most so many servers.
const REPLICAS_MAX: i64 = 5;
const STREAM_AGE_DAYS_MAX: i64 = 36_500;
/// The client holds 65,536 messages of a subscription and silently drops what comes beyond, and
/// half as many again as are asked for may be on their way.
const PULL_MESSAGES_MAX: i64 = 65_536 * 2 / 3;

pub(super) static RULES: &[(&str, Rule)] = &[
    ("issuer", Rule::Issuers),
    ("service.environment", Rule::Text(LABEL)),
    ("service.shutdown_grace_ms", Rule::Integer(1_000, 600_000)),
    ("nats.url", Rule::Text(NATS_URL)),
    ("nats.url_file", Rule::Text(FILE)),
    ("nats.credentials_file", Rule::Text(FILE)),
    ("nats.ping_interval_ms", Rule::Integer(100, 120_000)),
    ("nats.stream", Rule::Text(STREAM)),
    ("nats.consumer", Rule::Text(STREAM)),
    ("nats.witness_bucket", Rule::Text(BUCKET)),
    ("nats.identity_every_ms", Rule::Integer(100, 3_600_000)),
    ("nats.time_to_loss_ms_min", Rule::Integer(0, 30 * DAY_MS)),
    ("nats.subjects.verified", Rule::Text(SUBJECT)),
    ("nats.subjects.failed", Rule::Text(SUBJECT)),
    ("nats.origin.name", Rule::Text(STREAM)),
    ("nats.origin.subjects", Rule::Texts(PATTERN)),
    ("nats.origin.messages_max", Rule::Limit(STREAM_MESSAGES_MAX)),
    ("nats.origin.bytes_max", Rule::Limit(STREAM_BYTES_MAX)),
    ("nats.origin.age_max_days", Rule::Integer(0, STREAM_AGE_DAYS_MAX)),
    ("nats.origin.replicas", Rule::Integer(1, REPLICAS_MAX)),
    ("nats.mirror.enabled", Rule::Toggle),
    ("nats.mirror.name", Rule::Text(STREAM)),
    ("nats.mirror.messages_max", Rule::Limit(STREAM_MESSAGES_MAX)),
    ("nats.mirror.bytes_max", Rule::Limit(STREAM_BYTES_MAX)),
    ("nats.mirror.age_max_days", Rule::Integer(0, STREAM_AGE_DAYS_MAX)),
    ("nats.mirror.replicas", Rule::Integer(1, REPLICAS_MAX)),
    ("intake.chunk_messages_max", Rule::Integer(1, 65_536)),
    ("intake.chunk_bytes_max", Rule::Integer(1_024, 67_108_864)),
    ("intake.credits", Rule::Integer(1, 16)),
    ("intake.pull_messages", Rule::Integer(1, PULL_MESSAGES_MAX)),
    // A pull request lives 30 s; NATS wants at least two heartbeats within it.
    ("intake.heartbeat_ms", Rule::Integer(100, 15_000)),
    ("intake.payload_bytes_max", Rule::Integer(1_024, 8_388_608)),
    ("intake.future_tolerance_ms", Rule::Integer(0, DAY_MS)),
    ("intake.predicates_max", Rule::Integer(1, 1_000_000)),
    ("database.url", Rule::Text(POSTGRES_URL)),
    ("database.url_file", Rule::Text(FILE)),
    ("database.connections_max", Rule::Integer(2, 1_000)),
    ("database.migrate_on_start", Rule::Toggle),
    ("database.commit_timeout_ms", Rule::Integer(1_000, 600_000)),
    ("database.acquire_timeout_ms", Rule::Integer(100, 600_000)),
    ("brands.default_zone", Rule::Text(ZONE)),
    ("brands.auto_create_max", Rule::Integer(0, 10_000_000)),
    ("brands.passivate_after_ms", Rule::Integer(1_000, DAY_MS)),
    ("ledger.segment_entries", Rule::Integer(1_000, 100_000_000)),
    ("supervision.restarts_max", Rule::Integer(1, 20)),
    ("supervision.restart_window_ms", Rule::Integer(100, DAY_MS)),
    ("supervision.backoff_ms_min", Rule::Integer(1, 60_000)),
    ("supervision.brand_tries_max", Rule::Integer(1, 10)),
    // A year: more rarely is never.
    ("audit.every_hours", Rule::Integer(0, 8_784)),
    ("billing.default_plan", Rule::Text(PLAN)),
    ("billing.plans_dir", Rule::Text(FOLDER)),
    ("billing.finalize", Rule::OneOf(&["by_hand", "automatic"])),
    ("billing.grace_days", Rule::Integer(0, 90)),
    ("api.enabled", Rule::Toggle),
    ("api.listen", Rule::Text(ADDRESS)),
    ("api.tls_certificate_file", Rule::Text(FILE)),
    ("api.tls_key_file", Rule::Text(FILE)),
    ("api.plain_http", Rule::Toggle),
    ("api.connections_max", Rule::Integer(1, 1_000)),
    ("api.body_bytes_max", Rule::Integer(1_024, 67_108_864)),
    ("api.request_timeout_ms", Rule::Integer(100, 600_000)),
    ("api.page_rows_max", Rule::Integer(1, 10_000)),
    ("api.requests_per_second", Rule::Integer(1, 100_000)),
    ("api.requests_burst", Rule::Integer(1, 100_000)),
    ("api.oidc.issuer", Rule::Text(WEB_URL)),
    ("api.oidc.audience", Rule::Text(CLAIM)),
    ("api.oidc.jwks_url", Rule::Text(WEB_URL)),
    ("api.oidc.ca_file", Rule::Text(FILE)),
    ("api.oidc.algorithms", Rule::Texts(ALGORITHM)),
    ("api.oidc.leeway_seconds", Rule::Integer(0, 300)),
    ("api.oidc.keys_fresh_seconds", Rule::Integer(1, 86_400)),
    ("api.oidc.keys_kept_seconds", Rule::Integer(1, 2_592_000)),
    ("api.oidc.refetch_seconds_min", Rule::Integer(1, 3_600)),
    ("api.oidc.roles_claim", Rule::Text(CLAIM)),
    ("api.oidc.brand_claim", Rule::Text(CLAIM)),
    ("api.oidc.name_claim", Rule::Text(CLAIM)),
    ("api.oidc.roles.finance_read", Rule::Texts(CLAIM)),
    ("api.oidc.roles.finance", Rule::Texts(CLAIM)),
    ("api.oidc.roles.operator", Rule::Texts(CLAIM)),
    ("api.oidc.roles.admin", Rule::Texts(CLAIM)),
    ("api.oidc.roles.brand", Rule::Texts(CLAIM)),
    ("admin.listen", Rule::Text(ADDRESS)),
    ("admin.metrics_brands_max", Rule::Integer(0, 100_000)),
    ("telemetry.log_format", Rule::OneOf(&["text", "json"])),
    ("telemetry.log_filter", Rule::Text(FILTER)),
];

const LABEL: Form = Form {
    must: "1 to 63 lower-case letters, digits and hyphens",
    holds: |text| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    },
};
const NATS_URL: Form = Form {
    must: "the URL of one server, such as nats://127.0.0.1:4222 (also tls://, ws://, wss://)",
    holds: is_nats_url,
};
const POSTGRES_URL: Form = Form {
    must: "a PostgreSQL URL, such as postgres://user@host:5432/name",
    holds: |text| {
        is_plain(text) && ["postgres://", "postgresql://"].iter().any(|s| text.starts_with(s))
    },
};
const FILE: Form = Form { must: "the path of a file, or empty for none", holds: is_plain };
const FOLDER: Form =
    Form { must: "the path of a folder", holds: |text| !text.is_empty() && is_plain(text) };
const STREAM: Form = Form {
    must: "1 to 255 characters without spaces and any of . * > / \\",
    holds: |text| {
        (1..=255).contains(&text.len())
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c))
    },
};
const BUCKET: Form = Form {
    must: "at most 200 letters, digits, hyphens and underscores, or empty",
    holds: |text| {
        text.len() <= 200
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    },
};
const SUBJECT: Form = Form {
    must: "a subject without wildcards, such as proofs.verified",
    holds: |text| is_pattern(text) && !text.split('.').any(|token| matches!(token, "*" | ">")),
};
const PATTERN: Form = Form { must: "a subject, such as proofs.> or proofs.*", holds: is_pattern };
const ZONE: Form = Form {
    must: "an IANA time zone, such as Europe/Berlin",
    holds: |text| text.parse::<Tz>().is_ok(),
};
const PLAN: Form = Form {
    must: "1 to 63 letters, digits, hyphens and underscores: a plan's file without .toml",
    holds: |text| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    },
};
const ADDRESS: Form = Form {
    must: "an IP address and a port, such as 127.0.0.1:9464 or [::]:9464",
    holds: |text| text.parse::<SocketAddr>().is_ok(),
};
const WEB_URL: Form = Form {
    must: "an address that begins with https:// (http:// only on this machine), or empty",
    holds: |text| text.is_empty() || is_web_url(text),
};
const ALGORITHM: Form = Form {
    must: "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
    holds: |text| {
        let known = "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA";
        known.split(' ').any(|name| name == text)
    },
};
const CLAIM: Form = Form {
    must: "1 to 200 characters without spaces at its ends",
    holds: |text| (1..=200).contains(&text.len()) && is_plain(text) && text.trim() == text,
};
const FILTER: Form = Form {
    must: "a list of levels, such as info or info,prooftally::bus=debug",
    holds: |text| !text.trim().is_empty() && EnvFilter::builder().parse(text).is_ok(),
};

/// What the key's value must be, or `None` if there is no such key.
pub(super) fn rule(key: &str) -> Option<&'static Rule> {
    RULES.iter().find(|(name, _)| *name == key).map(|(_, rule)| rule)
}

/// True if keys stand below `path`.
pub(super) fn is_section(path: &str) -> bool {
    nearest::sections().any(|section| section == path)
}

impl Rule {
    /// What is wrong with `value` as the value of `key`.
    pub(super) fn fault(&self, key: &str, value: &Value) -> Option<Given> {
        let holds = match (self, value) {
            (Self::Integer(min, max), Value::Integer(n)) => (*min..=*max).contains(n),
            (Self::Limit(max), Value::Integer(n)) => *n == -1 || (1..=*max).contains(n),
            (Self::Toggle, Value::Boolean(_)) | (Self::Issuers, _) => true,
            (Self::OneOf(choices), Value::String(text)) => choices.contains(&text.as_str()),
            (Self::Text(form), Value::String(text)) => (form.holds)(text),
            (Self::Texts(form), Value::Array(list)) => {
                !list.is_empty() && list.iter().all(|v| v.as_str().is_some_and(form.holds))
            }
            _ => false,
        };
        (!holds).then(|| Given {
            value: (!secret::is_secret(key)).then(|| shortened(value)),
            must: self.must(),
        })
    }

    fn must(&self) -> String {
        match self {
            Self::Integer(min, max) => format!("an integer from {min} to {max}"),
            Self::Limit(max) => format!("an integer from 1 to {max}, or -1 for no limit"),
            Self::Toggle => "true or false".to_owned(),
            Self::OneOf(choices) => choices.join(" or "),
            Self::Text(form) => form.must.to_owned(),
            Self::Issuers => "versions, each under a line [[issuer]]".to_owned(),
            Self::Texts(form) => format!("a list, not empty, each of it {}", form.must),
        }
    }

    /// Reads a variable's text as what the key wants. What cannot be read stays a text, which the
    /// rule then refuses.
    pub(super) fn read(&self, text: &str) -> Value {
        let number = || text.trim().replace('_', "").parse().ok().map(Value::Integer);
        let read = match self {
            Self::Integer(..) | Self::Limit(_) => number(),
            Self::Toggle => text.trim().parse().ok().map(Value::Boolean),
            Self::Texts(_) | Self::Issuers if text.trim_start().starts_with('[') => {
                text.parse().ok()
            }
            Self::Texts(_) => Some(
                text.split(',').map(|part| Value::from(part.trim())).collect::<Vec<_>>().into(),
            ),
            Self::OneOf(_) | Self::Text(_) | Self::Issuers => None,
        };
        read.unwrap_or_else(|| text.into())
    }
}

/// The value as TOML writes it, cut to what a message can hold.
fn shortened(value: &Value) -> String {
    const CHARS_MAX: usize = 80;
    let text = if value.is_table() { "a section".to_owned() } else { value.to_string() };
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn is_plain(text: &str) -> bool {
    !text.contains(char::is_control)
}

fn is_nats_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    matches!(scheme, "nats" | "tls" | "ws" | "wss")
        && is_plain(text)
        && !host.is_empty()
        && !host.starts_with([':', '/'])
        && !host.contains(|c: char| c == ',' || c.is_whitespace())
}

/// Keys and roles must not come over a network in the clear.
fn is_web_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_local = matches!(host, "127.0.0.1" | "::1" | "localhost");
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_plain
        && !host.is_empty()
        && !authority.contains('@')
        && (scheme == "https" || (scheme == "http" && is_local))
}

/// True for tokens between dots, none of them empty; `*` stands for one, a last `>` for the rest.
fn is_pattern(text: &str) -> bool {
    let tokens: Vec<&str> = text.split('.').collect();
    tokens.iter().enumerate().all(|(at, token)| match *token {
        "" => false,
        ">" => at + 1 == tokens.len(),
        "*" => true,
        token => !token.contains(|c: char| "*>".contains(c) || c.is_whitespace() || c.is_control()),
    })
}
