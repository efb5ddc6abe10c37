-- What portals that share a database tell each other; one portal alone leaves these empty, except for the orders.

-- Which revision the collectors' orders of an environment have: it grows with each change, whichever portal is asked.
create table orders_revisions (
    environment_id text primary key references environments(id),
    hash text not null,                   -- SHA-256 of the orders without their revision
    revision bigint not null
);

-- What each environment's leading collector last saw, as it told one of the portals.
create table snapshots (
    environment_id text primary key references environments(id),
    fence bigint not null,                -- of the leader's lease
    at bigint not null,                   -- when it came
    body text not null                    -- JSON, zstd, base64
);

-- Questions to hosts whose agents are connected to another portal, until their answer was read.
create table questions (
    id text primary key,
    host_id text not null references hosts(id),
    ask text not null,                    -- JSON: Ask
    until bigint not null,                -- who asked has gone by then
    taken smallint not null default 0,    -- a portal has the host and asks it
    answer text                           -- JSON: Result<Finding, String>
);
