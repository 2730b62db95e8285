-- One index of a segment leads from a brand to its entries, of some days or of all, where two did, by (brand, usage
-- day) and by (brand, entry): a third less to build. In an index by (brand, entry, usage day) entries are in their
-- order for a page, and days are compared without looking at the rows. It is as large as the two together, whose
-- first kept each brand's day once. Segments that are sealed already keep the two.
create or replace function prove_segment(segment bigint) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
    name constant text := 'ledger_' || lpad(segment::text, greatest(6, length(segment::text)), '0');
begin
    -- What a resolution or a void adds stands outside of the proof.
    execute format('create unique index if not exists %I on public.%I (receipt_key, brand_no)
        where source < 3', name || '_receipt', name);
    execute format('create index if not exists %I on public.%I (brand_no, entry, usage_day)',
        name || '_brand', name);
end
$$;
