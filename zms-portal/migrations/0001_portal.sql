-- Portable between SQLite and PostgreSQL: text ids (ULID), epoch milliseconds as bigint, 0/1 as smallint, JSON as text.

create table users (
    id text primary key,
    name text not null unique,            -- what a person signs in with, lower case
    password text not null,               -- PHC string, argon2id
    disabled smallint not null default 0,
    language text not null default '',    -- '' follows the browser
    created_at bigint not null,
    signed_in_at bigint
);

create table role_grants (
    user_id text not null references users(id),
    role text not null,                   -- viewer developer approver operator administrator
    primary key (user_id, role)
);

create table sessions (
    token_hash text primary key,          -- SHA-256 of the cookie
    user_id text not null references users(id),
    created_at bigint not null,
    seen_at bigint not null,
    address text not null
);
create index sessions_of_user on sessions (user_id);

create table invitations (
    token_hash text primary key,
    name text not null,
    role text not null,
    created_by text not null,
    created_at bigint not null,
    expires_at bigint not null,
    used_at bigint
);

create table setup_codes (
    id text primary key,
    code_hash text not null,
    expires_at bigint not null,
    tries bigint not null default 0
);

create table sign_in_failures (
    subject text not null,                -- keyed hash of the account or of the address
    at bigint not null
);
create index sign_in_failures_of on sign_in_failures (subject, at);

create table secrets (
    reference text primary key,
    version bigint not null,
    sealed text not null,                 -- base64 of nonce and AES-256-GCM cipher text; the reference is bound to it
    created_at bigint not null
);

create table environments (
    id text primary key,
    name text not null unique,            -- slug, in every path
    title text not null,
    colour text not null,
    protected smallint not null default 0,
    created_at bigint not null
);

create table hosts (
    id text primary key,
    environment_id text not null references environments(id),
    name text not null,
    address text not null,
    key_hash text not null,               -- SHA-256 of the public key that it joined or last renewed with
    serial text not null,                 -- of its present certificate
    certificate_until bigint not null,
    revoked smallint not null default 0,
    generation bigint not null default 0,
    desired text,                         -- DesiredState of this generation
    facts text not null,
    report text,
    run text not null default '',
    seen_at bigint,
    skew_ms bigint,
    joined_at bigint not null,
    unique (environment_id, name)
);

create table join_tokens (
    key_id text primary key,
    secret_hash text not null,
    environment_id text not null references environments(id),
    created_by text not null,
    created_at bigint not null,
    expires_at bigint not null,
    max_uses bigint not null,
    uses bigint not null default 0,
    revoked_at bigint
);

create table enrolments (
    id text primary key,                  -- made by the host
    host_id text not null references hosts(id),
    key_hash text not null,
    certificate text not null,
    token text not null default '',       -- key_id of the join token
    created_at bigint not null
);

create table services (
    id text primary key,
    environment_id text not null references environments(id),
    name text not null,
    kind text not null,
    settings text not null,               -- JSON: key → text as typed
    packages text not null,               -- JSON: PackageRef list
    generated text not null,              -- JSON: name → value
    created_by text not null,
    created_at bigint not null,
    unique (environment_id, name)
);

create table instances (
    id text primary key,                  -- ULID; `uid` of the spec
    service_id text not null references services(id),
    host_id text not null references hosts(id),
    name text not null,                   -- InstanceId
    node_id bigint not null,
    role text not null,
    address text not null,
    phase text not null,                  -- running stopped absent
    restart bigint not null default 0,
    generated text not null,
    settings text not null,
    spec text not null,                   -- InstanceSpec as it was planned and approved
    unique (host_id, name),
    unique (service_id, node_id)
);

create table environment_stores (
    environment_id text not null references environments(id),
    purpose text not null,                -- metadata metrics
    service_id text not null references services(id),
    primary key (environment_id, purpose)
);

create table flows (
    id text primary key,
    kind text not null,
    environment_id text,
    subject text not null,                -- what it is about, for people and for lists: service/orders-kafka
    state text not null,                  -- JSON of the machine's state
    version bigint not null,              -- compare-and-set
    status text not null,                 -- running waiting done failed cancelled
    created_by text not null,
    created_at bigint not null,
    updated_at bigint not null
);
create index flows_of_subject on flows (environment_id, subject, created_at);
create index flows_by_status on flows (status, updated_at);

create table flow_events (
    flow_id text not null references flows(id),
    n bigint not null,
    at bigint not null,
    who text not null,
    what text not null,                   -- JSON of the command
    primary key (flow_id, n)
);

create table effects (
    id text primary key,
    flow_id text not null references flows(id),
    n bigint not null,                    -- order within the flow
    name text not null,
    payload text not null,                -- JSON of the effect
    target text not null,                 -- whose overload it would be: a cluster, a host, the portal
    due_at bigint not null,
    attempts bigint not null default 0,
    lease_token text,
    lease_until bigint not null default 0,
    state text not null,                  -- due done cancelled
    note text not null default '',        -- why it is not done yet, or what came of it
    created_at bigint not null,
    started_at bigint,
    done_at bigint
);
create index effects_due on effects (state, due_at);
create index effects_of_flow on effects (flow_id, n);
create index effects_of_target on effects (target, state);

create table resource_locks (
    environment_id text not null,
    resource text not null,
    flow_id text not null references flows(id),
    primary key (environment_id, resource)
);

create table audit (
    day text not null,                    -- 2026-11-25, UTC
    n bigint not null,
    at bigint not null,
    who text not null,
    address text not null,
    act text not null,                    -- environment.create, sign_in.refuse …
    target text not null,
    detail text not null,                 -- JSON: before and after, secrets left out
    result text not null,                 -- done denied failed
    hash text not null,                   -- SHA-256 over the one before and this row
    primary key (day, n)
);

create table changes (
    n bigint primary key,
    topic text not null,                  -- host/<id>, flow/<id>
    at bigint not null
);
