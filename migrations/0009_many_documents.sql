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
