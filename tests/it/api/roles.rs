//! What the roles of the database may see, whatever a program asks: the brand's role nothing of another brand.

use sqlx::AssertSqlSafe;

use crate::harness::World;

/// What a brand's callers read of tables that keep no brands apart, by columns (none: all of
/// them), and why that tells nothing of another brand.
const OPEN: &[(&str, &str, &str)] = &[
    (
        "cursor",
        "",
        "how far the ledger is, to find a receipt in it; engines of before read the whole row",
    ),
    (
        "predicate",
        "name,predicate_no,version",
        "the names of what is proven, which all brands share",
    ),
    ("segment", "sealed_at,segment", "which segments are sealed, to find a receipt in them"),
    ("usage_fold", "entry,singleton", "how far usage is behind the ledger"),
];

/// A temporary table of a session would be found before a rule's own, unless temporary tables are named last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_function_with_the_owner_s_rights_is_shown_another_table() {
    let world = World::new().await;
    let ours = "from pg_proc p where p.pronamespace = 'public'::regnamespace";
    let shown: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select p.oid::regprocedure::text {ours} and p.prosecdef and not coalesce( \
            'search_path=pg_catalog, public, pg_temp' = any(p.proconfig), false)"
    )))
    .fetch_all(world.pool())
    .await
    .unwrap();
    assert_eq!(shown, [""; 0], "set their search_path as migration 0021 does");
    let called: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select p.oid::regprocedure::text {ours} and p.prorettype = 'trigger'::regtype \
            and has_function_privilege('prooftally_app', p.oid, 'execute')"
    )))
    .fetch_all(world.pool())
    .await
    .unwrap();
    assert_eq!(called, [""; 0], "triggers' functions are for triggers alone");
    let definers: i64 =
        sqlx::query_scalar(AssertSqlSafe(format!("select count(*) {ours} and p.prosecdef")))
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert!(definers > 10, "{definers}");
}

type Readable = (String, String, bool, bool, Option<String>);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brand_s_role_reads_nothing_that_does_not_keep_brands_apart() {
    let world = World::new().await;
    let readable: Vec<Readable> = sqlx::query_as(
        "select c.relname::text, c.relkind::text, \
            c.relrowsecurity and exists (select from pg_policy p where p.polrelid = c.oid \
                and p.polcmd in ('r', '*') and 'prooftally_brand'::regrole = any(p.polroles)) as is_kept, \
            coalesce('security_invoker=true' = any(c.reloptions), false) as looks_as_who_asks, \
            (select string_agg(a.attname, ',' order by a.attname) from pg_attribute a \
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
                and has_column_privilege('prooftally_brand', c.oid, a.attnum, 'select')) as columns \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname in ('public', 'own_rows') and c.relkind in ('r', 'p', 'v', 'm', 'f') \
            and has_any_column_privilege('prooftally_brand', c.oid, 'select') \
         order by n.nspname, c.relname",
    )
    .fetch_all(world.pool())
    .await
    .unwrap();
    let mut open = Vec::new();
    for (name, kind, is_kept, looks_as_who_asks, columns) in &readable {
        // The one view that has its condition in itself, and shows its own rows alone.
        if *is_kept || (kind == "v" && (*looks_as_who_asks || name == "ledger")) {
            continue;
        }
        let is_whole = OPEN.iter().any(|(open, columns, _)| open == name && columns.is_empty());
        open.push((
            name.as_str(),
            if is_whole { "" } else { columns.as_deref().unwrap_or_default() },
        ));
    }
    let allowed: Vec<(&str, &str)> =
        OPEN.iter().map(|(name, columns, _)| (*name, *columns)).collect();
    assert_eq!(open, allowed, "it reads tables that have no policy for it");
    assert!(readable.len() > 20, "{readable:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_answers_requests_is_above_the_policies() {
    let world = World::new().await;
    let ask = async |query: &'static str| -> Vec<String> {
        sqlx::query_scalar(query).fetch_all(world.pool()).await.unwrap()
    };
    // Policies do not hold for an owner unless they are forced: neither role owns anything.
    let above = "select rolname::text from pg_roles where rolname in ('prooftally_app', 'prooftally_brand') \
        and (rolsuper or rolbypassrls or rolcreaterole \
            or exists (select from pg_class c where c.relowner = pg_roles.oid) \
            or exists (select from pg_database d where d.datdba = pg_roles.oid))";
    assert_eq!(ask(above).await, Vec::<String>::new());
    let members = "select r.rolname::text from pg_auth_members m join pg_roles r on r.oid = m.roleid \
        where m.member = 'prooftally_brand'::regrole";
    assert_eq!(ask(members).await, Vec::<String>::new());
    let writes = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace \
        where n.nspname in ('public', 'own_rows') and c.relkind in ('r', 'p', 'v') \
            and has_table_privilege('prooftally_brand', c.oid, 'insert, update, delete, truncate')";
    assert_eq!(ask(writes).await, Vec::<String>::new());
    // The owner itself is held by them once it takes the brand's role.
    let brand = "insert into brand (brand_id, zone) values ('a', 'UTC'), ('b', 'UTC')";
    sqlx::query(brand).execute(world.pool()).await.unwrap();
    let mut transaction = world.pool().begin().await.unwrap();
    let own = "select set_config('prooftally.brand', brand_no::text, true) from brand where brand_id = 'a'";
    sqlx::query(own).execute(&mut *transaction).await.unwrap();
    sqlx::query("set local role prooftally_brand").execute(&mut *transaction).await.unwrap();
    let seen: Vec<String> = sqlx::query_scalar("select brand_id from brand")
        .fetch_all(&mut *transaction)
        .await
        .unwrap();
    assert_eq!(seen, ["a"]);
}
