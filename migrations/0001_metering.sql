-- Metering: what was counted, what was not and why, and how far we are.
--
-- Only the ledger actor writes ledger, usage_day, disposition, rejection, conflict, failed_day and
-- cursor; each chunk's rows and the cursor's new place are one transaction.

-- Who pays. brand_no is the brand in every big table; brand_id is its name on the bus.
create table brand (
    brand_no integer generated always as identity primary key,
    brand_id text not null unique check (brand_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    -- What people call it; brand_id where nobody has said.
    display_name text check (char_length(display_name) between 1 and 200),
    -- IANA zone whose calendar gives the brand's usage days.
    zone text not null,
    created_at timestamptz not null default now(),
    -- Set while the brand's events are parked, since it failed on them again and again.
    parked_at timestamptz
);

-- The claims that were seen, numbered so that a ledger row carries 4 bytes and not 30.
create table predicate (
    predicate_no integer generated always as identity primary key,
    name text not null check (name ~ '^[A-Za-z0-9_-]{1,64}$'),
    version text not null check (version ~ '^[A-Za-z0-9_.-]{1,16}$'),
    unique (name, version)
);

-- How far we are: one row, the only truth about it. Every commit moves it by compare-and-set.
create table cursor (
    singleton boolean primary key default true check (singleton),
    -- Raised by each engine that takes over; a chunk of an older fence fails whole.
    fence bigint not null default 0,
    -- The stream that is read; null until the first engine has started.
    stream text,
    -- Life of the stream: a stream that is re-created starts a new epoch.
    epoch integer not null default 1,
    -- The epoch's first position is began_after + 1: what the stream had dropped before we came.
    began_after bigint not null default 0,
    -- Last position that is committed, and its store time on the bus.
    sequence bigint not null default 0,
    stored_at timestamptz,
    -- Last entry of the ledger, and entries in a segment (fixed when the first engine starts).
    entry bigint not null default 0,
    segment_entries bigint check (segment_entries > 0),
    -- The chunk that was committed last, to find out what became of a commit whose reply was lost.
    chunk bigint not null default 0,
    -- Lives of the engine that began to meter and did not end in order, to find an event that ends
    -- each of them: how many in a row did not commit anything, and how many began within a stretch of
    -- the stream and where that begins.
    lives_without_commit integer not null default 0,
    lives_in_stretch integer not null default 0,
    stretch_from bigint not null default 0,
    -- Positions by disposition, over all epochs; their sum is the conservation line.
    counted bigint not null default 0,
    duplicate bigint not null default 0,
    conflict bigint not null default 0,
    rejected bigint not null default 0,
    ignored bigint not null default 0,
    parked bigint not null default 0,
    gap bigint not null default 0,
    -- Receipts counted later: by a retry of a rejection, or unparked.
    counted_later bigint not null default 0,
    -- Entries that took back another one, and that count another content in its place.
    voided bigint not null default 0,
    resolved bigint not null default 0,
    -- Entries that had counted a receipt twice and were moved to ledger_double.
    doubled bigint not null default 0,
    check (sequence >= began_after),
    check (entry = counted + counted_later + voided + resolved + doubled)
);
insert into cursor default values;

-- When the engine that holds the lock last said that it lives. Beside the cursor and not in it, whose
-- row is locked for as long as a commit takes.
create table engine (
    singleton boolean primary key default true check (singleton),
    beat_at timestamptz not null default '-infinity'
);
insert into engine default values;

-- The receipts that were counted, in the order of their commits. Append-only. Partitioned into
-- segments by entry; partitions are made ahead, by the engine, since their bounds are arithmetic.
-- Wide columns come first so that no row is padded.
create table ledger (
    entry bigint not null,
    sequence bigint not null,
    digest bigint not null,
    verified_at timestamptz not null,
    expires_at timestamptz,
    epoch integer not null,
    brand_no integer not null,
    predicate_no integer not null,
    usage_day date not null,
    receipt_key uuid not null,
    -- 0 stream, 1 retry of a rejection, 2 unparked, 3 resolution of a conflict, 4 void.
    source smallint not null,
    -- Null where the event did not say; it is billed as true.
    result boolean,
    receipt_id text not null,
    supplier text,
    product text,
    -- The entry that a void takes back, or that a resolution takes the place of.
    of_entry bigint,
    primary key (entry)
) partition by range (entry);

-- Receipts by what they are billed by. Hot rows: no index but the key, room to update in page, and no
-- foreign keys, which would cost more than the rows themselves: only the ledger's writer adds rows, with
-- numbers that it has read from brand and predicate, and the audit compares them with the ledger.
create table usage_day (
    brand_no integer not null,
    usage_day date not null,
    predicate_no integer not null,
    result boolean not null,
    receipts bigint not null default 0 check (receipts >= 0),
    duplicates bigint not null default 0 check (duplicates >= 0),
    -- Receipts that were taken back; billed is receipts - voided.
    voided bigint not null default 0,
    -- The last entry that raised receipts.
    last_entry bigint not null,
    primary key (brand_no, usage_day, predicate_no, result),
    check (voided between 0 and receipts)
) with (fillfactor = 70);

-- What became of each position that was not counted; counted positions are the ledger's rows. Runs
-- of ignored positions and gaps share a row. A duplicate says whose usage it is tallied in.
create table disposition (
    first bigint not null,
    last bigint not null,
    verified_at timestamptz,
    epoch integer not null,
    brand_no integer,
    predicate_no integer,
    receipt_key uuid,
    kind text not null
        check (kind in ('duplicate', 'conflict', 'rejected', 'ignored', 'parked', 'gap')),
    result boolean,
    primary key (epoch, first),
    check (first <= last),
    check (kind in ('ignored', 'gap') or first = last)
);

-- Events that cannot be counted, with their bytes, until a person has settled them.
create table rejection (
    rejection_no bigint generated always as identity primary key,
    epoch integer not null,
    sequence bigint not null,
    stored_at timestamptz not null,
    subject text not null,
    reason text not null,
    detail text not null,
    -- As far as the event says.
    brand_id text,
    receipt_id text,
    raw bytea not null,
    state text not null default 'open' check (state in ('open', 'retried', 'dismissed')),
    -- The entry that a retry got; null if it turned out to be a duplicate or a conflict.
    entry bigint,
    settled_at timestamptz,
    settled_by text,
    settlement text,
    unique (epoch, sequence),
    check ((state = 'open') = (settled_at is null))
);
create index rejection_open on rejection (reason, rejection_no) where state = 'open';

-- Events of brands that failed on them, kept until the brand is unparked; then their bytes are
-- dropped and what became of them stays.
create table parked_event (
    epoch integer not null,
    sequence bigint not null,
    brand_no integer not null references brand,
    stored_at timestamptz not null,
    raw bytea,
    outcome text check (outcome in ('counted', 'duplicate', 'conflict', 'rejected')),
    entry bigint,
    primary key (epoch, sequence),
    check ((outcome is null) = (raw is not null)),
    check ((outcome = 'counted') = (entry is not null))
);
create index parked_event_waiting on parked_event (brand_no, epoch, sequence) where outcome is null;

-- Events that name a receipt that was counted with another content. One row for each content.
create table conflict (
    conflict_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    receipt_key uuid not null,
    digest bigint not null,
    receipt_id text not null,
    -- The entry that was counted, and the fields that contradict it.
    entry bigint not null,
    fields text[] not null,
    epoch integer not null,
    -- First and last position with this content, and how often it was seen.
    sequence bigint not null,
    last_sequence bigint not null,
    seen bigint not null default 1,
    stored_at timestamptz not null,
    raw bytea not null,
    -- Dismissed: what was counted stands. Resolved: this content is right and was counted instead.
    state text not null default 'open' check (state in ('open', 'resolved', 'dismissed')),
    -- The entry that counts this content.
    resolution bigint,
    settled_at timestamptz,
    settled_by text,
    settlement text,
    unique (brand_no, receipt_key, digest),
    check ((state = 'open') = (settled_at is null)),
    check ((state = 'resolved') = (resolution is not null))
);
create index conflict_open on conflict (brand_no, conflict_no) where state = 'open';

-- proofs.failed, tallied for operations; never billed. failed_on is the day in UTC.
create table failed_day (
    failed_on date not null,
    predicate text not null,
    error_code text not null,
    failures bigint not null,
    primary key (failed_on, predicate, error_code)
);

-- What the command line wants the engine to do. The ledger actor carries it out and commits the
-- answer with the work.
create table request (
    request_no bigint generated always as identity primary key,
    kind text not null check (kind in ('retry_rejections', 'dismiss_rejections', 'set_zone', 'unpark',
        'accept_gaps', 'adopt_stream',
        'dismiss_conflicts', 'resolve_conflicts', 'void_receipts', 'repair_doubles')),
    body jsonb not null,
    asked_by text not null,
    asked_at timestamptz not null default now(),
    state text not null default 'waiting' check (state in ('waiting', 'done', 'refused')),
    answer text,
    answered_at timestamptz,
    check ((state = 'waiting') = (answered_at is null))
);
create index request_waiting on request (request_no) where state = 'waiting';

create function tell_engine() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    perform pg_notify('prooftally_request', '');
    return null;
end
$$;
create trigger tell_engine after insert on request
    for each statement execute function tell_engine();
