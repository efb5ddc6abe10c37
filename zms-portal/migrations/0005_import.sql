-- Metadata stores that ZMS did not install, and who may write in a store.

create table metadata_stores (
    environment_id text primary key references environments(id),
    addresses text not null,              -- host:port,…
    authority text not null,              -- PEM of whoever signed the servers' certificates; '' without TLS
    login text not null,                  -- user of the portal's identity there; '': the one that the portal made for itself
    changed_by text not null,
    changed_at bigint not null
);

-- No row: secured.
create table metadata_rights (
    environment_id text primary key references environments(id),
    mode text not null,                   -- secured legacy
    changed_at bigint not null
);
