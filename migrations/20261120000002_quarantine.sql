-- Records of the ledger's stream that a projection could not take. One with a quarantined_at was passed
-- over for good; one without has failed some times and may have gone through since.
CREATE TABLE quarantine (
    projection      text COLLATE "C" NOT NULL,
    sequence_number text COLLATE "C" NOT NULL,
    entity_id       text COLLATE "C",
    tenant_code     text COLLATE "C",
    version         bigint,
    error           text NOT NULL,
    image           jsonb,
    attempts        integer NOT NULL,
    first_seen_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now(),
    quarantined_at  timestamptz,
    PRIMARY KEY (projection, sequence_number)
);

CREATE INDEX quarantine_by_entity ON quarantine (tenant_code, entity_id) WHERE quarantined_at IS NOT NULL;

-- Forced, as on every table with tenants' data: only the projector reads and writes it.
ALTER TABLE quarantine ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantine FORCE ROW LEVEL SECURITY;
CREATE POLICY quarantine_projection ON quarantine TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT, INSERT, UPDATE ON quarantine TO ledgerline_projector;
