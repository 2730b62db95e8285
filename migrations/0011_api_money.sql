-- What the API asks of documents again and again: one by its name, which is its number, or the number of its
-- row if it has none.
create index document_name on document ((coalesce(number, document_no::text)));

-- What happens to a document is in the activity log with how the document stood before.
create function activity_of_document() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    added constant jsonb := to_jsonb(new);
    own_event constant bigint := (added ->> 'event_no')::bigint;
    own_payment constant bigint := (added ->> 'payment_no')::bigint;
    was jsonb;
begin
    select jsonb_build_object(
        'number', d.number,
        'state', coalesce((select e.kind from document_event e where e.document_no = d.document_no
            and e.kind in ('voided', 'cancelled') and e.event_no is distinct from own_event), 'finalized'),
        'is_delivered', exists (select from document_event e where e.document_no = d.document_no
            and e.kind in ('sent', 'exported', 'downloaded') and e.event_no is distinct from own_event),
        'is_written_off', exists (select from document_event e where e.document_no = d.document_no
            and e.kind = 'written_off' and e.event_no is distinct from own_event),
        'paid', (select coalesce(sum(p.amount), 0)::text from payment p
            where p.document_no = d.document_no and p.payment_no is distinct from own_payment))
        into was from document d where d.document_no = new.document_no;
    insert into activity (made_by, subject, act, brand_no, before, after)
        values (new.made_by, tg_table_name, 'added', new.brand_no, was, added);
    return null;
end
$$;
drop trigger activity_notes on document_event;
drop trigger activity_notes on payment;
create trigger activity_notes after insert on document_event
    for each row execute function activity_of_document();
create trigger activity_notes after insert on payment
    for each row execute function activity_of_document();
