-- Lists without an order of their own go by sk. By id, which is the same order within a tenant, the primary key
-- served as well: cheaper for the tenant whose ids come first, and a walk past all of its rows for the next one.
CREATE INDEX product_in_order_of_sk ON product (tenant_code, is_deleted, sk);
DROP INDEX product_in_order_of_id;
