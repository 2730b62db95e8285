-- Many documents in one transaction: a series is raised by as many numbers as there are documents, and what
-- was asked for every row is asked once for every statement.

create or replace function series_counts() returns trigger
language plpgsql set search_path = pg_catalog as $$
declare
    before constant bigint := case when new.year = old.year then old.last else 0 end;
begin
    if new.prefix <> old.prefix or new.issued_on < old.issued_on
        or new.year <> extract(year from new.issued_on)
        or new.last <= before or new.last > before + 100000 then
        raise exception 'series %: after number % of % comes the next one, on the same day or later',
            old.prefix, old.last, old.year using errcode = 'check_violation';
    end if;
    return new;
end
$$;

-- Every number that a series was raised by stands on a document when the transaction ends. So a number up
-- to the last one that is on no document yet was taken in the same transaction.
create or replace function series_is_used() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    missing bigint;
begin
    select min(n) into missing
        from generate_series(case when new.year = old.year then old.last + 1 else 1 end, new.last) n
        where not exists (select from document d where d.number = format('%s-%s-%s', new.prefix,
            new.year, lpad(n::text, greatest(6, length(n::text)), '0')));
    if missing is not null then
        raise exception 'series %: number % of % was taken and is on no document',
            new.prefix, missing, new.year using errcode = 'check_violation';
    end if;
    return null;
end
$$;

create or replace function document_follows() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    newest record;
    counter series;
    sequence bigint;
begin
    select d.chain, d.hash into newest from document d where d.brand_no = new.brand_no
        order by d.chain desc limit 1;
    if new.chain <> coalesce(newest.chain, 0) + 1
        or new.previous_hash is distinct from newest.hash then
        raise exception 'document % of brand % does not follow its document %',
            new.chain, new.brand_no, coalesce(newest.chain, 0) using errcode = 'check_violation';
    end if;
    if new.number is not null then
        select * into counter from series s where s.prefix = split_part(new.number, '-', 1);
        sequence := split_part(new.number, '-', 3)::bigint;
        if new.number <> format('%s-%s-%s', counter.prefix, counter.year,
                lpad(sequence::text, greatest(6, length(sequence::text)), '0'))
            or sequence < 1 or sequence > counter.last or new.issue_date <> counter.issued_on then
            raise exception '% of % is not the number that its series has come to, % of %',
                new.number, new.issue_date, counter.last, counter.issued_on
                using errcode = 'check_violation';
        end if;
    end if;
    return new;
end
$$;

drop trigger document_is_new on document_period;
drop trigger document_is_new on document_line;
drop trigger document_is_new on document_tax;
drop trigger document_is_new on standing_invoice;
drop trigger document_is_new on billed;
drop function document_is_new();

create function documents_are_new() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    issued bigint;
begin
    select min(a.document_no) into issued from added a join document d using (document_no)
        where d.xmin <> pg_current_xact_id()::xid;
    if issued is not null then
        raise exception 'document % is issued: nothing can be added to it', issued
            using errcode = 'restrict_violation';
    end if;
    return null;
end
$$;
create function billed_is_new() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    issued bigint;
begin
    select min(a.document_no) into issued from added a join document d using (document_no)
        where not a.is_opposite and d.xmin <> pg_current_xact_id()::xid;
    if issued is not null then
        raise exception 'document % is issued: nothing can be added to it', issued
            using errcode = 'restrict_violation';
    end if;
    return null;
end
$$;
do $$
declare
    of_table text;
begin
    foreach of_table in array array['document_period', 'document_line', 'document_tax',
        'standing_invoice']
    loop
        execute format('create trigger documents_are_new after insert on %I
            referencing new table as added for each statement execute function documents_are_new()',
            of_table);
    end loop;
    create trigger billed_is_new after insert on billed
        referencing new table as added for each statement execute function billed_is_new();
end
$$;

-- The application's role -----------------------------------------------------------------------------------
--
-- The engine and the command line run as a member of prooftally_app, which owns nothing: it cannot change
-- what is recorded, disable a rule or give itself a right. What needs the owner is done by the functions
-- below, and by nothing else.

-- Makes the partition of a segment, unless it is there: beside the ledger, with its bounds as a check, and
-- then attached, so that attaching neither scans nor waits behind a reader for long.
create function make_segment(segment bigint, segment_entries bigint) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    name constant text := 'ledger_' || lpad(segment::text, greatest(6, length(segment::text)), '0');
    first constant bigint := segment * segment_entries;
begin
    if exists (select from pg_inherits where inhrelid = to_regclass('public.' || name)) then
        return;
    end if;
    if segment < 0 or segment_entries < 1 then
        raise exception 'segment % of % entries is none', segment, segment_entries
            using errcode = 'check_violation';
    end if;
    execute format('create table if not exists public.%I (like public.ledger including all)', name);
    execute format('alter table public.%I drop constraint if exists bounds', name);
    execute format('alter table public.%I add constraint bounds check (entry >= %s and entry < %s)',
        name, first, first + segment_entries);
    execute format('alter table public.ledger attach partition public.%I for values from (%s) to (%s)',
        name, first, first + segment_entries);
    execute format('alter table public.%I drop constraint bounds', name);
    if exists (select from pg_roles where rolname = 'prooftally_app') then
        execute format('revoke all on public.%I from prooftally_app', name);
        execute format('grant select on public.%I to prooftally_app', name);
    end if;
end
$$;

-- Makes the indexes of a full segment: the one that proves that no event of it is counted twice, and the one
-- that leads from an invoice to its receipts. A unique violation is the answer that one is.
create function prove_segment(segment bigint) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    name constant text := 'ledger_' || lpad(segment::text, greatest(6, length(segment::text)), '0');
begin
    -- What a resolution or a void adds stands outside of the proof.
    execute format('create unique index if not exists %I on public.%I (brand_no, receipt_key)
        where source < 3', name || '_receipt', name);
    execute format('create index if not exists %I on public.%I (brand_no, usage_day)',
        name || '_usage_day', name);
end
$$;

-- Moves entries out of the ledger that had counted a receipt which was counted before them. Nothing else can
-- be taken out of it.
create function move_doubles(entries bigint[], firsts bigint[], moved_by text, because text)
returns bigint language sql security definer set search_path = pg_catalog, public as $$
    with moved as (
        delete from ledger l using unnest(entries, firsts) as d (entry, first), ledger f
        where l.entry = d.entry and f.entry = d.first and f.entry < l.entry and f.source < 3
            and l.source < 3 and f.brand_no = l.brand_no and f.receipt_key = l.receipt_key
        returning l.*, d.first),
    kept as (
        insert into ledger_double (entry, sequence, digest, verified_at, expires_at, epoch,
            brand_no, predicate_no, usage_day, receipt_key, source, result, receipt_id, supplier,
            product, of_entry, first_entry, moved_by, because)
        select entry, sequence, digest, verified_at, expires_at, epoch, brand_no, predicate_no,
            usage_day, receipt_key, source, result, receipt_id, supplier, product, of_entry, first,
            $3, $4 from moved returning 1)
    select count(*) from kept
$$;

do $$
declare
    partition regclass;
begin
    if not exists (select from pg_roles where rolname = 'prooftally_app') then
        return;
    end if;
    grant select on all tables in schema public to prooftally_app;
    -- Metering: rows are added; what counts and waits is moved on.
    grant insert on brand, predicate, ledger, usage_day, disposition, rejection, conflict, failed_day,
        epoch, gap, parked_event, correction, segment, audit_run to prooftally_app;
    grant update on brand, cursor, engine, caught_up, usage_day, disposition, rejection, conflict,
        failed_day, gap, parked_event, segment, request to prooftally_app;
    -- A brand's new zone moves its receipts to other days, until it has documents.
    grant update (usage_day) on ledger to prooftally_app;
    grant delete on usage_day, audit_run to prooftally_app;
    -- Later migrations say what of theirs may not be changed.
    alter default privileges in schema public
        grant select, insert, update, delete on tables to prooftally_app;
    for partition in select inhrelid::regclass from pg_inherits where inhparent = 'ledger'::regclass loop
        execute format('grant select on %s to prooftally_app', partition);
    end loop;
end
$$;
revoke execute on function make_segment(bigint, bigint), prove_segment(bigint),
    move_doubles(bigint[], bigint[], text, text) from public;
do $$
begin
    if exists (select from pg_roles where rolname = 'prooftally_app') then
        grant execute on function make_segment(bigint, bigint), prove_segment(bigint),
            move_doubles(bigint[], bigint[], text, text) to prooftally_app;
    end if;
end
$$;
