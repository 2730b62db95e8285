-- What a cancelled invoice was credited before counts as given back: the note that cancels it is over the rest.
-- So a favour on it stays as well, or the invoice would be owed again in part while its period is issued anew.
-- Otherwise as before.
create or replace function document_event_holds() returns trigger
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    cancelled bigint;
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
    if new.kind = 'voided' then
        select min(l.credits_document) into cancelled from document_line l
            join document_event e on e.document_no = l.credits_document and e.kind = 'cancelled'
            where l.document_no = new.document_no;
        if cancelled is not null then
            raise exception 'document % credits document %, which is cancelled, and stays',
                new.document_no, cancelled using errcode = 'restrict_violation';
        end if;
    end if;
    if new.kind in ('sent', 'exported', 'downloaded') and exists (select from document_event e
            where e.document_no = new.document_no and e.kind = 'voided') then
        raise exception 'document % is voided and is not delivered', new.document_no
            using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
