-- What the rows of a sealed segment hash to, so that a byte that changes in them is noticed.

-- BLAKE3 over the segment's rows as a binary COPY in the order of entries (src/store/digests.rs); null
-- until the first audit after it was sealed.
alter table segment add column digest bytea check (octet_length(digest) = 32);
-- How often its rows were changed by the rules: by a brand's new zone, or by a repair. Each time the
-- digest is dropped, and one that was computed before is not kept any more.
alter table segment add column rewrites bigint not null default 0 check (rewrites >= 0);
