-- What the API writes: done once under a key whatever becomes of the connection, payments that no other writer
-- can break either, and a brand that is parked on purpose.

-- A try of a request under a key has a name, and its changes note themselves under it in their own
-- transactions. Null for engines before this one, whose requests say nothing of what they have done.
alter table idempotency_key
    add column attempt uuid unique,
    -- When the first of its changes was begun that was committed.
    add column done_at timestamptz,
    -- When it ended without an answer that is kept, though it had changed something.
    add column ended_at timestamptz;

alter table request drop constraint request_kind_check;
alter table request add constraint request_kind_check check (kind in ('retry_rejections',
    'dismiss_rejections', 'set_zone', 'park', 'unpark', 'accept_gaps', 'adopt_stream', 'dismiss_conflicts',
    'resolve_conflicts', 'void_receipts', 'repair_doubles'));

-- Decimals of a currency's smallest unit (ISO 4217).
create function minor_units(currency text) returns integer
language sql immutable strict parallel safe set search_path = pg_catalog as $$
    select case
        when currency in ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
            'VND', 'VUV', 'XAF', 'XOF', 'XPF') then 0
        when currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 3
        when currency in ('CLF', 'UYW') then 4
        else 2
    end
$$;

-- That more than is owed is paid with it, on purpose. Payments that were recorded before this column do not
-- say so, and stay as they are. An engine before this one records no such payment on this schema.
alter table payment add column is_overpaid boolean not null default false;

-- A payment is of a document that is paid, of a day on which it can have been paid, and leaves a sum between
-- nothing and what is owed, which is the total less what was credited, unless it says that more is meant.
create function payment_holds() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    of_document record;
    owed numeric;
    paid numeric;
begin
    -- Two that come at once wait for each other here.
    perform from brand_billing b where b.brand_no = new.brand_no for update;
    select d.kind, d.state, d.currency, d.total, d.issue_date into of_document
        from document_now d where d.document_no = new.document_no;
    if not found or of_document.kind = 'credit_note' or of_document.state = 'voided' then
        raise exception 'document % is not an invoice that is paid', new.document_no
            using errcode = 'check_violation';
    end if;
    if scale(trim_scale(new.amount)) > minor_units(of_document.currency) then
        raise exception '% is not an amount of % in whole minor units', new.amount, of_document.currency
            using errcode = 'check_violation';
    end if;
    -- The issuer's calendar is not known here: this is the latest day that any calendar has now, which are up to
    -- 14 hours ahead, and an hour more for clocks that differ.
    if new.paid_on > (now() at time zone 'UTC' + interval '15 hours')::date then
        raise exception '% lies after today', new.paid_on using errcode = 'check_violation';
    end if;
    if new.paid_on < of_document.issue_date - interval '1 year' then
        raise exception '% lies more than a year before document % was issued', new.paid_on,
            new.document_no using errcode = 'check_violation';
    end if;
    select coalesce(sum(p.amount), 0) + new.amount into paid
        from payment p where p.document_no = new.document_no;
    if new.amount < 0 and paid < 0 then
        raise exception '% of document % would be paid back, and % was paid', -new.amount,
            new.document_no, paid - new.amount using errcode = 'check_violation';
    end if;
    -- The note that cancels the document is one of these, so that nothing is owed then.
    select of_document.total - coalesce(sum(c.total), 0) into owed
        from (select distinct l.document_no from document_line l
            where l.credits_document = new.document_no) n
        join document_now c using (document_no) where c.state = 'finalized';
    if new.amount > 0 and paid > owed and not new.is_overpaid then
        raise exception '% of document % would be paid, and % is owed', paid, new.document_no, owed
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger payment_holds before insert on payment
    for each row execute function payment_holds();

-- To find a receipt a brand's callers need to know which segments are sealed. Their filters and digests are over
-- the receipts of all brands. (Of the cursor they need the last entry alone; engines before this one read all of
-- it, so that its grant stays until a later release.)
do $$
begin
    if exists (select from pg_roles where rolname = 'prooftally_brand') then
        revoke select on segment from prooftally_brand;
        grant select (segment, sealed_at) on segment to prooftally_brand;
    end if;
end
$$;
