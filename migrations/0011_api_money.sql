-- What the API asks of documents again and again: one by its name, which is its number, or the number of its
-- row if it has none.
create index document_name on document ((coalesce(number, document_no::text)));
