-- How far each delta projection is with each entity. Moved in the transaction that changes its rows: a row
-- here says that exactly the versions up to this one are in them.
CREATE TABLE projection_position (
    projection  text COLLATE "C" NOT NULL,
    entity_id   text COLLATE "C" NOT NULL,
    tenant_code text COLLATE "C" NOT NULL,
    version     bigint NOT NULL,
    hash        text COLLATE "C" NOT NULL,
    memory      jsonb NOT NULL,
    PRIMARY KEY (projection, entity_id)
);

CREATE INDEX projection_position_by_tenant ON projection_position (tenant_code, projection, entity_id);

-- What the living products of a category ('' for those without one) come to.
CREATE TABLE product_category_total (
    tenant_code text COLLATE "C" NOT NULL,
    category    text COLLATE "C" NOT NULL,
    products    numeric NOT NULL,
    priced      numeric NOT NULL,
    price_sum   numeric NOT NULL,
    PRIMARY KEY (tenant_code, category)
);

-- How many of them have which price. The least and the greatest are the ends of its index, whatever was
-- changed, deleted or restored before.
CREATE TABLE product_category_price (
    tenant_code text COLLATE "C" NOT NULL,
    category    text COLLATE "C" NOT NULL,
    price       numeric NOT NULL,
    products    numeric NOT NULL,
    PRIMARY KEY (tenant_code, category, price)
);

ALTER TABLE projection_position ENABLE ROW LEVEL SECURITY;
ALTER TABLE projection_position FORCE ROW LEVEL SECURITY;
CREATE POLICY projection_position_projection ON projection_position TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT, INSERT, UPDATE ON projection_position TO ledgerline_projector;

ALTER TABLE product_category_total ENABLE ROW LEVEL SECURITY;
ALTER TABLE product_category_total FORCE ROW LEVEL SECURITY;
CREATE POLICY product_category_total_of_the_tenant ON product_category_total FOR SELECT TO ledgerline_query
    USING (tenant_code = NULLIF(current_setting('app.tenant', true), ''));
CREATE POLICY product_category_total_projection ON product_category_total TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT ON product_category_total TO ledgerline_query;
GRANT SELECT, INSERT, UPDATE, DELETE ON product_category_total TO ledgerline_projector;

ALTER TABLE product_category_price ENABLE ROW LEVEL SECURITY;
ALTER TABLE product_category_price FORCE ROW LEVEL SECURITY;
CREATE POLICY product_category_price_of_the_tenant ON product_category_price FOR SELECT TO ledgerline_query
    USING (tenant_code = NULLIF(current_setting('app.tenant', true), ''));
CREATE POLICY product_category_price_projection ON product_category_price TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT ON product_category_price TO ledgerline_query;
GRANT SELECT, INSERT, UPDATE, DELETE ON product_category_price TO ledgerline_projector;
