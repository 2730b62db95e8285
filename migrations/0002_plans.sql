-- Plans: what is charged, in versions that are added and never changed.

-- A version is the text of a plan file as it was applied. It is in force from effective_from until
-- the next version's; a period takes the version that is in force on its first day.
create table plan_version (
    plan_name text not null check (plan_name ~ '^[A-Za-z0-9_-]{1,64}$'),
    version integer not null check (version > 0),
    effective_from date not null check (effective_from between '1970-01-01' and '9999-12-31'),
    -- The TOML, byte for byte, and what it hashes to (lower-case hex).
    source text not null check (octet_length(source) between 1 and 1048576),
    sha256 text not null,
    applied_at timestamptz not null default now(),
    applied_by text not null check (char_length(applied_by) between 1 and 200),
    primary key (plan_name, version),
    constraint plan_version_hash check (sha256 = encode(sha256(convert_to(source, 'UTF8')), 'hex'))
);

-- A version that was withdrawn is as if it had never been applied, but for its number, which is not
-- used again. Which ones may be withdrawn, 0007 says.
create table plan_withdrawal (
    plan_name text not null,
    version integer not null,
    because text not null check (char_length(because) between 1 and 1000),
    made_at timestamptz not null default now(),
    made_by text not null check (char_length(made_by) between 1 and 200),
    primary key (plan_name, version),
    foreign key (plan_name, version) references plan_version
);

-- Versions that were not withdrawn.
create view plan_version_now as
    select v.* from plan_version v
    where not exists (select from plan_withdrawal w
        where w.plan_name = v.plan_name and w.version = v.version);

-- Versions count up from 1 without a gap, and each takes effect after those before it that were not
-- withdrawn. Two that are added at once get the same number, of which the primary key lets one through.
create function plan_version_follows() returns trigger
language plpgsql as $$
declare
    last integer;
    newest plan_version_now;
begin
    select coalesce(max(p.version), 0) into last from plan_version p
        where p.plan_name = new.plan_name;
    select * into newest from plan_version_now p
        where p.plan_name = new.plan_name order by p.version desc limit 1;
    if new.version <> last + 1 then
        raise exception 'version % of plan % does not follow version %',
            new.version, new.plan_name, last
            using errcode = 'check_violation';
    end if;
    if new.effective_from <= newest.effective_from then
        raise exception 'version % of plan % takes effect on %, not after version %, on %',
            new.version, new.plan_name, new.effective_from, newest.version, newest.effective_from
            using errcode = 'check_violation';
    end if;
    return new;
end
$$;
create trigger plan_version_follows before insert on plan_version
    for each row execute function plan_version_follows();

-- What was charged once must be found again.
create function plan_version_stays() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'plan versions are never changed or removed; apply a new version'
        using errcode = 'restrict_violation';
end
$$;
create trigger plan_version_stays before update or delete or truncate on plan_version
    for each statement execute function plan_version_stays();
create trigger plan_withdrawal_stays before update or delete or truncate on plan_withdrawal
    for each statement execute function plan_version_stays();
