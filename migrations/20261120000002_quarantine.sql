-- What projections could not take: an entity of one projection, or a record of the ledger's stream that could
-- not even be read. One with a quarantined_at was passed over; one without has failed some times and is still
-- being delivered. A row goes when its projection has taken the version after all.
CREATE TABLE quarantine (
    projection     text COLLATE "C" NOT NULL,
    record         text COLLATE "C" NOT NULL,
    entity_id      text COLLATE "C",
    tenant_code    text COLLATE "C",
    version        bigint,
    error          text NOT NULL,
    image          jsonb,
    attempts       integer NOT NULL,
    first_seen_at  timestamptz NOT NULL DEFAULT now(),
    last_seen_at   timestamptz NOT NULL DEFAULT now(),
    quarantined_at timestamptz,
    PRIMARY KEY (projection, record)
);

CREATE INDEX quarantine_by_entity ON quarantine (entity_id, projection);
CREATE INDEX quarantine_by_tenant ON quarantine (tenant_code, projection, record) WHERE quarantined_at IS NOT NULL;

-- Forced, as on every table with tenants' data: only the projector reads and writes it.
ALTER TABLE quarantine ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantine FORCE ROW LEVEL SECURITY;
CREATE POLICY quarantine_projection ON quarantine TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO ledgerline_projector;
