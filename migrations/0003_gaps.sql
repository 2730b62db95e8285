-- Gaps: positions whose events may be lost, until a person has accepted that. And epochs: the lives of
-- the stream that have ended.

create table gap (
    gap_no bigint generated always as identity primary key,
    epoch integer not null,
    first bigint not null,
    -- Null where nobody can know how far it goes.
    last bigint,
    -- missing: the stream no longer has them. commits_lost: they were committed, and the database has
    -- forgotten it (restored to an earlier point); they are read again. stream_changed: the stream is
    -- not the one that was metered, so what the old one held after the cursor is unknown.
    reason text not null check (reason in ('missing', 'commits_lost', 'stream_changed')),
    detail text not null,
    found_at timestamptz not null default now(),
    -- Store time of the first message after it: what happened before that may be in the gap. Null while
    -- there is none.
    next_stored_at timestamptz,
    accepted_at timestamptz,
    accepted_by text,
    acceptance text,
    check (first <= last),
    check (reason <> 'missing' or last is not null),
    check ((accepted_at is null) = (accepted_by is null)),
    check ((accepted_at is null) = (acceptance is null))
);
-- What is found again while it is open is the same gap.
create unique index gap_open on gap (epoch, reason, first) where accepted_at is null;

-- Lives of the stream that have ended, by an operator's word. The present one is in the cursor.
create table epoch (
    epoch integer primary key,
    began_after bigint not null,
    -- The last position that was metered, and its store time.
    sequence bigint not null,
    stored_at timestamptz,
    ended_at timestamptz not null default now(),
    ended_by text not null,
    because text not null,
    check (sequence >= began_after)
);
