//! What keeps tenants apart, read from the database's own catalogue: over all tables and views that
//! the migrations make, not over a list of them that somebody has to keep.

use sqlx::{AssertSqlSafe, PgConnection};

use super::migrated;

/// One line for each gap. `%1$s` is how the catalogue writes the condition on the tenant.
const GAPS: &str = r"
WITH tenant AS (
    SELECT $$tenant_code = NULLIF(current_setting('app.tenant'::text, true), ''::text)$$ AS condition
), own AS (
    SELECT oid, relname::text AS name, relkind, relrowsecurity, relforcerowsecurity, relowner, reloptions,
        has_table_privilege('ledgerline_query', oid, 'SELECT') AS is_read,
        has_any_column_privilege('ledgerline_query', oid, 'INSERT, UPDATE')
            OR has_table_privilege('ledgerline_query', oid, 'DELETE, TRUNCATE') AS is_written,
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'tenant_code' AND NOT attisdropped)
            AS has_tenant
    FROM pg_class
    WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')
), tenant_table AS (
    SELECT * FROM own WHERE relkind IN ('r', 'p') AND (has_tenant OR is_read)
), policy AS (
    SELECT polrelid, polname::text AS name, pg_get_expr(polqual, polrelid) AS condition,
        CASE WHEN polroles = '{0}' THEN ARRAY['public']
             ELSE ARRAY(SELECT rolname::text FROM pg_roles WHERE pg_roles.oid = ANY (polroles)) END AS roles
    FROM pg_policy WHERE polpermissive
), tenant_view AS (
    SELECT DISTINCT own.*, pg_get_viewdef(own.oid) AS definition FROM own
    JOIN pg_rewrite ON ev_class = own.oid
    JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid AND refclassid = 'pg_class'::regclass
    WHERE relkind IN ('v', 'm') AND refobjid IN (SELECT oid FROM tenant_table)
)
SELECT name || ' is read by ledgerline_query and has no tenant_code' FROM tenant_table WHERE NOT has_tenant
UNION ALL
SELECT name || ' has row-level security disabled' FROM tenant_table WHERE NOT relrowsecurity
UNION ALL
SELECT name || ' does not force row-level security on its owner' FROM tenant_table WHERE NOT relforcerowsecurity
UNION ALL
SELECT name || ' has no policy' FROM tenant_table WHERE oid NOT IN (SELECT polrelid FROM policy)
UNION ALL
SELECT tenant_table.name || ' has no policy for ledgerline_query' FROM tenant_table
WHERE is_read AND NOT EXISTS (SELECT FROM policy WHERE polrelid = oid AND 'ledgerline_query' = ANY (roles))
UNION ALL
SELECT format('%s on %s lets %s see: %s', policy.name, tenant_table.name, array_to_string(roles, ', '), policy.condition)
FROM policy JOIN tenant_table ON polrelid = oid CROSS JOIN tenant
WHERE NOT (policy.condition = format('(%s)', tenant.condition) AND roles = ARRAY['ledgerline_query']
    OR policy.condition = $$(CURRENT_USER = 'ledgerline_projector'::name)$$ AND roles = ARRAY['ledgerline_projector']
    OR policy.condition = 'true' AND roles = ARRAY['ledgerline_views'])
UNION ALL
SELECT name || ' is written by ledgerline_query' FROM own WHERE is_written AND relkind IN ('r', 'p', 'v')
UNION ALL
SELECT name || ' does not ask for the tenant' FROM tenant_view CROSS JOIN tenant
WHERE definition !~ ('\mWHERE \(*([a-z_]+\.)?' || regexp_replace(condition, '([().])', '\\\1', 'g') || '\)*;$')
UNION ALL
SELECT name || ' is a copy of tenants'' rows' FROM tenant_view WHERE relkind = 'm'
UNION ALL
SELECT name || ' is not owned by ledgerline_views' FROM tenant_view
WHERE relowner <> (SELECT oid FROM pg_roles WHERE rolname = 'ledgerline_views')
UNION ALL
SELECT name || ' belongs to ledgerline_views and can be written by it' FROM tenant_table
WHERE has_any_column_privilege('ledgerline_views', oid, 'INSERT, UPDATE')
UNION ALL
SELECT rolname || ' has a right of its own' FROM pg_roles
WHERE rolname IN ('ledgerline_query', 'ledgerline_projector', 'ledgerline_views')
    AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)
UNION ALL
SELECT format('%s is in %s', member::regrole, roleid::regrole) FROM pg_auth_members AS membership
WHERE (roleid = 'ledgerline_views'::regrole AND to_jsonb(membership) ->> 'inherit_option' IS DISTINCT FROM 'false')
    OR member IN ('ledgerline_query'::regrole, 'ledgerline_projector'::regrole, 'ledgerline_views'::regrole)
ORDER BY 1";

async fn gaps(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(GAPS).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn every_table_and_view_with_tenants_rows_keeps_them_apart() {
    let (views, _database) = migrated().await;
    let mut connection = views.pool.acquire().await.unwrap();
    assert_eq!(gaps(&mut connection).await, [""; 0]);
}

#[tokio::test]
async fn every_way_of_forgetting_it_is_noticed() {
    let (views, _database) = migrated().await;
    let mut connection = views.pool.acquire().await.unwrap();
    let policy = "CREATE POLICY more ON product FOR SELECT TO";
    let view = "CREATE VIEW more AS SELECT * FROM product";
    let cases = [
        ("ALTER TABLE product NO FORCE ROW LEVEL SECURITY", "product does not force row-level security on its owner"),
        ("ALTER TABLE product DISABLE ROW LEVEL SECURITY", "product has row-level security disabled"),
        ("DROP POLICY product_of_the_tenant ON product", "product has no policy for ledgerline_query"),
        (&format!("{policy} ledgerline_query USING (NOT is_deleted)"), "more on product lets ledgerline_query see"),
        (&format!("{policy} PUBLIC USING (true)"), "more on product lets public see"),
        ("CREATE TABLE more (tenant_code text)", "more has row-level security disabled"),
        ("CREATE TABLE more (id text); GRANT SELECT ON more TO ledgerline_query", "more is read by ledgerline_query"),
        ("GRANT UPDATE (name) ON product TO ledgerline_query", "product is written by ledgerline_query"),
        (view, "more does not ask for the tenant"),
        (
            &format!("{view} WHERE tenant_code = NULLIF(current_setting('app.tenant', true), '') OR is_deleted"),
            "more does not ask for the tenant",
        ),
        (&view.replace("VIEW", "MATERIALIZED VIEW"), "more is a copy"),
        ("ALTER VIEW product_of_tenant OWNER TO CURRENT_USER", "product_of_tenant is not owned by ledgerline_views"),
        ("CREATE ROLE more; GRANT ledgerline_views TO more", "more is in ledgerline_views"),
        ("GRANT ledgerline_projector TO ledgerline_query", "ledgerline_query is in ledgerline_projector"),
        ("ALTER ROLE ledgerline_query BYPASSRLS", "ledgerline_query has a right of its own"),
    ];
    for (statement, expected) in cases {
        sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {statement}"))).execute(&mut *connection).await.unwrap();
        let gaps = gaps(&mut connection).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
        assert!(gaps.iter().any(|gap| gap.starts_with(expected)), "{statement}: {gaps:?}");
    }
}
