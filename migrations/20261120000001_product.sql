-- Roles are cluster-wide, and several databases of one cluster may migrate at the same moment.
DO $$
DECLARE
    role_name text;
    -- Since 16, being a member of a role no longer implies being allowed to SET ROLE to it.
    may_become text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['ledgerline_query', 'ledgerline_projector'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- another database was faster
        END;
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

-- Lists: by id, by code, by name, by price upwards and downwards (absent prices last either way).
CREATE INDEX product_by_id ON product (tenant_code, id);
CREATE INDEX product_by_code ON product (tenant_code, code);
CREATE INDEX product_by_name ON product (tenant_code, name, id);
CREATE INDEX product_by_price ON product (tenant_code, price, id);
CREATE INDEX product_by_price_desc ON product (tenant_code, price DESC NULLS LAST, id);

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
