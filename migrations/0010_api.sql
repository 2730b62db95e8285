-- The API: who may call it, what was done, answers that are given twice, and what a caller who belongs
-- to one brand can see at all.

-- Who may see the rows of one brand, and nothing else: the API takes this role for the length of a
-- transaction, with the brand's number in prooftally.brand. Where this role may not create roles the
-- database's administrator does, see migrations/README.md.
do $$
begin
    if not exists (select from pg_roles where rolname = 'prooftally_brand') then
        create role prooftally_brand nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise notice 'the role prooftally_brand is not there: see migrations/README.md';
end
$$;
do $$
begin
    -- The owner of the schema may serve the API; a superuser may take any role already.
    if exists (select from pg_roles where rolname = 'prooftally_brand')
        and not pg_has_role(current_user, 'prooftally_brand', 'member') then
        execute format('grant prooftally_brand to %I', current_user);
    end if;
    -- Who runs the engine serves the API.
    if exists (select from pg_roles where rolname = 'prooftally_brand')
        and exists (select from pg_roles where rolname = 'prooftally_app')
        and not pg_has_role('prooftally_app', 'prooftally_brand', 'member') then
        grant prooftally_brand to prooftally_app;
    end if;
exception
    -- Another database of this server is migrated at the same time and has said so.
    when unique_violation or internal_error then null;
    when insufficient_privilege then
        raise notice 'prooftally_brand is not granted to %: see migrations/README.md', current_user;
end
$$;

-- Keys. The secret is shown once and never kept: a random one of 256 bits needs no slow hash.
create table api_key (
    key_no bigint generated always as identity primary key,
    -- The part of the key that names it.
    prefix text not null unique check (prefix ~ '^[0-9a-f]{12}$'),
    secret_hash bytea not null check (octet_length(secret_hash) = 32),
    name text not null check (char_length(name) between 1 and 100),
    role text not null check (role in ('finance_read', 'finance', 'operator', 'admin')),
    -- Sees this brand alone; null for all.
    brand_no integer references brand,
    expires_at timestamptz,
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    -- To the minute.
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_by text check (char_length(revoked_by) between 1 and 200),
    check ((revoked_at is null) = (revoked_by is null)),
    -- Who belongs to a brand reads.
    constraint api_key_of_brand_reads check (brand_no is null or role = 'finance_read')
);

-- What was answered under an Idempotency-Key, so that a POST that is sent again is not done again.
create table idempotency_key (
    caller text not null,
    key text not null check (char_length(key) between 1 and 255),
    -- Of method, path, query and body.
    request_hash bytea not null check (octet_length(request_hash) = 32),
    began_at timestamptz not null default now(),
    -- Null while the first one is at work, or if it never answered.
    status smallint,
    -- Null where the answer holds a secret.
    answer bytea,
    primary key (caller, key)
);
create index idempotency_key_age on idempotency_key (began_at);

-- Every change that a person or a program made, with who, what, before and after: written by triggers,
-- so in the transaction of the change and whichever way it came.
create table activity (
    activity_no bigint generated always as identity primary key,
    made_at timestamptz not null default now(),
    made_by text not null,
    -- The table, and whether a row was added or changed.
    subject text not null,
    act text not null check (act in ('added', 'changed')),
    brand_no integer,
    before jsonb,
    after jsonb not null
);
create index activity_of_brand on activity (brand_no, activity_no);
create trigger activity_stays before update or delete or truncate on activity
    for each statement execute function record_stays();

-- The first argument is the column that says who, the second the columns that are left out.
create function activity_notes() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    hidden constant text[] := string_to_array(tg_argv[1], ',');
    added constant jsonb := to_jsonb(new) - hidden;
    was jsonb;
    who text := added ->> tg_argv[0];
    of_brand integer := (added ->> 'brand_no')::integer;
begin
    if tg_op = 'UPDATE' then
        was := to_jsonb(old) - hidden;
    elsif tg_table_name = 'brand_profile' then
        select p.fields into was from brand_profile p
            where p.brand_no = new.brand_no and p.version < new.version
            order by p.version desc limit 1;
    elsif tg_table_name = 'brand_tax' then
        select to_jsonb(t) into was from brand_tax t
            where t.brand_no = new.brand_no and t.from_day <= new.from_day and t.tax_no < new.tax_no
            order by t.from_day desc, t.tax_no desc limit 1;
    elsif tg_table_name = 'assignment_end' then
        select to_jsonb(a), a.brand_no into was, of_brand from assignment_now a
            where a.assignment_no = new.assignment_no;
    elsif tg_table_name = 'waiver_withdrawal' then
        select to_jsonb(w), w.brand_no into was, of_brand from waiver w
            where w.waiver_no = new.waiver_no;
    elsif tg_table_name = 'hold_release' then
        select to_jsonb(h), h.brand_no into was, of_brand from hold h where h.hold_no = new.hold_no;
    end if;
    -- Rows that do not say who: the transaction does, or it is the login itself.
    if who is null then
        who := coalesce(nullif(current_setting('prooftally.actor', true), ''), session_user);
    end if;
    insert into activity (made_by, subject, act, brand_no, before, after)
        values (who, tg_table_name, case tg_op when 'UPDATE' then 'changed' else 'added' end,
            of_brand, was, added);
    return null;
end
$$;
do $$
declare
    of_table text;
begin
    foreach of_table in array array['assignment', 'assignment_end', 'waiver', 'waiver_withdrawal',
        'brand_profile', 'brand_tax', 'document_event', 'payment', 'hold', 'hold_release',
        'period_override']
    loop
        execute format('create trigger activity_notes after insert on %I
            for each row execute function activity_notes(''made_by'', '''')', of_table);
    end loop;
end
$$;
create trigger activity_notes after insert on plan_version
    for each row execute function activity_notes('applied_by', 'source');
create trigger activity_notes after insert on document
    for each row execute function activity_notes('finalized_by', 'body');
create trigger activity_notes after insert on request
    for each row execute function activity_notes('asked_by', '');
create trigger activity_notes after insert on api_key
    for each row execute function activity_notes('made_by', 'secret_hash');
create trigger activity_notes_revoked after update of revoked_at on api_key
    for each row execute function activity_notes('revoked_by', 'secret_hash');
create trigger activity_notes_brand after update of display_name, zone on brand
    for each row when ((old.display_name, old.zone) is distinct from (new.display_name, new.zone))
    execute function activity_notes('nobody', '');

-- What a brand may see: its own rows. A view must not see more than who asks.
alter view document_now set (security_invoker = true);
alter view assignment_now set (security_invoker = true);
alter view waiver_now set (security_invoker = true);

create function own_brand() returns integer
language sql stable set search_path = pg_catalog as $$
    select nullif(current_setting('prooftally.brand', true), '')::integer
$$;

do $$
declare
    of_table text;
    has_app constant boolean := exists (select from pg_roles where rolname = 'prooftally_app');
    has_brand constant boolean := exists (select from pg_roles where rolname = 'prooftally_brand');
begin
    if has_app then
        -- Tables of a migration are given to the role by default; these are records.
        revoke insert, update, delete on activity from prooftally_app;
        revoke update, delete on api_key from prooftally_app;
        grant select on activity, idempotency_key to prooftally_app;
        grant select, insert on api_key to prooftally_app;
        grant update (last_used_at, revoked_at, revoked_by) on api_key to prooftally_app;
        grant insert, update, delete on idempotency_key to prooftally_app;
    end if;
    if has_brand then
        grant usage on schema public to prooftally_brand;
        -- How far the ledger is, and the names that its numbers stand for.
        grant select on cursor, predicate, segment to prooftally_brand;
        -- These look as who asks, so they show what the tables below do.
        grant select on document_now, assignment_now, waiver_now to prooftally_brand;
    end if;
    foreach of_table in array array['brand', 'usage_day', 'disposition', 'parked_event',
        'conflict', 'correction', 'assignment', 'assignment_end', 'waiver', 'waiver_withdrawal',
        'brand_profile', 'brand_tax', 'plan_version', 'document', 'document_period', 'document_line',
        'document_tax', 'billed', 'document_event', 'payment', 'rejection']
    loop
        execute format('alter table %I enable row level security', of_table);
        if has_app then
            execute format('create policy app on %I to prooftally_app using (true) with check (true)',
                of_table);
        end if;
        if has_brand then
            execute format('grant select on %I to prooftally_brand', of_table);
            execute format('create policy own on %I for select to prooftally_brand using (%s)', of_table,
                case of_table
                    when 'assignment_end' then
                        'exists (select from assignment a where a.assignment_no = assignment_end.assignment_no)'
                    when 'waiver_withdrawal' then
                        'exists (select from waiver w where w.waiver_no = waiver_withdrawal.waiver_no)'
                    when 'plan_version' then
                        'exists (select from assignment a where a.plan_name = plan_version.plan_name)'
                    when 'rejection' then
                        'exists (select from brand b where b.brand_id = rejection.brand_id)'
                    else 'brand_no = (select own_brand())'
                end);
        end if;
    end loop;
end
$$;

-- The ledger is written by COPY, which a table with row-level security refuses. A brand's callers see it
-- through a view instead that has its name and comes first on their search path.
create schema own_rows;
create view own_rows.ledger with (security_barrier = true) as
    select * from public.ledger where brand_no = (select public.own_brand());
do $$
begin
    if exists (select from pg_roles where rolname = 'prooftally_brand') then
        grant usage on schema own_rows to prooftally_brand;
        grant select on own_rows.ledger to prooftally_brand;
    end if;
end
$$;
