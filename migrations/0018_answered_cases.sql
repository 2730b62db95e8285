-- An override answers for the cases that were there when it was given, and for none that comes later: by
-- what they are called, as ranges of numbers ({"rejection": [[3, 7], [9, 9]]}). Null on overrides from before
-- this migration: nobody noted what they were for, so they answer for nothing that is not issued yet, and have
-- to be given again. An engine of the version before still takes them for all that is and will be there.
alter table period_override add column cases jsonb
    constraint period_override_cases check (jsonb_typeof(cases) = 'object' and cases <> '{}');
