-- A function that runs with the schema owner's rights finds tables by its search path, and PostgreSQL looks for a
-- table among the session's temporary ones first, unless they are named in the path. So a role that may make
-- temporary tables could have put one of its own before a rule's table. Named last, they are found last. And what
-- is only for triggers is called by nobody else.
do $$
declare
    of record;
begin
    for of in
        select p.oid::regprocedure as function, p.prosecdef, p.prorettype = 'trigger'::regtype as is_trigger
        from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
            and (p.prosecdef or p.prorettype = 'trigger'::regtype)
            and p.proowner = current_user::regrole
    loop
        execute format('alter function %s set search_path = pg_catalog, public, pg_temp', of.function);
        if of.is_trigger then
            execute format('revoke execute on function %s from public', of.function);
        end if;
    end loop;
end
$$;
