-- Clusters, topics, groups and what people asked for.

create table clusters (
    id text primary key,
    environment_id text not null references environments(id),
    name text not null,                   -- ClusterName, as it stands in the metadata
    broker text not null,                 -- kafka rocketmq
    service_id text references services(id), -- null: not installed by us
    addresses text not null,              -- JSON: list of host:port
    epoch bigint not null default 0,      -- of the znode as we last wrote it; 0: never
    created_at bigint not null,
    unique (environment_id, name)
);

-- Governed topics: one home each, and a znode.
create table topics (
    id text primary key,                  -- ULID: history hangs on it, so a name can be used again
    environment_id text not null references environments(id),
    name text not null,                   -- TopicName
    cluster_id text not null references clusters(id),
    partitions bigint not null,
    replicas bigint not null,
    config text not null,                 -- JSON: key → value, what differs from the broker's defaults
    owner text not null,                  -- name of the user who answers for it
    about text not null,
    state text not null,                  -- creating active removing
    term bigint not null default 0,       -- of the znode as we last wrote it
    epoch bigint not null default 0,
    created_at bigint not null,
    unique (environment_id, name)
);
create index topics_of_cluster on topics (cluster_id);

create table consumer_groups (
    id text primary key,
    environment_id text not null references environments(id),
    name text not null,                   -- GroupName
    consume_from text not null,           -- earliest latest
    broadcast smallint not null default 0,
    owner text not null,
    about text not null,
    state text not null,                  -- creating active removing
    term bigint not null default 0,
    epoch bigint not null default 0,
    created_at bigint not null,
    unique (environment_id, name)
);

create table group_topics (
    group_id text not null references consumer_groups(id),
    topic_id text not null references topics(id),
    primary key (group_id, topic_id)
);
create index group_topics_of_topic on group_topics (topic_id);

create table requests (
    number bigint primary key,            -- for people: #12
    environment_id text not null references environments(id),
    kind text not null,                   -- topic group
    subject text not null,                -- the name that it asks for
    body text not null,                   -- JSON: what was asked for
    state text not null,                  -- open approved rejected withdrawn
    requested_by text not null,
    requested_at bigint not null,
    decided_by text,
    decided_at bigint,
    decision text,                        -- JSON: what the approver chose, or why not
    flow_id text references flows(id)
);
create index requests_by_state on requests (state, requested_at);
