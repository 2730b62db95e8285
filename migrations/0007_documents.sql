-- Documents: invoices, adjustments and credit notes, what they charged, and what became of them. A
-- document is inserted in one transaction and never changed or removed; what happens to it afterwards
-- is a row of its own. Whoever can only insert here cannot break a rule below: they are constraints.

-- Who may do what. The owner of the schema migrates it; people, programs and tests that only use it do so
-- as members of prooftally_app, which cannot change a document, disable a rule or give itself a right.
-- Where this role may not create roles the database's administrator does, see migrations/README.md.
do $$
begin
    if not exists (select from pg_roles where rolname = 'prooftally_app') then
        create role prooftally_app nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise notice 'the role prooftally_app is not there: see migrations/README.md';
end
$$;

-- A brand's billing state. Its version moves with everything that a draft is computed from but usage, so
-- that a document of an outdated draft is refused. Its row is locked while a document is issued.
create table brand_billing (
    brand_no integer primary key references brand,
    version bigint not null default 1 check (version > 0),
    -- How many documents the brand's chain has.
    documents integer not null default 0 check (documents >= 0)
);

create function billing_moves() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    of_brand integer;
begin
    if tg_table_name = 'assignment_end' then
        select a.brand_no into of_brand from assignment a where a.assignment_no = new.assignment_no;
    elsif tg_table_name = 'waiver_withdrawal' then
        select w.brand_no into of_brand from waiver w where w.waiver_no = new.waiver_no;
    elsif tg_table_name = 'hold_release' then
        select h.brand_no into of_brand from hold h where h.hold_no = new.hold_no;
    else
        of_brand := new.brand_no;
    end if;
    -- A brand without a row is at version 1.
    insert into brand_billing as b (brand_no, version) values (of_brand, 2)
        on conflict (brand_no) do update set version = b.version + 1;
    return null;
end
$$;
create trigger billing_moves after insert on assignment
    for each row execute function billing_moves();
create trigger billing_moves after insert on assignment_end
    for each row execute function billing_moves();
create trigger billing_moves after insert on waiver
    for each row execute function billing_moves();
create trigger billing_moves after insert on waiver_withdrawal
    for each row execute function billing_moves();
create trigger billing_moves after insert on brand_profile
    for each row execute function billing_moves();
create trigger billing_moves after insert on brand_tax
    for each row execute function billing_moves();

-- The counter of each series. Issue dates never go back, so the series of a year is over for ever when
-- the first number of the next one is taken, and one row a prefix is enough.
create table series (
    prefix text primary key check (prefix in ('INV', 'CN')),
    year integer not null check (year between 1970 and 9999),
    last bigint not null check (last >= 0),
    issued_on date not null
);
insert into series values ('INV', 1970, 0, '1970-01-01'), ('CN', 1970, 0, '1970-01-01');

create function series_counts() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    if new.prefix <> old.prefix or new.issued_on < old.issued_on
        or new.year <> extract(year from new.issued_on)
        or new.last <> (case when new.year = old.year then old.last + 1 else 1 end) then
        raise exception 'series %: after number % of % comes the next one, on the same day or later',
            old.prefix, old.last, old.year using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger series_counts before update on series
    for each row execute function series_counts();
create trigger series_stays before insert or delete or truncate on series
    for each statement execute function record_stays();

create table document (
    document_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    kind text not null check (kind in ('invoice', 'adjustment', 'credit_note')),
    -- periods: what periods owe. goodwill: a favour. cancel: all that another document charged.
    cause text not null check (cause in ('periods', 'goodwill', 'cancel')),
    -- Null exactly where nothing is charged or given back.
    number text unique check (number ~ '^(INV|CN)-[0-9]{4}-[0-9]{6,}$'),
    -- The document's place in the brand's chain, from 1, and the hash of the one before it.
    chain integer not null check (chain > 0),
    previous_hash bytea check (octet_length(previous_hash) = 32),
    -- The canonical JSON (RFC 8785), which says all that follows too, and what it hashes to.
    body bytea not null,
    hash bytea not null unique,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    issue_date date not null,
    tax_point date not null,
    due_date date check (due_date >= issue_date),
    net_total numeric not null check (net_total >= 0),
    tax_total numeric not null,
    total numeric not null,
    -- The last entry that it has seen, and the version of the brand's billing state behind it.
    cutoff bigint not null check (cutoff >= 0),
    billing_version bigint not null,
    finalized_at timestamptz not null default now(),
    finalized_by text not null check (char_length(finalized_by) between 1 and 200),
    unique (brand_no, chain),
    -- What carries the brand refers to this.
    unique (document_no, brand_no),
    constraint document_hash check (hash = sha256(body)),
    constraint document_total check (total = net_total + tax_total),
    constraint document_number_exactly_if_not_zero
        check ((number is null) = (net_total = 0 and total = 0)),
    constraint document_number_of_kind
        check (number is null or (left(number, 3) = 'CN-') = (kind = 'credit_note')),
    constraint document_number_of_year
        check (number is null or split_part(number, '-', 2)::int = extract(year from issue_date)),
    constraint document_due check ((due_date is null) = (kind = 'credit_note')),
    constraint document_cause check (cause = 'periods' or kind = 'credit_note'),
    constraint document_chain check ((chain = 1) = (previous_hash is null))
);
create index document_issued on document (issue_date, document_no);

-- The periods behind a document, each with what priced and taxed it and its evidence.
create table document_period (
    document_no bigint not null,
    brand_no integer not null,
    period_start date not null,
    period_end date not null,
    -- The whole period that it is cut from.
    whole_start date not null,
    whole_end date not null,
    plan_name text not null,
    plan_version integer not null,
    tax_category text not null check (tax_category in ('S', 'Z', 'E', 'AE', 'O')),
    tax_rate_percent numeric(7, 4) not null,
    tax_exemption text,
    -- The tree over the brand's entries of these usage days that lie after `after`, up to the cutoff.
    after bigint not null check (after >= 0),
    cutoff bigint not null,
    root bytea not null check (octet_length(root) = 32),
    size bigint not null check (size >= 0),
    -- True of the period that the document is the regular invoice of; false of an adjustment's.
    is_regular boolean not null,
    primary key (document_no, period_start),
    unique (document_no, brand_no, period_start, period_end, is_regular),
    foreign key (document_no, brand_no) references document (document_no, brand_no)
        deferrable initially deferred,
    foreign key (plan_name, plan_version) references plan_version,
    check (period_start < period_end),
    check (whole_start <= period_start and period_end <= whole_end),
    check (size <= cutoff - after)
);
create index document_period_of_brand on document_period (brand_no, period_start);

-- The regular invoice of a brand's days: at most one that is neither voided nor cancelled. A void or a
-- cancellation takes the row away, and nothing else does.
create table standing_invoice (
    brand_no integer not null,
    period_start date not null,
    period_end date not null,
    document_no bigint not null,
    is_regular boolean not null default true check (is_regular),
    primary key (brand_no, period_start),
    foreign key (document_no, brand_no, period_start, period_end, is_regular) references
        document_period (document_no, brand_no, period_start, period_end, is_regular)
        deferrable initially deferred,
    constraint standing_invoice_apart exclude using gist (
        int4range(brand_no, brand_no, '[]') with &&, daterange(period_start, period_end) with &&)
);
create index standing_invoice_document on standing_invoice (document_no);

create table document_line (
    document_no bigint not null,
    brand_no integer not null,
    line integer not null check (line > 0),
    -- What it charges for; or the line of another document that it credits.
    period_start date,
    line_key text
        check (line_key ~ '^(fixed_fee|charge:[1-9][0-9]*|discount:[1-9][0-9]*|minimum|maximum)$'),
    credits_document bigint,
    credits_line integer,
    label text not null check (label <> ''),
    quantity bigint not null,
    receipts bigint not null,
    amount numeric not null,
    tax_category text not null,
    tax_rate_percent numeric(7, 4) not null,
    primary key (document_no, line),
    unique (document_no, line, brand_no),
    unique (document_no, period_start, line_key),
    foreign key (document_no, brand_no) references document (document_no, brand_no)
        deferrable initially deferred,
    foreign key (credits_document, credits_line, brand_no)
        references document_line (document_no, line, brand_no),
    check ((credits_document is null) = (credits_line is null)),
    constraint document_line_origin check (num_nonnulls(line_key, credits_line) = 1),
    check (line_key is null or period_start is not null)
);
create index document_line_credited on document_line (credits_document, credits_line)
    where credits_document is not null;

-- Tax by category and rate, on the sum of the lines.
create table document_tax (
    document_no bigint not null,
    brand_no integer not null,
    category text not null check (category in ('S', 'Z', 'E', 'AE', 'O')),
    rate_percent numeric(7, 4) not null check (rate_percent between 0 and 100),
    taxable numeric not null,
    tax numeric not null,
    primary key (document_no, category, rate_percent),
    foreign key (document_no, brand_no) references document (document_no, brand_no)
        deferrable initially deferred
);

-- What documents have charged: a row for each line key of each period on them, with the sign that it has
-- on the buyer's account; and its exact opposite, once the document is voided or cancelled.
create table billed (
    document_no bigint not null,
    brand_no integer not null,
    period_start date not null,
    line_key text not null,
    is_opposite boolean not null default false,
    quantity bigint not null,
    receipts bigint not null,
    amount numeric not null,
    primary key (document_no, period_start, line_key, is_opposite),
    foreign key (document_no, brand_no) references document (document_no, brand_no)
        deferrable initially deferred,
    foreign key (document_no, period_start) references document_period
        deferrable initially deferred
);
create index billed_of_period on billed (brand_no, period_start);

-- What became of a document, outside of its hash.
create table document_event (
    event_no bigint generated always as identity primary key,
    document_no bigint not null,
    brand_no integer not null,
    kind text not null check (kind in
        ('sent', 'exported', 'downloaded', 'voided', 'cancelled', 'written_off')),
    -- The credit note of a cancellation.
    by_document bigint,
    because text check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    foreign key (document_no, brand_no) references document (document_no, brand_no),
    foreign key (by_document, brand_no) references document (document_no, brand_no)
        deferrable initially deferred,
    check (by_document is null or kind = 'cancelled'),
    check (kind not in ('voided', 'cancelled', 'written_off') or because is not null)
);
create index document_event_of_document on document_event (document_no, event_no);
-- A document is taken back once, in one way.
create unique index document_event_taken_back on document_event (document_no)
    where kind in ('voided', 'cancelled');

create table payment (
    payment_no bigint generated always as identity primary key,
    document_no bigint not null,
    brand_no integer not null,
    -- Below zero: paid back.
    amount numeric not null check (amount <> 0),
    paid_on date not null,
    -- The bank's, so that no payment is recorded twice.
    reference text not null check (char_length(reference) between 1 and 200),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    unique (document_no, reference),
    foreign key (document_no, brand_no) references document (document_no, brand_no)
);

-- Documents as they stand. Cancelled ones are finalized and have no effect any more.
create view document_now as
    select d.*, coalesce(t.kind, 'finalized') as state, t.by_document as cancelled_by,
        exists (select from document_event e where e.document_no = d.document_no
            and e.kind in ('sent', 'exported', 'downloaded')) as is_delivered
    from document d
    left join document_event t
        on t.document_no = d.document_no and t.kind in ('voided', 'cancelled');

-- Drafts: what a document would be if it were issued now. Computed again and again, and dropped when it
-- is issued; nothing else refers to them.
create table draft (
    draft_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    -- The period that it is the regular invoice of; null for an adjustment.
    period_start date,
    period_end date,
    currency text not null,
    kind text not null check (kind in ('invoice', 'adjustment', 'credit_note')),
    -- The document without number and evidence, and the hash of what a person approves of it.
    body bytea not null,
    etag bytea not null check (octet_length(etag) = 32),
    net_total numeric not null,
    total numeric not null,
    cutoff bigint not null,
    billing_version bigint not null,
    opened_at timestamptz not null default now(),
    computed_at timestamptz not null default now(),
    unique nulls not distinct (brand_no, period_start, currency),
    check ((period_start is null) = (period_end is null))
);

-- Nothing of the brand, or of the period that begins on that day, is issued while a hold stands.
create table hold (
    hold_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    period_start date,
    because text not null check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200)
);
create table hold_release (
    hold_no bigint primary key references hold,
    because text check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200)
);
create view hold_now as
    select h.* from hold h
    where not exists (select from hold_release r where r.hold_no = h.hold_no);

-- A reason against issuing the invoice of a period, that an admin has answered for. The document says it.
create table period_override (
    override_no bigint generated always as identity primary key,
    brand_no integer not null references brand,
    period_start date not null,
    reason text not null,
    because text not null check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200)
);
create index period_override_of_period on period_override (brand_no, period_start);
create trigger billing_moves after insert on hold
    for each row execute function billing_moves();
create trigger billing_moves after insert on hold_release
    for each row execute function billing_moves();
create trigger billing_moves after insert on period_override
    for each row execute function billing_moves();

-- When the cursor last had everything that the stream, and the origin of a mirror, had. The moment is
-- that before the stream was asked. Written by the engine.
create table caught_up (
    singleton boolean primary key default true check (singleton),
    at timestamptz not null default '-infinity',
    epoch integer not null default 0,
    sequence bigint not null default 0
);
insert into caught_up default values;

-- The rules that need more than one row -----------------------------------------------------------------

-- A document follows the brand's last one, and its number is the one that its series was just raised to.
create function document_follows() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    newest document;
    counter series;
begin
    select * into newest from document d where d.brand_no = new.brand_no order by d.chain desc limit 1;
    if new.chain <> coalesce(newest.chain, 0) + 1
        or new.previous_hash is distinct from newest.hash then
        raise exception 'document % of brand % does not follow its document %',
            new.chain, new.brand_no, coalesce(newest.chain, 0) using errcode = 'check_violation';
    end if;
    if new.number is not null then
        select * into counter from series s where s.prefix = split_part(new.number, '-', 1);
        if new.number <> format('%s-%s-%s', counter.prefix, counter.year,
                lpad(counter.last::text, greatest(6, length(counter.last::text)), '0'))
            or new.issue_date <> counter.issued_on then
            raise exception '% of % is not the number that its series has come to, % of %',
                new.number, new.issue_date, counter.last, counter.issued_on
                using errcode = 'check_violation';
        end if;
    end if;
    return new;
end
$$;
create trigger document_follows before insert on document
    for each row execute function document_follows();

-- No number is left out: what a series was raised to stands on a document when the transaction ends.
create function series_is_used() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if not exists (select from document d where d.number = format('%s-%s-%s', new.prefix, new.year,
            lpad(new.last::text, greatest(6, length(new.last::text)), '0'))) then
        raise exception 'series %: number % of % was taken and is on no document',
            new.prefix, new.last, new.year using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger series_is_used after update on series
    deferrable initially deferred for each row execute function series_is_used();

-- Sums, looked at when the transaction ends.
create function document_sums() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    sign constant integer := case when new.kind = 'credit_note' then -1 else 1 end;
    lines numeric;
begin
    select coalesce(sum(l.amount), 0) into lines from document_line l
        where l.document_no = new.document_no;
    if lines <> new.net_total then
        raise exception 'document %: the lines sum to %, not to the net total %',
            new.document_no, lines, new.net_total using errcode = 'check_violation';
    end if;
    if exists (
        select from (select tax_category, tax_rate_percent, sum(amount) as amount
                from document_line where document_no = new.document_no group by 1, 2) l
            full join (select * from document_tax where document_no = new.document_no) t
                on (t.category, t.rate_percent) = (l.tax_category, l.tax_rate_percent)
            where l.amount is distinct from t.taxable)
        or new.tax_total <> (select coalesce(sum(tax), 0) from document_tax
            where document_no = new.document_no) then
        raise exception 'document %: its tax groups are not those of its lines and its tax total',
            new.document_no using errcode = 'check_violation';
    end if;
    if (select count(*) <> coalesce(max(line), 0) from document_line
            where document_no = new.document_no) then
        raise exception 'document %: its lines are not numbered from 1 without a hole',
            new.document_no using errcode = 'check_violation';
    end if;
    if exists (
        select from (select * from document_line
                where document_no = new.document_no and line_key is not null) l
            full join (select * from billed
                where document_no = new.document_no and not is_opposite) b
                on (b.period_start, b.line_key) = (l.period_start, l.line_key)
            where (b.quantity, b.receipts, b.amount)
                is distinct from (l.quantity * sign, l.receipts * sign, l.amount * sign)) then
        raise exception 'document %: what it has billed is not what its lines charge',
            new.document_no using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger document_sums after insert on document
    deferrable initially deferred for each row execute function document_sums();

-- Nothing is added to a document once it is there: its rows come with it, in its own transaction.
create function document_is_new() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if exists (select from document d where d.document_no = new.document_no
            and d.xmin <> pg_current_xact_id()::xid) then
        raise exception 'document % is issued: nothing can be added to it', new.document_no
            using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
create trigger document_is_new before insert on document_period
    for each row execute function document_is_new();
create trigger document_is_new before insert on document_line
    for each row execute function document_is_new();
create trigger document_is_new before insert on document_tax
    for each row execute function document_is_new();
create trigger document_is_new before insert on standing_invoice
    for each row execute function document_is_new();
create trigger document_is_new before insert on billed
    for each row when (not new.is_opposite) execute function document_is_new();

-- A credit is never more than its line, whatever the line's sign.
create function credit_is_within() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    whole numeric;
    credited numeric;
begin
    select l.amount into whole from document_line l
        where (l.document_no, l.line) = (new.credits_document, new.credits_line);
    select sum(l.amount) into credited from document_line l
        join document_now d using (document_no)
        where (l.credits_document, l.credits_line) = (new.credits_document, new.credits_line)
            and d.state <> 'voided';
    if credited is null or sign(credited) * sign(whole) < 0 or abs(credited) > abs(whole) then
        raise exception 'line % of document %: % of % would be credited',
            new.credits_line, new.credits_document, credited, whole using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger credit_is_within after insert on document_line
    deferrable initially deferred for each row when (new.credits_line is not null)
    execute function credit_is_within();

-- A void or a cancellation takes back what the document billed, to the unit, and opens its period again.
create function document_event_holds() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    -- Two that come at once wait for each other here.
    perform from brand_billing b where b.brand_no = new.brand_no for update;
    if new.kind = 'voided' and exists (select from document_event e
            where e.document_no = new.document_no
                and e.kind in ('sent', 'exported', 'downloaded')) then
        raise exception 'document % was delivered: cancel it', new.document_no
            using errcode = 'restrict_violation';
    end if;
    if new.kind = 'voided' and (
        exists (select from payment p where p.document_no = new.document_no)
        or exists (select from document_line l join document_now d using (document_no)
            where l.credits_document = new.document_no and d.state <> 'voided')) then
        raise exception 'document % is paid or credited in part: cancel it', new.document_no
            using errcode = 'restrict_violation';
    end if;
    if new.kind = 'voided' and exists (select from document_event e
            where e.by_document = new.document_no) then
        raise exception 'document % cancels another one and stays', new.document_no
            using errcode = 'restrict_violation';
    end if;
    if new.kind in ('sent', 'exported', 'downloaded') and exists (select from document_event e
            where e.document_no = new.document_no and e.kind = 'voided') then
        raise exception 'document % is voided and is not delivered', new.document_no
            using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
create trigger document_event_holds before insert on document_event
    for each row execute function document_event_holds();

create function period_opens() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    delete from standing_invoice where document_no = new.document_no;
    return null;
end
$$;
create trigger period_opens after insert on document_event
    for each row when (new.kind in ('voided', 'cancelled')) execute function period_opens();

create function standing_invoice_falls() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if not exists (select from document_event e where e.document_no = old.document_no
            and e.kind in ('voided', 'cancelled')) then
        raise exception 'document % is neither voided nor cancelled, so its period stays invoiced',
            old.document_no using errcode = 'restrict_violation';
    end if;
    return old;
end
$$;
create trigger standing_invoice_falls before delete on standing_invoice
    for each row execute function standing_invoice_falls();

create function document_event_takes_back() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if exists (
        select from (select * from billed where document_no = new.document_no and not is_opposite) b
            full join (select * from billed where document_no = new.document_no and is_opposite) o
                on (o.period_start, o.line_key) = (b.period_start, b.line_key)
            where (b.quantity, b.receipts, b.amount)
                is distinct from (-o.quantity, -o.receipts, -o.amount)) then
        raise exception 'document % is taken back, but what it billed is not', new.document_no
            using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger document_event_takes_back after insert on document_event
    deferrable initially deferred for each row when (new.kind in ('voided', 'cancelled'))
    execute function document_event_takes_back();

create function opposite_has_event() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if not exists (select from document_event e where e.document_no = new.document_no
            and e.kind in ('voided', 'cancelled')) then
        raise exception 'document % is neither voided nor cancelled, so what it billed stands',
            new.document_no using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger opposite_has_event after insert on billed
    deferrable initially deferred for each row when (new.is_opposite)
    execute function opposite_has_event();

-- A regular period has its standing row, unless its document is taken back.
create function regular_stands() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if not exists (select from standing_invoice s where s.document_no = new.document_no
            and s.period_start = new.period_start)
        and not exists (select from document_event e where e.document_no = new.document_no
            and e.kind in ('voided', 'cancelled')) then
        raise exception 'document % is the invoice of the period from %, which is not said',
            new.document_no, new.period_start using errcode = 'check_violation';
    end if;
    return null;
end
$$;
create constraint trigger regular_stands after insert on document_period
    deferrable initially deferred for each row when (new.is_regular)
    execute function regular_stands();

-- A plan version that takes effect later never prices a period that is invoiced by the one before it.
create function plan_version_is_new() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    newest date;
begin
    -- Documents hold it shared, so that one that is being issued is seen.
    perform pg_advisory_xact_lock(hashtextextended('plan ' || new.plan_name, 0));
    select max(s.period_start) into newest from standing_invoice s
        join document_period p using (document_no, period_start) where p.plan_name = new.plan_name;
    if newest >= new.effective_from then
        raise exception 'plan %: the period from % is invoiced, so no version can take effect on %',
            new.plan_name, newest, new.effective_from using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger plan_version_is_new before insert on plan_version
    for each row execute function plan_version_is_new();

-- The newest version of a plan can be withdrawn as long as no document has used it and every assignment
-- keeps a version. Documents take the same lock, shared, so that neither misses the other.
create function plan_withdrawal_may() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    newest integer;
    used date;
    assigned bigint;
begin
    perform pg_advisory_xact_lock(hashtextextended('plan ' || new.plan_name, 0));
    select max(v.version) into newest from plan_version_now v where v.plan_name = new.plan_name;
    if newest is distinct from new.version then
        raise exception 'version % of plan % is not the newest one that holds, which is %',
            new.version, new.plan_name, coalesce(newest::text, 'none')
            using errcode = 'check_violation';
    end if;
    select min(p.period_start) into used from document_period p
        where p.plan_name = new.plan_name and p.plan_version = new.version;
    if used is not null then
        raise exception 'version % of plan % prices the period from % on a document: apply a new version',
            new.version, new.plan_name, used using errcode = 'restrict_violation';
    end if;
    if not exists (select from plan_version_now v
        where v.plan_name = new.plan_name and v.version <> new.version) then
        select min(a.assignment_no) into assigned from assignment_now a
            where a.plan_name = new.plan_name
                and (a.until_day is null or a.until_day > a.from_day);
        if assigned is not null then
            raise exception 'version % of plan % is its only one, and assignment % has it: withdraw that first',
                new.version, new.plan_name, assigned using errcode = 'restrict_violation';
        end if;
    end if;
    return new;
end
$$;
create trigger plan_withdrawal_may before insert on plan_withdrawal
    for each row execute function plan_withdrawal_may();

create function plan_version_stands() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('plan ' || new.plan_name, 0));
    if exists (select from plan_withdrawal w
        where w.plan_name = new.plan_name and w.version = new.plan_version) then
        raise exception 'version % of plan % was withdrawn', new.plan_version, new.plan_name
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger plan_version_stands before insert on document_period
    for each row execute function plan_version_stands();

-- Whoever assigns a plan waits for one that is withdrawing its version, and the other way round.
create function assignment_has_version() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    perform pg_advisory_xact_lock_shared(hashtextextended('plan ' || new.plan_name, 0));
    if not exists (select from plan_version_now v
        where v.plan_name = new.plan_name and v.effective_from <= new.from_day) then
        raise exception 'no version of plan % is in force on %', new.plan_name, new.from_day
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger assignment_has_version before insert on assignment
    for each row execute function assignment_has_version();

-- The usage days behind a document stay what they are.
create function zone_stays() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
begin
    if exists (select from document d where d.brand_no = new.brand_no) then
        raise exception 'brand % has documents, so its zone stays %', new.brand_id, old.zone
            using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
create trigger zone_stays before update of zone on brand
    for each row when (new.zone <> old.zone) execute function zone_stays();

do $$
declare
    of_table text;
begin
    foreach of_table in array array['document', 'document_period', 'document_line', 'document_tax',
        'billed', 'document_event', 'payment', 'hold', 'hold_release', 'period_override']
    loop
        execute format('create trigger %1$I before update or delete or truncate on %2$I
            for each statement execute function record_stays()', of_table || '_stays', of_table);
    end loop;
    create trigger standing_invoice_stays before update or truncate on standing_invoice
        for each statement execute function record_stays();
end
$$;

-- What the application may do: read all, add, and change what is not a document. Triggers that must do
-- more run as the owner.
do $$
begin
    if exists (select from pg_roles where rolname = 'prooftally_app') then
        grant usage on schema public to prooftally_app;
        grant select on all tables in schema public to prooftally_app;
        grant insert on document, document_period, document_line, document_tax, billed,
            document_event, payment, standing_invoice, hold, hold_release, period_override,
            brand_billing, request, assignment, assignment_end, waiver, waiver_withdrawal,
            brand_profile, brand_tax, plan_version, plan_withdrawal to prooftally_app;
        grant update on series, brand_billing to prooftally_app;
        -- Locking a brand's row while something is placed on it.
        grant update (display_name) on brand to prooftally_app;
        grant insert, update, delete on draft to prooftally_app;
    end if;
end
$$;
