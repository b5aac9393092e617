-- What was asked to be projected again, and what became of it.
CREATE TABLE resync (
    id          text COLLATE "C" PRIMARY KEY,
    tenant_code text COLLATE "C" NOT NULL,
    resource    text COLLATE "C" NOT NULL,
    sk          text COLLATE "C",
    asked_by    text COLLATE "C" NOT NULL,
    asked_at    timestamptz NOT NULL,
    state       text COLLATE "C" NOT NULL,
    progress    jsonb,
    report      jsonb,
    changed_at  timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX resync_unfinished ON resync (asked_at, id) WHERE state IN ('asked', 'running');
CREATE INDEX resync_by_tenant ON resync (tenant_code, id);

ALTER TABLE resync ENABLE ROW LEVEL SECURITY;
ALTER TABLE resync FORCE ROW LEVEL SECURITY;
CREATE POLICY resync_of_the_tenant ON resync FOR SELECT TO ledgerline_query
    USING (tenant_code = NULLIF(current_setting('app.tenant', true), ''));
CREATE POLICY resync_projection ON resync TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT ON resync TO ledgerline_query;
GRANT SELECT, INSERT, UPDATE, DELETE ON resync TO ledgerline_projector;

-- The last rounds of the reconciler, over all tenants: nobody's in particular, so for the projector alone.
CREATE TABLE reconcile_round (
    id          text COLLATE "C" PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    progress    jsonb,
    report      jsonb
);

ALTER TABLE reconcile_round ENABLE ROW LEVEL SECURITY;
ALTER TABLE reconcile_round FORCE ROW LEVEL SECURITY;
CREATE POLICY reconcile_round_projection ON reconcile_round TO ledgerline_projector
    USING (current_user = 'ledgerline_projector');
GRANT SELECT, INSERT, UPDATE, DELETE ON reconcile_round TO ledgerline_projector;
