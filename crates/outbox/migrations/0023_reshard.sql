-- Why: a consumer that is read in another number of shards is an operation like the others, written
-- down with who and why.
alter table outbox.operation drop constraint operation_verb_known;
alter table outbox.operation add constraint operation_verb_known check (verb in (
    'pause', 'resume', 'redrive', 'discard', 'replay', 'cancel', 'rebase', 'reshard'
));
