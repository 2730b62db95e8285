-- What people change by requests and by withdrawals of plans, in the activity log too: what became of what
-- they mended, with the row as it was and as it is. Who asked is on the rows, or set by the engine for the
-- transaction (prooftally.actor).

-- As activity_notes(), for rows whose brand or whose state before stands elsewhere.
create function mending_notes() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    hidden constant text[] := string_to_array(tg_argv[1], ',');
    added constant jsonb := to_jsonb(new) - hidden;
    was jsonb;
    -- Rows that do not say who: the transaction does, or it is the login itself.
    who constant text := coalesce(added ->> tg_argv[0],
        nullif(current_setting('prooftally.actor', true), ''), session_user);
    of_brand integer := (added ->> 'brand_no')::integer;
begin
    if tg_op = 'UPDATE' then
        was := to_jsonb(old) - hidden;
    end if;
    if tg_table_name = 'rejection' then
        select b.brand_no into of_brand from brand b where b.brand_id = added ->> 'brand_id';
    elsif tg_table_name = 'plan_withdrawal' then
        select to_jsonb(v) - 'source' into was from plan_version v
            where v.plan_name = added ->> 'plan_name' and v.version = (added ->> 'version')::integer;
    elsif tg_table_name = 'correction' then
        select to_jsonb(l) into was from ledger l where l.entry = (added ->> 'of_entry')::bigint;
    end if;
    insert into activity (made_by, subject, act, brand_no, before, after)
        values (who, tg_table_name,
            case tg_op when 'UPDATE' then 'changed' else 'added' end, of_brand, was, added);
    return null;
end
$$;

create trigger activity_notes after insert on plan_withdrawal
    for each row execute function mending_notes('made_by', '');
create trigger activity_notes after insert on correction
    for each row execute function mending_notes('asked_by', '');
create trigger activity_notes_settled after update of state on rejection
    for each row when (new.state <> 'open' and old.state is distinct from new.state)
    execute function mending_notes('settled_by', 'raw');
create trigger activity_notes_settled after update of state on conflict
    for each row when (new.state <> 'open' and old.state is distinct from new.state)
    execute function mending_notes('settled_by', 'raw');
create trigger activity_notes_accepted after update of accepted_at on gap
    for each row when (old.accepted_at is null and new.accepted_at is not null)
    execute function mending_notes('accepted_by', '');
create trigger activity_notes_parked after update of parked_at on brand
    for each row when (old.parked_at is distinct from new.parked_at)
    execute function activity_notes('nobody', '');
