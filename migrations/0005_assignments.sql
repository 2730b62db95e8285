-- Who pays what from when: assignments of plans, waivers, and what invoices say of a brand. Nothing here
-- is changed or removed: an end, a correction or a withdrawal is a row of its own, with who, when and why.

-- A brand has a plan from a day on. Made under a lock on the brand's row, so that no two overlap.
create table assignment (
    assignment_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    plan_name text not null check (plan_name ~ '^[A-Za-z0-9_-]{1,64}$'),
    from_day date not null check (from_day between '1970-01-01' and '9999-12-31'),
    -- The first day on which it no longer holds, as it was made; see assignment_end.
    until_day date check (until_day > from_day and until_day <= '9999-12-31'),
    -- The day from which periods are counted; null for the calendar.
    anchor_day date check (anchor_day between '1970-01-01' and '9999-12-31'),
    -- Ends the period that is running, instead of waiting for its end.
    is_split boolean not null,
    because text check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200)
);
create index assignment_brand on assignment (brand_no, from_day);

-- The end of an assignment; the newest row counts. On its first day it is withdrawn. An assignment goes
-- on (is_restored) where the one that took over from it is withdrawn, to the day on which that one ended.
create table assignment_end (
    end_no bigint generated always as identity primary key,
    assignment_no bigint not null references assignment,
    -- Null where it goes on and is open.
    until_day date check (until_day between '1970-01-01' and '9999-12-31'),
    is_restored boolean not null default false,
    -- The assignment that takes over, if one does; one that goes on may end for the next but one.
    replaced_by bigint references assignment,
    because text check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    check (because is not null or replaced_by is not null),
    check (until_day is not null or is_restored)
);
create index assignment_end_assignment on assignment_end (assignment_no, end_no desc);

-- Assignments as they stand.
create view assignment_now as
    select a.assignment_no, a.brand_no, a.plan_name, a.from_day,
        coalesce(e.until_day, a.until_day) as until_day,
        a.anchor_day, a.is_split, a.because, a.made_at, a.made_by, e.replaced_by
    from assignment a
    left join lateral (
        select until_day, replaced_by from assignment_end e
        where e.assignment_no = a.assignment_no order by e.end_no desc limit 1
    ) e on true;

-- Usage days without an assignment that nobody will pay for.
create table waiver (
    waiver_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    from_day date not null,
    until_day date not null check (until_day > from_day),
    because text not null check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200)
);
create index waiver_brand on waiver (brand_no, from_day);

create table waiver_withdrawal (
    waiver_no bigint primary key references waiver,
    because text not null check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200)
);

-- Waivers that were not withdrawn.
create view waiver_now as
    select w.* from waiver w
    where not exists (select from waiver_withdrawal d where d.waiver_no = w.waiver_no);

-- What invoices say of a brand: a version has all its fields, by name. The newest holds.
create table brand_profile (
    brand_no integer not null references brand,
    version integer not null check (version > 0),
    fields jsonb not null check (jsonb_typeof(fields) = 'object'),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    primary key (brand_no, version)
);

-- How a brand is taxed from a day on; of two rows for one day the newer holds.
create table brand_tax (
    tax_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    from_day date not null check (from_day between '1970-01-01' and '9999-12-31'),
    category text not null check (category in ('S', 'Z', 'E', 'AE', 'O')),
    rate_percent numeric(7, 4) not null check (rate_percent between 0 and 100),
    exemption text check (char_length(exemption) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    check ((category = 'S') = (rate_percent > 0)),
    check ((category in ('E', 'AE', 'O')) = (exemption is not null))
);
create index brand_tax_brand on brand_tax (brand_no, from_day);

create function record_stays() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'rows of % are never changed or removed; add another', tg_table_name
        using errcode = 'restrict_violation';
end
$$;
create trigger assignment_stays before update or delete or truncate on assignment
    for each statement execute function record_stays();
create trigger assignment_end_stays before update or delete or truncate on assignment_end
    for each statement execute function record_stays();
create trigger waiver_stays before update or delete or truncate on waiver
    for each statement execute function record_stays();
create trigger waiver_withdrawal_stays before update or delete or truncate on waiver_withdrawal
    for each statement execute function record_stays();
create trigger brand_profile_stays before update or delete or truncate on brand_profile
    for each statement execute function record_stays();
create trigger brand_tax_stays before update or delete or truncate on brand_tax
    for each statement execute function record_stays();
