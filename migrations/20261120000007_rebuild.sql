-- Rebuilds of a domain's read models, at most one each. While one is running, whatever is projected into
-- the domain's tables is projected into those of its schema as well.
CREATE TABLE rebuild (
    resource    text COLLATE "C" PRIMARY KEY,
    schema_name text COLLATE "C" NOT NULL UNIQUE,
    state       text COLLATE "C" NOT NULL CHECK (state IN ('preparing', 'running', 'done')),
    -- How far it is with each segment of the ledger.
    segments    jsonb NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT ON rebuild TO ledgerline_projector;
