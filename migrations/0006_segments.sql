-- Sealed segments of the ledger: proof that no receipt in them is counted twice, and the filter that
-- says of a new receipt that it is in none of them.

create table segment (
    -- Entries from segment * cursor.segment_entries on; its partition is ledger_<segment, 6 digits>.
    segment bigint primary key check (segment >= 0),
    -- When its proof held and its filter was kept; null while it could not be sealed.
    sealed_at timestamptz,
    -- Rows that it has.
    entries bigint check (entries >= 0),
    filter bytea,
    -- BLAKE3 of the filter.
    checksum bytea check (octet_length(checksum) = 32),
    -- Why it could not be sealed when that was tried last.
    problem text,
    tried_at timestamptz not null default now(),
    check ((sealed_at is null) = (problem is not null)),
    check (num_nulls(sealed_at, entries, filter, checksum) in (0, 4))
);
