-- What is read of a large ledger by its receipts and not by its days: one receipt by its id, and the receipts
-- behind an invoice, page by page.

-- As before, but that the proof's index begins with the receipt's key, so that a receipt is found without its
-- brand, and that a brand's entries are found in their order. Segments that are sealed already keep their
-- indexes: they prove the same, and what is read from them takes as long as before.
create or replace function prove_segment(segment bigint) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    name constant text := 'ledger_' || lpad(segment::text, greatest(6, length(segment::text)), '0');
begin
    -- What a resolution or a void adds stands outside of the proof.
    execute format('create unique index if not exists %I on public.%I (receipt_key, brand_no)
        where source < 3', name || '_receipt', name);
    execute format('create index if not exists %I on public.%I (brand_no, usage_day)',
        name || '_usage_day', name);
    execute format('create index if not exists %I on public.%I (brand_no, entry)',
        name || '_brand', name);
end
$$;

create index correction_of_key on correction (receipt_key);

-- Where a receipt was seen again. Gaps and what is ignored have no key.
create index disposition_of_key on disposition (receipt_key) where receipt_key is not null;
