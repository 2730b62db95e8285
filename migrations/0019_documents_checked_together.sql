-- What is looked at when documents are issued is looked at once for all that a statement inserts, and not once
-- for each of them: a run issues hundreds in one statement. Every rule stays as it was, and stays the database's.

-- In the order in which readers take them, so that neither waits for the other for ever; and not for long, since
-- all who come later would wait behind. A migration that was refused so is tried again when the start is.
set local lock_timeout = '30s';
lock table document_period, document in access exclusive mode;

-- The documents of one statement, from then until their transaction ends: a trigger that is deferred is one
-- of rows, so they have a row together. It goes with the look at them and is never committed; so it need not
-- outlive a crash, and is not written to the log.
create unlogged table documents_unchecked (
    batch_no bigint generated always as identity primary key,
    documents bigint[] not null
);
do $$
begin
    if exists (select from pg_roles where rolname = 'prooftally_app') then
        -- Tables of a migration are given to the role by default; this one is for triggers alone.
        revoke all on documents_unchecked from prooftally_app;
    end if;
end
$$;

create function documents_wait(numbers bigint[]) returns void
language sql security definer set search_path = pg_catalog, public as $$
    insert into documents_unchecked (documents)
        select array_agg(n) from (
            select unnest(numbers) as n except select unnest(u.documents) from documents_unchecked u) w
        having count(*) > 0
$$;
revoke execute on function documents_wait(bigint[]) from public;

-- What needs the whole document: its sums, its tax groups, its lines' numbers, what it has billed, and that its
-- regular period stands. The rules of document_sums and regular_stands, which it takes the place of.
create function documents_hold() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    wrong record;
begin
    select d.document_no, d.net_total, l.amount, d.tax_total <> t.tax as is_other_tax into wrong
        from document d
        cross join lateral (select coalesce(sum(amount), 0) as amount, count(*) as lines,
                coalesce(max(line), 0) as last
            from document_line where document_no = d.document_no) l
        cross join lateral (select coalesce(sum(tax), 0) as tax
            from document_tax where document_no = d.document_no) t
        where d.document_no = any(new.documents)
            and (l.amount <> d.net_total or t.tax <> d.tax_total or l.lines <> l.last)
        order by 1 limit 1;
    if found and wrong.amount <> wrong.net_total then
        raise exception 'document %: the lines sum to %, not to the net total %',
            wrong.document_no, wrong.amount, wrong.net_total using errcode = 'check_violation';
    elsif found and not wrong.is_other_tax then
        raise exception 'document %: its lines are not numbered from 1 without a hole',
            wrong.document_no using errcode = 'check_violation';
    elsif not found then
        select coalesce(l.document_no, t.document_no) as document_no into wrong
            from (select document_no, tax_category, tax_rate_percent, sum(amount) as amount
                from document_line where document_no = any(new.documents) group by 1, 2, 3) l
            full join (select * from document_tax where document_no = any(new.documents)) t
                on (t.document_no, t.category, t.rate_percent)
                    = (l.document_no, l.tax_category, l.tax_rate_percent)
            where l.amount is distinct from t.taxable
            order by 1 limit 1;
    end if;
    if found then
        raise exception 'document %: its tax groups are not those of its lines and its tax total',
            wrong.document_no using errcode = 'check_violation';
    end if;
    select coalesce(l.document_no, b.document_no) as document_no into wrong
        from (select l.*, case when d.kind = 'credit_note' then -1 else 1 end as sign
            from document_line l join document d using (document_no)
            where l.document_no = any(new.documents) and l.line_key is not null) l
        full join (select * from billed
            where document_no = any(new.documents) and not is_opposite) b
            on (b.document_no, b.period_start, b.line_key) = (l.document_no, l.period_start, l.line_key)
        where (b.quantity, b.receipts, b.amount)
            is distinct from (l.quantity * l.sign, l.receipts * l.sign, l.amount * l.sign)
        order by 1 limit 1;
    if found then
        raise exception 'document %: what it has billed is not what its lines charge',
            wrong.document_no using errcode = 'check_violation';
    end if;
    select p.document_no, p.period_start into wrong
        from document_period p
        where p.document_no = any(new.documents) and p.is_regular
            and not exists (select from standing_invoice s
                where s.document_no = p.document_no and s.period_start = p.period_start)
            -- Counted, so that it is asked of these few and not joined with all events.
            and (select count(*) from document_event e
                where e.document_no = p.document_no and e.kind in ('voided', 'cancelled')) = 0
        order by 1, 2 limit 1;
    if found then
        raise exception 'document % is the invoice of the period from %, which is not said',
            wrong.document_no, wrong.period_start using errcode = 'check_violation';
    end if;
    delete from documents_unchecked where batch_no = new.batch_no;
    return null;
end
$$;
create constraint trigger documents_hold after insert on documents_unchecked
    deferrable initially deferred for each row execute function documents_hold();

drop trigger document_sums on document;
drop function document_sums();
drop trigger regular_stands on document_period;
drop function regular_stands();

-- The activity log says of a document all but its body, which need not be turned into text first to be left out.
create function activity_of_documents() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    insert into activity (made_by, subject, act, brand_no, after)
        select a.finalized_by, tg_table_name, 'added', a.brand_no, to_jsonb(a)
        from (select document_no, brand_no, kind, cause, number, chain, previous_hash, hash, currency,
                issue_date, tax_point, due_date, net_total, tax_total, total, cutoff, billing_version,
                finalized_at, finalized_by
            from added) a
        order by a.document_no;
    return null;
end
$$;
drop trigger activity_notes on document;
create trigger activity_notes after insert on document
    referencing new table as added for each statement execute function activity_of_documents();

-- Nothing is added to a document once it is there: its rows come with it, in its own transaction. What comes
-- after the document was looked at, which `set constraints` can bring forward, has it looked at again.
create function document_waits() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    perform documents_wait(array(select a.document_no from added a));
    return null;
end
$$;
create trigger document_waits after insert on document
    referencing new table as added for each statement execute function document_waits();

-- Nothing is added to a document that another transaction has issued; what is added has it looked at again.
create function documents_grow(numbers bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    issued bigint;
begin
    select min(d.document_no) into issued from document d
        where d.document_no = any(numbers) and d.xmin <> pg_current_xact_id()::xid;
    if issued is not null then
        raise exception 'document % is issued: nothing can be added to it', issued
            using errcode = 'restrict_violation';
    end if;
    perform documents_wait(numbers);
end
$$;
revoke execute on function documents_grow(bigint[]) from public;

create or replace function documents_are_new() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    perform documents_grow(array(select distinct a.document_no from added a));
    return null;
end
$$;
create or replace function billed_is_new() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    perform documents_grow(array(select distinct a.document_no from added a where not a.is_opposite));
    return null;
end
$$;
