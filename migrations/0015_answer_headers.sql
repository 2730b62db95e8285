-- An answer that is given again has the headers that belong to it too: where its request will be answered,
-- the state that it shows. Null for answers of engines before this one, which kept none.
alter table idempotency_key add column headers jsonb;
