-- Usage follows the ledger: entries up to usage_fold.entry are in usage_day, later ones are not yet. Receipts
-- are added with the commit that counts them, but while a backlog is metered those of many chunks together,
-- which costs a fraction. A row of its own and not a column of the cursor, so that adding them and
-- committing the next chunk do not wait for each other.
create table usage_fold (
    singleton boolean primary key default true check (singleton),
    -- Last entry of the ledger that usage_day holds.
    entry bigint not null check (entry >= 0)
);
insert into usage_fold (entry) select entry from cursor;

do $$
begin
    if exists (select from pg_roles where rolname = 'prooftally_app') then
        -- Tables of a migration are given to the role by default; this one has its one row.
        revoke insert, delete on usage_fold from prooftally_app;
        grant select, update on usage_fold to prooftally_app;
    end if;
    if exists (select from pg_roles where rolname = 'prooftally_brand') then
        grant select on usage_fold to prooftally_brand;
    end if;
end
$$;
