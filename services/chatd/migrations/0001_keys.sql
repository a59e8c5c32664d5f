-- That a key exists, its state and dates: a projection of the vaults' signed event feed. Nothing here is secret, and all of it can be rebuilt by a scan.
CREATE TABLE keys (
    route        bytea PRIMARY KEY CHECK (length(route) = 32),
    state        text NOT NULL,
    generation   bigint NOT NULL,
    tries_left   integer NOT NULL,
    since_ms     bigint,
    next_ms      bigint NOT NULL,
    changed_ms   bigint NOT NULL,
    shard        integer NOT NULL,
    cursor       bigint NOT NULL,
    event        bytea NOT NULL,
    slot         smallint NOT NULL,
    signature    bytea NOT NULL
);

-- How far each shard's feed has been taken in.
CREATE TABLE cursors (
    shard        integer PRIMARY KEY,
    cursor       bigint NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now()
);
