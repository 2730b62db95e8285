-- Corrections of what was counted, and the audit's own record.

-- Entries that take back an earlier one or take its place: who asked for them, and why. The last
-- resolution of a receipt is what counts under its id.
create table correction (
    -- The void or the resolution.
    entry bigint primary key,
    kind text not null check (kind in ('void', 'resolution')),
    -- The entry that it is about. An entry is taken back once, and replaced once.
    of_entry bigint not null,
    brand_no integer not null references brand,
    receipt_key uuid not null,
    asked_by text not null,
    because text not null,
    made_at timestamptz not null default now(),
    unique (of_entry, kind),
    check (of_entry < entry)
);
create index correction_of_receipt on correction (brand_no, receipt_key);

-- Rows that had counted a receipt a second time, out of the ledger, as they were. Entries of ledger
-- and ledger_double together are dense from 1.
create table ledger_double (
    like ledger including defaults,
    -- The entry that counts the receipt.
    first_entry bigint not null,
    moved_by text not null,
    because text not null,
    moved_at timestamptz not null default now(),
    primary key (entry),
    check (first_entry < entry)
);

-- What each audit found, so that a restart keeps it.
create table audit_run (
    run_no bigint generated always as identity primary key,
    began_at timestamptz not null,
    ended_at timestamptz not null default now(),
    -- "schedule", or who ran it.
    run_by text not null,
    -- How far the ledger and the stream were.
    entry bigint not null,
    sequence bigint not null,
    -- Whether the stream was read again and compared too.
    with_stream boolean not null,
    -- What contradicts an invariant, and what is only worth knowing; the first of each check, as
    -- [{"check": …, "severity": …, "what": …}].
    violations integer not null,
    notes integer not null,
    findings jsonb not null
);
