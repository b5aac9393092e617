-- Roles are cluster-wide, and several databases of one cluster may migrate at the same moment.
DO $$
DECLARE
    role_name text;
    -- Since 16, being a member of a role no longer implies being allowed to SET ROLE to it.
    may_become text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['ledgerline_query', 'ledgerline_projector', 'ledgerline_views'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database was faster
        END;
        -- Nobody is in ledgerline_views: a member would see what it sees.
        CONTINUE WHEN role_name = 'ledgerline_views';
        BEGIN
            IF NOT pg_has_role(current_user, role_name, may_become) THEN
                EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
            END IF;
        EXCEPTION WHEN unique_violation OR internal_error THEN
            NULL; -- likewise ("tuple concurrently updated")
        END;
    END LOOP;
END
$$;

-- COLLATE "C": text is ordered by code points on every server, so that cursors stay valid.
CREATE TABLE product (
    id            text COLLATE "C" PRIMARY KEY,
    tenant_code   text COLLATE "C" NOT NULL,
    pk            text COLLATE "C" NOT NULL,
    sk            text COLLATE "C" NOT NULL,
    cpk           text COLLATE "C" NOT NULL,
    csk           text COLLATE "C" NOT NULL,
    code          text COLLATE "C" NOT NULL,
    name          text COLLATE "C" NOT NULL,
    version       bigint NOT NULL,
    is_deleted    boolean NOT NULL,
    payload_hash  text COLLATE "C" NOT NULL,
    created_at    timestamptz NOT NULL,
    created_by    text COLLATE "C" NOT NULL,
    created_ip    text COLLATE "C" NOT NULL,
    updated_at    timestamptz NOT NULL,
    updated_by    text COLLATE "C" NOT NULL,
    updated_ip    text COLLATE "C" NOT NULL,
    category      text COLLATE "C",
    price         numeric,
    description   text COLLATE "C",
    specification jsonb,
    UNIQUE (pk, sk),
    UNIQUE (cpk, csk)
);

-- The words of code, name and description, each behind its tenant ('acme@ring'), so that a search costs what
-- the tenant's own rows cost. The same characters separate words, and the same become one, as in
-- `shared/kernel/src/search.rs`. Lower case by Unicode, whatever the database's own locale: by ICU, or by what
-- PostgreSQL brings along from 17 on.
DO $$
DECLARE
    collation_name text := coalesce(
        (SELECT quote_ident(collname) FROM pg_collation
         WHERE collnamespace = 'pg_catalog'::regnamespace AND collname IN ('und-x-icu', 'pg_c_utf8')
         ORDER BY collname = 'und-x-icu' DESC LIMIT 1),
        '"default"');
    words text := $words$ lower(left(normalize(' ' || code || ' ' || name || ' ' || coalesce(description, ''), NFKC), 8000) COLLATE %s) $words$;
    separators text := '[\u0001-/:-@[-`{-\u00bf\u00d7\u00f7\u2000-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030'
        '\ue000-\uf8ff\ufe00-\ufe0f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff'
        '\U0001f000-\U0001faff\U000e0000-\U0010ffff]+';
BEGIN
    words := format('replace(' || words || ', ''ς'', ''σ'') COLLATE "C"', collation_name);
    words := format('regexp_replace(regexp_replace(%s, %L, '' '', ''g''), ''([^ ]{60})'', ''\1 '', ''g'')', words, separators);
    EXECUTE format('ALTER TABLE product ADD COLUMN search tsvector
        GENERATED ALWAYS AS (replace(%s, '' '', '' '' || tenant_code || ''@'')::tsvector) STORED', words);
END
$$;

-- Lists, each in both directions: what is deleted lies apart, so that a page passes over no row that it does
-- not show. The index on (tenant_code, code) is for finding a code, whatever has become of the product.
CREATE INDEX product_by_code ON product (tenant_code, code);
CREATE INDEX product_in_order_of_id ON product (tenant_code, is_deleted, id);
CREATE INDEX product_in_order_of_code ON product (tenant_code, is_deleted, code, id);
CREATE INDEX product_in_order_of_name ON product (tenant_code, is_deleted, name, id);
CREATE INDEX product_in_order_of_creation ON product (tenant_code, is_deleted, created_at, id);
CREATE INDEX product_in_order_of_change ON product (tenant_code, is_deleted, updated_at, id);
CREATE INDEX product_in_order_of_category ON product (tenant_code, is_deleted, category, id);
CREATE INDEX product_in_order_of_price ON product (tenant_code, is_deleted, price, id);
CREATE INDEX product_by_words ON product USING gin (search);

-- Forced, so that the owner sees no more than the others. Whoever names no tenant sees nothing.
ALTER TABLE product ENABLE ROW LEVEL SECURITY;
ALTER TABLE product FORCE ROW LEVEL SECURITY;
CREATE POLICY product_of_the_tenant ON product FOR SELECT TO ledgerline_query
    USING (tenant_code = NULLIF(current_setting('app.tenant', true), ''));
-- The role itself, not its members: whoever is granted it still has to take it on.
CREATE POLICY product_projection ON product TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT ON product TO ledgerline_query;
GRANT SELECT, INSERT, UPDATE ON product TO ledgerline_projector;

-- What lists read: the tenant's rows, through a view of a role that does nothing else. Behind a policy, ranges
-- of numbers and searches cannot use an index, since their operators are not leakproof (ADR 0011). A
-- migration that adds a column to the table makes the view anew.
CREATE POLICY product_views ON product FOR SELECT TO ledgerline_views USING (true);
GRANT SELECT ON product TO ledgerline_views;
CREATE VIEW product_of_tenant AS
    SELECT * FROM product WHERE tenant_code = NULLIF(current_setting('app.tenant', true), '');
GRANT SELECT ON product_of_tenant TO ledgerline_query;
-- To hand the view over one has to be in the role, and the role has to be able to make views here: both until
-- the end of this block, and nobody else sees it.
DO $$
DECLARE
    is_member boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF NOT is_member THEN
        GRANT ledgerline_views TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT CREATE ON SCHEMA %I TO ledgerline_views', current_schema());
    ALTER VIEW product_of_tenant OWNER TO ledgerline_views;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM ledgerline_views', current_schema());
    IF NOT is_member THEN
        REVOKE ledgerline_views FROM CURRENT_USER;
    END IF;
END
$$;
