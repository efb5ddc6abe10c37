-- Clusters that ZMS did not install, and where brokers may be.

alter table environments add column networks text not null default ''; -- CIDR, separated by blanks; '': private ranges and loopback

alter table clusters add column tls text not null default 'off';       -- off system authority
alter table clusters add column authority text not null default '';    -- PEM of the authorities, with tls = authority
alter table clusters add column mechanism text not null default '';    -- plain scram-sha-256 scram-sha-512; '': nobody
alter table clusters add column login text not null default '';        -- user; the password is in secrets under cluster/<id>
